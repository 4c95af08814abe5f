#!/usr/bin/env bash
# gdb as it is debugs a tiny guest (--gdb): by a port and by a unix socket, from the first instruction on or later, and whatever happens
# to it the machine lives, until it is told to end.
# shellcheck disable=SC2016,SC2317 # gdb has variables, too; and some functions are called by wait_until
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
command -v gdb >/dev/null || skip 'gdb is not installed (Debian: gdb)'

make_guest counter
export HOME=$tmp # no settings of whoever runs the test
socket=$tmp/gdb.sock

# start [OPTION-OF-VMM...] - the counter, with $socket for gdb unless told otherwise; sets $pid
start() {
	local place=(--gdb "$socket")
	[[ " $* " != *' --gdb '* ]] || place=()
	"$vmm" --kernel "$guests/counter.bz64" "${place[@]}" "$@" </dev/null >"$tmp/vmm.out" 2>"$tmp/vmm.err" &
	pid=$!
	wait_until 10 runs_guest "$pid" || fail "the guest does not start: $(<"$tmp/vmm.err")"
}

# ends WHAT STATUS - the machine ends with that status, and its socket is gone
ends() {
	status=0
	wait "$pid" || status=$?
	[ "$status" = "$2" ] || fail "$1: vmm's status $status, not $2: $(<"$tmp/vmm.err")"
	[ ! -e "$socket" ] || fail "$1: the socket is left"
}

# debug COMMAND... - gdb's commands after it has connected to $socket; what it says is in $tmp/gdb.out
debug() {
	local command args=()
	for command; do
		args+=(-ex "$command")
	done
	timeout -s KILL 60 gdb -q -nx -batch -ex 'set pagination off' -ex "target remote $socket" "${args[@]}" >"$tmp/gdb.out" 2>&1 </dev/null || true
}

# said WHAT PATTERN - gdb has said a line with that
said() {
	grep -qE -- "$2" "$tmp/gdb.out" || { fail "$1: gdb has not said '$2', but" && sed 's/^/    /' "$tmp/gdb.out"; }
}

# Whether the guest takes time, or none.
runs() {
	local ticks
	ticks=$(cpu_ticks "$pid")
	sleep 0.1
	[ "$(cpu_ticks "$pid")" -gt "$ticks" ]
}
stands() {
	local ticks
	ticks=$(cpu_ticks "$pid")
	sleep 0.1
	[ "$(cpu_ticks "$pid")" = "$ticks" ]
}

# In the guest: 1000200 mov, 1000205 add, 1000209 nop, 100020a cmp, 100020f je.

# ---- from the first instruction on ----

start --gdb "$socket,wait"
[ "$(stat -c %a "$socket")" = 1600 ] || fail "the socket's mode is $(stat -c %a "$socket")"
grep -q 'waits for gdb' "$tmp/vmm.err" || fail 'vmm does not say that it waits'
debug 'print/x $pc' 'info threads' 'stepi' 'print/x $pc' 'stepi' 'stepi' 'print/x $pc' 'print *(int *)0x200000' \
	'print/x $rbx' 'set $rbx = 0x200100' 'set $xmm3[1] = 5' 'set $st1 = 7' 'set $eflags = 0x46' 'set $fs_base = 0x1234' \
	'info registers eflags' 'stepi 3' 'print $xmm3' 'print $st1' 'print/x $fs_base' 'print *(int *)0x200100' \
	'print *(int *)0x7fffffff0000' 'x/2i 0x1000200' 'print/x $cs' 'print $cr0 & 1' 'set $ds = 0x20' 'print/x $ds' 'detach'
said 'first instruction' '^\$1 = 0x1000200$'
said 'threads' '^\* 1 +Thread 1 \(CPU#0 \[running\]\) 0x0*1000200 in'
said 'step' '^\$2 = 0x1000205$'
said 'step' '^\$3 = 0x100020a$'
said 'memory' '^\$4 = 1$'
said 'a register' '^\$5 = 0x200000$'
said 'flags' '^eflags +0x46 .*\[ PF ZF \]'
said 'SSE' '^\$6 = \{0, 5, 0, 0\}$'
said 'FPU' '^\$7 = 7$'
said 'base' '^\$8 = 0x1234$'
said 'memory at the new address' '^\$9 = 1$'
said 'unmapped memory' '^Cannot access memory at address 0x7fffffff0000$'
said 'instructions' '0x1000205:.*add'
said 'selector' '^\$10 = 0x10$'
said 'control register' '^\$11 = 1$'
said 'a selector that is not set' '^Could not write register "ds"; remote failure reply .E22.$'
said 'leaving' 'detached'

# ---- a guest that runs ----

for point in hbreak break; do
	debug "$point *0x1000209" 'continue' 'print/x $pc' 'x/xb 0x1000209' 'continue' 'print/x $pc' 'stepi' 'print/x $pc' 'delete' \
		"$point *0x100020f" 'continue' 'print/x $pc' 'kill inferiors 2' 'detach'
	said "$point" '^\$1 = 0x1000209$'
	said "$point: memory is as without it" '^0x1000209:.0x90$'
	said "$point again" '^\$2 = 0x1000209$'
	said "$point: step" '^\$3 = 0x100020a$'
	said "$point elsewhere" '^\$4 = 0x100020f$'
done
# Where nothing is mapped, a debug register is taken, of which there are four.
debug 'break *0xffffffff81000000' 'tbreak *0x7fffffff0000' 'hbreak *0x100020f' 'continue' 'print/x $pc' 'detach'
said 'breakpoints where nothing is' '^\$1 = 0x100020f$'
debug 'hbreak *1' 'hbreak *2' 'hbreak *3' 'hbreak *4' 'hbreak *5' 'continue'
said 'too many breakpoints' 'Cannot insert hardware breakpoint 5'

# A KVM that emulates instructions does not see what is watched.
if fast_kvm; then
	debug 'watch *(int *)0x200100' 'continue' 'print/x $pc' 'delete' 'awatch *(int *)0x200108' 'continue' 'print/x $pc' 'delete' \
		'rwatch *(int *)0x200108' 'continue' 'print/x $pc' 'detach'
	said 'watch' '^\$1 = 0x1000209$'
	said 'awatch' '^\$2 = 0x100020f$'
	said 'rwatch' '^\$3 = 0x100020f$'
else
	note 'watchpoints are not tried: this KVM emulates instructions'
fi

# Ctrl-C.
: >"$tmp/gdb.out"
gdb -q -nx -batch -ex "target remote $socket" -ex 'continue' -ex 'print *(int *)0x200100 > 1' -ex 'detach' >"$tmp/gdb.out" 2>&1 </dev/null &
gdb_pid=$!
wait_until 20 grep -q 'in ?? ()' "$tmp/gdb.out" || fail 'gdb does not connect'
sleep 1
kill -INT "$gdb_pid"
wait "$gdb_pid" || true
said 'interrupt' 'SIGINT'
said 'interrupt' '^\$1 = 1$'

# A debugger that dies leaves nothing: its breakpoint would be hit by the next one's "continue" at once.
{ timeout -s KILL 3 gdb -q -nx -batch -ex "target remote $socket" -ex 'hbreak *0x1000205' -ex 'continue' -ex 'continue 1000000000' \
	>"$tmp/gdb.out" 2>&1 </dev/null || true; } 2>/dev/null
debug 'hbreak *0x100020f' 'continue' 'print/x $pc' 'detach'
said 'after one that died' '^\$1 = 0x100020f$'

# The guest's end is told.
debug 'set var *(int *)0x200108 = 1' 'continue'
said 'power off' 'exited normally'
ends 'power off' 0

# ---- other ends, and a port ----

start
debug 'kill'
said 'kill' 'killed'
ends 'kill' 0
start --gdb "$socket,wait" --events "$tmp/events"
debug 'kill'
ends 'kill at the first instruction' 0
grep -q '"reason":"debugger","status":0' "$tmp/events" || fail "the event of kill: $(tail -n 1 "$tmp/events")"

# A shortage of the host's is told once, and over some time later.
start --timeout 60
prlimit --pid "$pid" --nofile=3:
debug 'kill' &
debugger=$!
wait_until 10 grep -q 'gdb has to wait: Too many open files' "$tmp/vmm.err" || fail "a shortage: vmm says $(<"$tmp/vmm.err")"
sleep 0.5
prlimit --pid "$pid" --nofile=256:
wait "$debugger"
said 'after a shortage' 'killed'
[ "$(grep -c 'gdb has to wait' "$tmp/vmm.err")" = 1 ] || fail "a shortage: vmm says $(<"$tmp/vmm.err")"
ends 'after a shortage' 0

# The machine ends while it stands.
start --gdb "$socket,wait" --timeout 0.5
ends 'timeout before a debugger came' 124
start --timeout 4
timeout -s KILL 60 gdb -q -nx -batch -ex "target remote $socket" -ex 'shell sleep 5' -ex 'print *(int *)0x200100' >"$tmp/gdb.out" 2>&1 </dev/null || true
ends 'timeout under a debugger' 124
! grep -q '^\$1 = ' "$tmp/gdb.out" || fail 'gdb reads memory of a machine that has ended'
start --timeout 3
debug 'continue'
said 'timeout while it runs' 'SIGTERM'
ends 'timeout while it runs' 124

port=$((20000 + RANDOM % 10000))
socket=:$port
start --gdb $port
# What is no debugger, and one that goes in the middle: the machine stops for a packet alone, and runs on afterwards.
exec 3<>/dev/tcp/127.0.0.1/$port
printf 'GET / HTTP/1.0\r\n\r\n$garbage#00$' >&3
wait_until 5 runs || fail 'the guest stops for what is no debugger'
printf '$?#3f' >&3
wait_until 5 stands || fail 'the guest does not stop for a debugger'
exec 3>&-
wait_until 5 runs || fail 'the guest stands when the debugger is gone'
debug 'hbreak *0x1000209' 'continue' 'print/x $pc' 'kill'
said 'by a port' '^\$1 = 0x1000209$'
ends 'by a port' 0

# ---- what is refused ----

start --gdb $port
expect 125 'a port that is taken' "$vmm" --kernel "$guests/counter.bz64" --gdb $port
grep -q "cannot listen for gdb on '$port': Address already in use" "$tmp/err" || fail "a port that is taken: $(<"$tmp/err")"
kill -HUP "$pid"
wait "$pid" || true
# A port that is none is told before the kernel is looked at, which may have a warning.
for bad in 0 65536 000099999999999999999999; do
	expect 125 "--gdb $bad" "$vmm" --kernel "$guests/counter.bz64" --gdb "$bad"
	[ "$(<"$tmp/err")" = "vmm: --gdb: port $bad is not from 1 to 65535" ] || fail "--gdb $bad: $(<"$tmp/err")"
done
: >"$tmp/taken"
expect 125 '--gdb on a file' "$vmm" --kernel "$guests/counter.bz64" --gdb "$tmp/taken"
grep -q 'Address already in use (somebody listens on it, or it is no socket)$' "$tmp/err" || fail "--gdb on a file: $(<"$tmp/err")"
for bad in /none/none "$tmp" "$(printf '%0200d' 0 | tr 0 x)"; do
	expect 125 "--gdb $bad" "$vmm" --kernel "$guests/counter.bz64" --gdb "$bad"
	[ "$(grep -vc 'note:\|unpacks itself' "$tmp/err")" = 1 ] || fail "--gdb $bad: not one line: $(<"$tmp/err")"
done
finish
