#!/usr/bin/env bash
# What a start is at is told on a terminal when it takes over a second, and wiped off again; elsewhere nothing is, and no colour.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v script >/dev/null || skip 'script is missing (Debian: bsdutils)'

mkdir "$tmp/root"
silent=("$vmm" --kernel "$guests/spin.bz64" --root "$tmp/root" --log-level error --boot-timeout 1.5)
escape=$'\033'

# on_terminal VARIABLE... - sets $screen to what vmm wrote to a terminal, up to the failure of a guest that says nothing
on_terminal() {
	script -qefc "env -u NO_COLOR $* ${silent[*]} -- true" "$tmp/screen" </dev/null >/dev/null || true
	screen=$(tr -d '\n' <"$tmp/screen")
}

line=$'\rwaiting for the guest to boot (1 s)\r'
# Then there are blanks, and the message stands in their place.
on_terminal TERM=xterm
[[ $screen == *"$line"* && $screen == *'waiting for the guest to boot ('[1-9]' s)'$'\r\r'+(' ')$'\r'"${escape}[1mvmm:${escape}[0m the guest was silent for 1.500 s"* ]] ||
	fail "on a terminal: $(cat -v "$tmp/screen")"

on_terminal TERM=xterm NO_COLOR=1
[[ $screen == *"$line"* && $screen == *'vmm: the guest was silent'* && $screen != *"$escape"* ]] ||
	fail "NO_COLOR: $(cat -v "$tmp/screen")"
for variables in TERM=dumb '-u TERM'; do
	on_terminal "$variables"
	[[ $screen == *'vmm: the guest was silent'* && $screen != *"$escape"* && $screen != *waiting* ]] ||
		fail "$variables: $(cat -v "$tmp/screen")"
done

# A machine without a command that takes its time to be made, here for a call that is held up.
if strace -o /dev/null -e inject=eventfd2:delay_enter=1:when=1 true 2>/dev/null; then
	script -qefc "env TERM=xterm strace -f -qq -o /dev/null -e inject=eventfd2:delay_enter=2500000:when=1 $vmm --kernel $guests/hello.bz64 --log-level error" \
		"$tmp/screen" </dev/null >/dev/null || true
	screen=$(tr -d '\n' <"$tmp/screen")
	[[ $screen == *$'\rmaking the machine (1 s)\r'*$'\r'+(' ')$'\r'* && $screen == *ello* ]] || fail "a slow start: $(cat -v "$tmp/screen")"
	# The wall clock tells the date, and nobody waits by it.
	cc -shared -fPIC -o "$tmp/back.so" "$here/clock_set_back.c"
	if ldd "$vmm" >/dev/null 2>&1 && ! sanitized "$vmm"; then
		script -qefc "env TERM=xterm strace -E LD_PRELOAD=$tmp/back.so -f -qq -o /dev/null -e inject=eventfd2:delay_enter=2500000:when=1 $vmm --kernel $guests/hello.bz64 --log-level error" \
			"$tmp/screen" </dev/null >/dev/null || true
		screen=$(tr -d '\n' <"$tmp/screen")
		[[ $screen == *$'\rmaking the machine (1 s)\r'* && $screen == *ello* ]] || fail "a clock that was set back: $(cat -v "$tmp/screen")"
	fi
else
	note 'no strace, or it may not: a slow start is not tried'
fi

# Whoever reads messages by a program gets them and nothing else.
expect 124 'not on a terminal' env TERM=xterm "${silent[@]}" -- true
[ "$(sed -n '1p;$p' "$tmp/err" | cut -c 1-5 | sort -u)" = 'vmm: ' ] && ! grep -q "waiting\|$escape"$'\|\r' "$tmp/err" ||
	fail "not on a terminal: $(cat -v "$tmp/err")"
finish
