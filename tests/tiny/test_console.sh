#!/usr/bin/env bash
# The console: every kind of output and input it may be given, the keys of a terminal, --console.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export NO_COLOR=1 # messages on a terminal are compared

make_guest fifo_echo
make_guest card_resets
hello=("$vmm" --kernel "$guests/hello.bz64" --log-level error)
echoing=("$vmm" --kernel "$guests/fifo_echo.bz64" --log-level error)

# is_hello WHAT FILE STATUS - nothing but the guest's line
is_hello() {
	[ "$3" = 0 ] || fail "$1: status $3"
	[ "$(cat "$2"; echo .)" = $'hello\n.' ] || fail "$1: got $(head -c 200 "$2")"
}

# ---- output ----

for format in pvh elf64 bz64 bz32; do
	expect 0 "hello, $format" "$vmm" --kernel "$guests/hello.$format" --log-level error
	is_hello "to a file, $format" "$tmp/out" "$status"
	[ ! -s "$tmp/err" ] || fail "hello, $format: stderr has $(head -n 3 "$tmp/err")"
done
{ "${hello[@]}" </dev/null; echo $? >"$tmp/status"; } | cat >"$tmp/out"
is_hello 'to a pipe' "$tmp/out" "$(cat "$tmp/status")"
status=0
"${hello[@]}" </dev/null >/dev/null || status=$?
[ "$status" = 0 ] || fail "to /dev/null: status $status"
status=0
"${hello[@]}" </dev/null >&- 2>"$tmp/err" || status=$?
[ "$status" = 0 ] || fail "stdout closed: status $status"
status=0
"${hello[@]}" <&- >&- 2>&- || status=$?
[ "$status" = 0 ] || fail "all three closed: status $status"
status=0
"${hello[@]}" <&- >"$tmp/out" || status=$?
is_hello 'stdin closed' "$tmp/out" "$status"

# A full disk and a reader that is gone cost the output, not the VM; one line says so.
status=0
"$vmm" --kernel "$guests/hello.bz64" </dev/null >/dev/full 2>"$tmp/err" || status=$?
[ "$status" = 0 ] || fail "to /dev/full: status $status"
grep -v note: "$tmp/err" >"$tmp/lines" || true
[ "$(grep -c 'No space left on device' "$tmp/lines")" = 1 ] && [ "$(wc -l <"$tmp/lines")" = 1 ] ||
	fail "to /dev/full: says $(cat "$tmp/err")"
{
	status=0
	"$vmm" --kernel "$guests/flood.bz64" --timeout 1 </dev/null 2>"$tmp/err" || status=$?
	echo "$status" >"$tmp/status"
} | head -c 100 >/dev/null
[ "$(cat "$tmp/status")" = 124 ] || fail "the reader is gone: status $(cat "$tmp/status"), not 124"
[ "$(grep -c 'the reader of the guest.s console is gone' "$tmp/err")" = 1 ] ||
	fail "the reader is gone: says $(cat "$tmp/err")"

# ---- a flood ----

# Resident memory, in KiB, after the guest's own has been touched and its code and ours have run for a moment.
rss() {
	awk '/^VmRSS/ {print $2}' "/proc/$1/status"
}

# floods WHAT - the flood that runs as $pid does not grow memory, and ends on time
floods() {
	local early late since status=0
	since=$(now_ms)
	wait_until 10 runs_guest "$pid" || fail "flood, $1: does not start"
	sleep 1
	early=$(rss "$pid")
	sleep 2
	late=$(rss "$pid")
	[ "$sanitizer" = thread ] || [ $((late - early)) -le 128 ] || fail "flood, $1: resident memory went from $early to $late KiB"
	wait "$pid" || status=$?
	[ "$status" = 124 ] || fail "flood, $1: status $status, not 124"
	# The timeout, and at most two seconds for a reader who does not read.
	between "flood, $1: ms until the end" "$(ms_since "$since")" 3000 10000
}

"$vmm" --kernel "$guests/flood.bz64" --timeout 4 </dev/null >/dev/null 2>&1 &
pid=$!
floods '/dev/null'

mkfifo "$tmp/pipe"
sleep 60 <>"$tmp/pipe" & # holds it open and never reads
sleeper=$!
wait_until 5 test -e "/proc/$sleeper/fd/0"
"$vmm" --kernel "$guests/flood.bz64" --timeout 4 </dev/null >"$tmp/pipe" 2>"$tmp/err" &
pid=$!
floods 'a full pipe'
grep -q 'were not written: nobody reads them' "$tmp/err" || fail "a full pipe: says $(cat "$tmp/err")"
kill "$sleeper"

# ---- bursts ----

if command -v strace >/dev/null && ! sanitized "$vmm"; then
	status=0
	strace -f -qq --seccomp-bpf -e trace=write,writev -e signal=none -o "$tmp/trace" \
		"$vmm" --kernel "$guests/flood.bz64" --timeout 2 </dev/null >"$tmp/out" 2>/dev/null || status=$?
	[ "$status" = 124 ] || fail "flood under strace: status $status, not 124"
	bytes=$(stat -c %s "$tmp/out")
	# Those that wake another thread count as well.
	writes=$(grep -cE '(write|writev)\(' "$tmp/trace" || true)
	note "bursts: $bytes bytes of console in $writes calls of write in all"
	[ "$bytes" -ge 1000 ] || fail "flood under strace: only $bytes bytes"
	[ $((writes * 8)) -le $((bytes + 800)) ] || fail "bursts: $writes calls of write for $bytes bytes"
else
	note 'bursts: not counted, for want of strace (or of a vmm without sanitizers)'
fi

# ---- input ----

# One megabyte takes a quarter of an hour where an access to a port takes tens of microseconds, as on a KVM without
# VT-x and AMD-V; there it is as much as takes about five seconds, four times what vmm holds.
size=16384
if fast_kvm; then
	size=1048576
fi
# All bytes but the one that ends the guest, Ctrl-A among them, which is nothing special here.
head -c "$size" /dev/urandom >"$tmp/random"
{
	printf 'a\001x\001\001h'
	tr -d '\004' <"$tmp/random"
	printf '\001\004'
} >"$tmp/in"
since=$(now_ms)
# shellcheck disable=SC2002 # a pipe is what is tested
cat "$tmp/in" | "${echoing[@]}" --timeout 50 >"$tmp/out" || fail 'a pipe as input: a bad status'
note "input: $(stat -c %s "$tmp/in") bytes there and back in $(ms_since "$since") ms"
cmp "$tmp/in" "$tmp/out" || fail 'a pipe as input: it does not arrive whole'

# A port without FIFOs takes single bytes; a regular file is an input that cannot be polled.
{ head -c 1000 /dev/urandom | tr -d '\004'; printf '\004'; } >"$tmp/in"
status=0
"$vmm" --kernel "$guests/echo.bz64" --log-level error --timeout 50 <"$tmp/in" >"$tmp/out" || status=$?
[ "$status" = 0 ] || fail "a file as input: status $status"
cmp "$tmp/in" "$tmp/out" || fail 'a file as input: it does not arrive whole'

# Input in pieces with pauses, and the end of input, after which the guest runs on.
status=0
{ printf abc; sleep 0.3; printf def; } | "${echoing[@]}" --timeout 2 >"$tmp/out" 2>/dev/null || status=$?
[ "$status" = 124 ] && [ "$(cat "$tmp/out")" = abcdef ] ||
	fail "the end of input: status $status, got $(cat "$tmp/out")"

# ---- --console ----

{ printf 'left alone\n' | { "${hello[@]}" --console none; cat; }; } >"$tmp/out"
[ "$(cat "$tmp/out")" = 'left alone' ] || fail "--console none: stdin or stdout was used: $(cat "$tmp/out")"

{ printf 'left alone\n' | { "${hello[@]}" "--console=file=$tmp/console"; cat; }; } >"$tmp/out"
[ "$(cat "$tmp/out")" = 'left alone' ] || fail "--console file: stdin or stdout was used: $(cat "$tmp/out")"
is_hello '--console file, a new one' "$tmp/console" 0
printf 'much more than the guest will write\n' >"$tmp/console"
expect 0 '--console file' "${hello[@]}" --console "file=$tmp/console"
is_hello '--console file, one with content' "$tmp/console" "$status"
# Emptied by others, as logrotate's copytruncate does it: what comes then is at its beginning.
"$vmm" --kernel "$guests/flood.bz64" --console "file=$tmp/console" --timeout 20 </dev/null 2>/dev/null &
pid=$!
wait_until 10 test -s "$tmp/console" || fail '--console file: nothing in it'
: >"$tmp/console"
wait_until 10 test -s "$tmp/console" || fail '--console file: nothing after it was emptied'
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
[ "$(head -c 1 "$tmp/console" | tr -d '\0' | wc -c)" = 1 ] || fail '--console file: it begins with a hole after it was emptied'
rm "$tmp/console"
expect 0 '--console file=/dev/null' "${hello[@]}" --console file=/dev/null

# A console on a pseudo-terminal: another program reads and types there, and may leave and come back.
"${echoing[@]}" --console pty --timeout 20 </dev/null >"$tmp/out" 2>"$tmp/err" &
pid=$!
wait_until 5 grep -q '^vmm: the console is on /dev/pts/' "$tmp/err" || fail "--console pty: says $(cat "$tmp/err")"
pty=$(sed -n 's/^vmm: the console is on //p' "$tmp/err")
for text in first second; do
	exec 5<>"$pty"
	printf '%s' "$text" >&5
	answer=
	IFS= read -r -t 10 -N ${#text} answer <&5 || true
	[ "$answer" = "$text" ] || fail "--console pty: '$text' came back as '$answer'"
	[ "$text" = first ] || printf '\004' >&5
	exec 5<&-
done
status=0
wait "$pid" || status=$?
[ "$status" = 0 ] || fail "--console pty: status $status"
[ ! -s "$tmp/out" ] || fail '--console pty: stdout was used'

# A socket: clients come and go, a second one is turned away, and the name is there only while the machine runs.
gcc -O1 -Wall -Wextra -o "$tmp/client" "$here/console_client.c"
(umask 0 && exec "${echoing[@]}" --console "socket=$tmp/sock" --timeout 30) </dev/null >"$tmp/out" 2>"$tmp/err" &
pid=$!
wait_until 5 test -S "$tmp/sock" || fail "--console socket: no socket"
[ "$(stat -c %a "$tmp/sock")" = 1600 ] || fail "--console socket: its mode is $(stat -c %a "$tmp/sock")"
expect 125 '--console socket, a name in use' "${hello[@]}" --console "socket=$tmp/sock"
grep -q 'the name is taken' "$tmp/err" || fail "--console socket, a name in use: says $(cat "$tmp/err")"
"$tmp/client" "$tmp/sock" || fail '--console socket: the client is not content'
status=0
wait "$pid" || status=$?
[ "$status" = 0 ] || fail "--console socket: status $status"
[ ! -e "$tmp/sock" ] || fail '--console socket: the name is still there'
# One that was killed leaves its name, which the next one takes over; a file it does not.
"${echoing[@]}" --console "socket=$tmp/sock" --timeout 30 </dev/null >/dev/null 2>&1 &
pid=$!
wait_until 5 test -S "$tmp/sock" || fail '--console socket: no socket'
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
[ -S "$tmp/sock" ] || fail '--console socket: the killed one took its name along'
for option in "--console=file=$tmp/sock" "--events=$tmp/sock" "--dump-dtb=$tmp/sock"; do
	expect 125 "a socket as file, $option" "${hello[@]}" "$option"
	grep -q "'$tmp/sock'.*: it is a socket$" "$tmp/err" || fail "a socket as file, $option: says $(cat "$tmp/err")"
done
if command -v strace >/dev/null; then # the second socket is the one that tries the name
	expect 125 '--console socket, no descriptor' strace -qq -e trace=socket -e inject=socket:error=EMFILE:when=2+ -o "$tmp/trace" \
		"${hello[@]}" --console "socket=$tmp/sock"
	grep -q "'$tmp/sock': Too many open files$" "$tmp/err" || fail "--console socket, no descriptor: says $(cat "$tmp/err")"
	[ -S "$tmp/sock" ] || fail '--console socket, no descriptor: the name has gone'
fi
expect 0 '--console socket, a stale name' "${hello[@]}" --console "socket=$tmp/sock"
[ ! -e "$tmp/sock" ] || fail '--console socket, a stale name: it is still there'
echo precious >"$tmp/sock"
if [ "$(id -u)" = 0 ]; then
	mkdir "$tmp/theirs"
	chown 65534 "$tmp/theirs"
	expect 0 "--console socket, another's directory" "${hello[@]}" --console "socket=$tmp/theirs/sock"
	[ ! -e "$tmp/theirs/sock" ] || grep -q "^vmm: cannot remove '$tmp/theirs/sock': Permission denied$" "$tmp/err" ||
		fail "a socket that is left: $(<"$tmp/err")"
	expect 0 "--vsock, another's directory" "$vmm" --kernel "$guests/hello.bz64" --vsock "cid=3,socket=$tmp/theirs/vsock"
	[ ! -e "$tmp/theirs/vsock" ] || grep -q "^vmm: cannot remove '$tmp/theirs/vsock': Permission denied$" "$tmp/err" ||
		fail "a socket of --vsock that is left: $(<"$tmp/err")"
	rm -rf "$tmp/theirs"
fi
expect 125 '--console socket, a file' "${hello[@]}" --console "socket=$tmp/sock"
[ "$(cat "$tmp/sock")" = precious ] || fail '--console socket: a file was replaced'
rm "$tmp/sock"
# Of two that start at once one has the name: the second comes before the first listens.
if command -v strace >/dev/null; then
	strace -qq -e trace=listen -e inject=listen:delay_enter=4000000 -o "$tmp/trace" \
		"${echoing[@]}" --console "socket=$tmp/sock" --timeout 30 </dev/null >/dev/null 2>"$tmp/err1" &
	first=$!
	sleep 0.5
	"${echoing[@]}" --console "socket=$tmp/sock" --timeout 30 </dev/null >/dev/null 2>&1 &
	second=$!
	status=0
	wait "$first" || status=$?
	[ "$status" = 125 ] && grep -q 'the name is taken' "$tmp/err1" || fail "--console socket, two at once: status $status, says $(cat "$tmp/err1")"
	"$tmp/client" "$tmp/sock" || fail '--console socket, two at once: the client is not content'
	status=0
	wait "$second" || status=$?
	[ "$status" = 0 ] || fail "--console socket, two at once: status $status"
	[ -z "$(find "$tmp" -type s)" ] || fail "--console socket, two at once: left are $(find "$tmp" -type s)"
else
	note 'strace is missing: two sockets at once are not tried'
fi
expect 125 '--console socket, a long name' "${hello[@]}" --console "socket=$tmp/$(printf '%0120d' 0)"
expect 125 '--console socket, no kernel' "$vmm" --kernel /missing --console "socket=$tmp/sock"
[ ! -e "$tmp/sock" ] || fail '--console socket: a failed start left it'

# The serial port's output arrives with a virtio console, too.
expect 0 '--console virtio' "${hello[@]}" --console virtio
is_hello '--console virtio' "$tmp/out" "$status"

# ---- keys ----

# on_terminal GUEST KEYS [OPTION] - the VM on a new terminal where KEYS are typed; sets $status, $tmp/screen
on_terminal() {
	cat >"$tmp/session.sh" <<-SESSION
		. "$here/lib_terminal.sh"
		command() { # ends what hangs
			for _ in {1..300}; do
				sleep 0.1
				[ -e "/proc/\$pid/exe" ] || return 0
			done
			kill -KILL "\$pid"
		}
		session "$tmp/modes" "$vmm" --kernel "$guests/$1.bz64" --log-level error --timeout 10 ${3-}
	SESSION
	rm -f "$tmp"/modes.*
	{
		wait_until 10 test -s "$tmp/modes.running" || true
		printf '%b' "$2"
		wait_until 15 test -s "$tmp/modes.status" || true
	} | script -qec "bash '$tmp/session.sh'" /dev/null >"$tmp/screen" 2>&1 || true
	status=$(cat "$tmp/modes.status" 2>/dev/null || echo none)
}

if command -v script >/dev/null; then
	on_terminal halt '\001x'
	[ "$status" = 0 ] || fail "Ctrl-A x: status $status"

	on_terminal echo 'a\001\001b\003c\004'
	[ "$status" = 0 ] || fail "typing: status $status"
	printf 'a\001b\003c\004' >"$tmp/want"
	cmp "$tmp/want" "$tmp/screen" || fail "Ctrl-A Ctrl-A and other keys: got $(od -c "$tmp/screen" | head)"

	on_terminal halt '\001d\001x'
	[ "$status" = 0 ] || fail "Ctrl-A d: status $status"
	tr -d '\r' <"$tmp/screen" >"$tmp/shown"
	for line in 'vCPU 0 is halted; its last exit: none yet (0)' '  r15    0000000000000000  rip    0000000001000202  rflags 0000000000000002' \
		'  cs 0010  base 0000000000000000  limit ffffffff' '  code  eb fd' '  stack 0000000000000000'; do
		[ "$(grep -c "^vmm: $line" "$tmp/shown")" = 1 ] || fail "Ctrl-A d: '$line' is not shown: $(cat "$tmp/shown")"
	done
	# A guest that runs goes on.
	on_terminal echo 'a\001db\004'
	[ "$status" = 0 ] || fail "Ctrl-A d, and on: status $status"
	grep -q '^vmm: vCPU 0 runs; its last exit: a port (2)' <(tr -d '\r' <"$tmp/screen" | sed 's/^a*b*//') ||
		fail "Ctrl-A d, and on: shows $(cat "$tmp/screen")"
	grep -aq b "$tmp/screen" || fail 'Ctrl-A d, and on: the guest does not go on'

	# Two for whom others wait: the main loop for the vCPUs, and a vCPU for the card that it resets.
	keys=$(printf '\\001d%.0s' {1..200})
	on_terminal card_resets "$keys\001x" --transport=mmio
	[ "$status" = 0 ] || fail "Ctrl-A d, while a card is reset: status $status"

	on_terminal echo '\001h\004'
	[ "$status" = 0 ] || fail "Ctrl-A h: status $status"
	for key in 'Ctrl-A x' 'Ctrl-A d' 'Ctrl-A b' 'Ctrl-A h' 'Ctrl-A Ctrl-A'; do
		[ "$(grep -c "^$key " "$tmp/screen")" = 1 ] || fail "Ctrl-A h: '$key' is not listed: $(cat "$tmp/screen")"
	done
else
	note 'script(1) is missing: keys are not tested'
fi
finish
