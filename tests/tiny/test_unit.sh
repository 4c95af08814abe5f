#!/usr/bin/env bash
# systemd's unit for long-running guests: systemd takes it, its command line runs a guest as it stands there, and what it forbids is
# nothing that vmm needs, for then vmm would run with a part of its own sandbox missing.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command -v systemd-analyze >/dev/null || skip 'systemd-analyze is missing (Debian: systemd)'
command -v strace >/dev/null || skip 'strace is missing'
! sanitized "$vmm" || skip 'sanitizers make system calls of their own'

# unit KEY - the values of a key, one a line
unit() {
	sed -n "s/^$1=//p" "$tmp/vmm@.service"
}

# The program where it is now, else as it is installed.
sed "s|^ExecStart=[^ ]*|ExecStart=$vmm|" "$build/packaging/vmm@.service" >"$tmp/vmm@.service"
systemd-analyze verify --man=no "$tmp/vmm@.service" >"$tmp/out" 2>&1 || fail "systemd refuses it: $(head -n 3 "$tmp/out")"
! grep "vmm@" "$tmp/out" || fail 'systemd has something to say'
if systemd-analyze --help | grep -e --threshold >/dev/null; then
	systemd-analyze security --offline=yes --threshold=30 --no-pager "$tmp/vmm@.service" >"$tmp/out" 2>&1 ||
		fail "exposed: $(tail -n 1 "$tmp/out")"
	note "$(sed -n 's/.*Overall/overall/p' "$tmp/out")"
else
	note 'this systemd-analyze cannot judge how exposed a unit is that does not run'
fi

# The line, split as systemd splits it, with all system calls of it and its children on record.
# traced OPTIONS - runs it
traced() {
	local line
	read -ra line < <(unit ExecStart)
	[ "${line[*]:1}" = "\$OPTIONS" ] || fail "ExecStart has ${line[*]:1}"
	# shellcheck disable=SC2086 # words
	strace -f -qq -o "$tmp/calls" -e signal=none "${line[0]}" $1 </dev/null >"$tmp/out" 2>"$tmp/err"
	sed -n 's/^[0-9]* *\([a-z0-9_]*\)(.*/\1/p' "$tmp/calls" >>"$tmp/names"
	grep -oE '\<(AF_[A-Z0-9]+|CLONE_NEW[A-Z]+)\>' "$tmp/calls" >>"$tmp/flags" || true
}
export XDG_CACHE_HOME=$tmp/cache
truncate -s 1M "$tmp/disk.img"
cd "$tmp"
traced "--kernel guests/hello.bz64 --disk disk.img --memory 64M --log-level info" || fail "its line ends with $?: $(head -n 3 err)"
grep -q hello out || fail 'the console is not on standard output'
if command -v passt >/dev/null; then
	traced '--kernel guests/hello.bz64 --net user --vsock cid=3,socket=v' || fail "with passt: status $?: $(head -n 3 err)"
else
	note 'passt is missing: its system calls are not looked at'
fi

# What the kernel's filter of the unit lets pass, by the names of systemd's groups.
for word in $(unit SystemCallFilter); do
	case $word in
	@*) systemd-analyze syscall-filter "$word" ;;
	*) echo "  $word" ;;
	esac
done >groups
# Groups have groups.
while more=$(sed -n 's/^ \+\(@[a-z-]*\)$/\1/p' groups | sort -u) && [ -n "$more" ]; do
	sed -i '/^ *@/d' groups
	while read -r word; do
		systemd-analyze syscall-filter "$word" | tail -n +2
	done <<<"$more" >groups.more
	cat groups.more >>groups
done
sed -n 's/^ *\([a-z0-9_]*\)$/\1/p' groups | sort -u >allowed
sort -u names | comm -23 - allowed >refused
[ "$(wc -l <allowed)" -gt 200 ] || fail "only $(wc -l <allowed) system calls are allowed"
[ ! -s refused ] || fail "the unit forbids $(tr '\n' ' ' <refused)"

sort -u flags | grep '^AF_' | grep -v AF_UNSPEC >families
while read -r family; do
	[[ " $(unit RestrictAddressFamilies) " = *" $family "* ]] || fail "the unit forbids $family"
done <families
declare -A namespaces=([CLONE_NEWUSER]=user [CLONE_NEWNS]=mnt [CLONE_NEWIPC]=ipc [CLONE_NEWUTS]=uts [CLONE_NEWPID]=pid
	[CLONE_NEWNET]=net [CLONE_NEWCGROUP]=cgroup)
# An ordinary user, which the unit has, needs the first.
{ echo CLONE_NEWUSER && sort -u flags | grep '^CLONE_'; } >made
while read -r flag; do
	[[ " $(unit RestrictNamespaces) " = *" ${namespaces[$flag]} "* ]] || fail "the unit forbids $flag"
done <made
grep -q CLONE_NEWNS made || fail 'no namespace was made: nothing was looked at'

# Words that users have seen in the manual page: 10 seconds for the guest, then ended.
[ "$(unit KillSignal) $(unit KillMode)" = 'SIGTERM mixed' ] || fail 'it is not stopped by its power button'
[ "$(unit TimeoutStopSec)" -gt 10 ] || fail 'systemd does not wait until the grace time has passed'
finish
