#!/usr/bin/env bash
# gdb as it is debugs a stock kernel on two vCPUs (--gdb): breakpoints, a backtrace, steps, watchpoints, an interrupt; what the guest's own programs do
# with breakpoints stays theirs; and when the debugger has gone the guest runs on to its end.
# shellcheck disable=SC2016 # gdb has variables, too
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
for tool in gdb as ld; do
	command -v $tool >/dev/null || skip "$tool is not installed (Debian: gdb, binutils)"
done
enter_lab cloud -- --cpus 2
export HOME=$tmp # no settings of whoever runs the test
socket=$tmp/gdb.sock

# ---- the kernel's symbols, which Debian has not: a guest is asked, and they become an ELF file of names alone ----

names='_text start_kernel linux_banner jiffies_64 panic ksys_sync __x64_sys_sync do_syscall_64'
boot 'symbols' "grep -E ' [A-Za-z] (${names// /|})\$' /proc/kallsyms" --kaslr off
{
	echo '.section .kernel, "ax", @nobits'
	while read -r address _ name; do
		[ "$name" != _text ] || text=$address
		printf '.globl %s\n.type %s, @function\n.set %s, .kernel + 0x%s - 0xffffffff81000000\n' "$name" "$name" "$name" "$address"
	done <<<"$output"
	echo '.skip 0x4000000'
} >"$tmp/symbols.s"
equal 'symbols: where the kernel is' ffffffff81000000 "${text-}"
as -o "$tmp/symbols.o" "$tmp/symbols.s"
ld -e 0 --section-start=.kernel=0xffffffff81000000 -o "$tmp/symbols" "$tmp/symbols.o"

# ---- gdb ----

# debug COMMAND... - after gdb has connected; sets $gdb_pid. What it says goes to $tmp/gdb.out.
debug() {
	local command args=()
	for command; do
		args+=(-ex "$command")
	done
	: >"$tmp/gdb.out"
	rm -f "$tmp/gdb.on"
	env --default-signal=INT gdb -q -nx -batch -ex 'set pagination off' -ex 'set confirm off' "$tmp/symbols" -ex "target remote $socket" -ex "shell touch '$tmp/gdb.on'" \
		"${args[@]}" >"$tmp/gdb.out" 2>&1 </dev/null &
	gdb_pid=$!
	children[$gdb_pid]=gdb
}

# gdb_ends SECONDS - waits for it; that time after it has connected presses Ctrl-C once, and much later ends it. Sets $interrupted.
gdb_ends() {
	local since=$EPOCHREALTIME
	interrupted=
	# An interrupt while it starts, which takes its time on a busy machine, is none of the guest's.
	until [ -e "$tmp/gdb.on" ] || [ ! -e "/proc/$gdb_pid/exe" ] || [ "$(ms_since "$since")" -gt 200000 ]; do sleep 0.1; done
	since=$EPOCHREALTIME
	while [ -e "/proc/$gdb_pid/exe" ]; do
		if [ -z "$interrupted" ] && [ "$(ms_since "$since")" -gt $(($1 * 1000)) ]; then
			interrupted=yes
			kill -INT "$gdb_pid"
		elif [ "$(ms_since "$since")" -gt $(($1 * 1000 + 200000)) ]; then
			kill -KILL "$gdb_pid"
		fi
		sleep 0.1
	done
	wait "$gdb_pid" 2>/dev/null || true
	unset "children[$gdb_pid]"
}

# said WHAT PATTERN - gdb has said a line with that
said() {
	local line
	line=$(grep -m 1 -E -- "$2" "$tmp/gdb.out" || true)
	check "$1" "${line:-no line like $2}" [ -n "$line" ]
	[ -n "$line" ] || sed 's/^/    /' "$tmp/gdb.out"
}

# ---- a guest that runs ----

start_gated 'debugged' '
	echo ready
	while :; do sync; done &
	read -r line
	/bin/trap
	echo trapped
	read -r line
	kill $!
	dmesg | grep -E "BUG:|Oops|soft lockup|detected stalls|WARNING: CPU" || true' --cpus 2 --gdb "$socket" --timeout 500
says 'debugged' '^ready' || true

debug 'info threads' 'break ksys_sync' 'continue' 'print $pc == (long)&ksys_sync' 'backtrace 3' 'x/5xb $pc' 'stepi' \
	'print (long)$pc - (long)&ksys_sync' 'stepi' 'stepi' 'print (long)$pc - (long)&ksys_sync < 32' 'continue' 'print $pc == (long)&ksys_sync' 'delete' \
	'print (long)$gs_base < 0' 'print $cr0 >> 31' 'x/s (char *)&linux_banner' 'print *(long *)0x10' 'thread 2' 'print $pc != 0' 'detach'
gdb_ends 200
said 'threads' '^\*? +1 +Thread 1 \(CPU#0 \[(running|halted)\]\)'
said 'threads' '^\*? +2 +Thread 2 \(CPU#1 \[(running|halted)\]\)'
said 'breakpoint' '^Thread [12] hit Breakpoint 1, '
said 'breakpoint: where' '^\$1 = 1$'
said 'backtrace' '^#0 .* ksys_sync '
said 'backtrace: the caller' '^#1 .* __x64_sys_sync '
said 'backtrace: its caller' '^#2 .* do_syscall_64 '
said 'the code is shown without the breakpoint' '^0x[0-9a-f]+ <ksys_sync>:.0x0f'
said 'step: over the first instruction, of 5 bytes' '^\$2 = 5$'
said 'step: still there' '^\$3 = 1$'
said 'breakpoint: again' '^\$4 = 1$'
said 'the kernel'"'"'s data of this CPU' '^\$5 = 1$'
said 'control registers' '^\$6 = 1$'
said 'memory' 'Linux version 6\.1'
said 'no memory' '^Cannot access memory at address 0x10$'
said 'the other vCPU' '^\$7 = 1$'
check 'breakpoint: no Ctrl-C was needed' "${interrupted:-none}" [ -z "$interrupted" ]

# Ctrl-C, and a watchpoint as gdb makes it itself, by steps.
debug 'continue' 'info threads' 'break ksys_sync' 'continue' 'delete' 'set can-use-hw-watchpoints 0' 'watch $rsp' 'continue' 'print (long)$pc - (long)&ksys_sync < 64' 'detach'
gdb_ends 15
said 'interrupt' '^Thread [12] received signal SIGINT, Interrupt\.$'
said 'interrupt: threads' 'Thread 2 \(CPU#1'
said 'watchpoint by steps' '^Watchpoint 2: \$rsp$'
said 'watchpoint by steps: where' '^\$1 = 1$'

# The debug registers.
if [ -n "$emulated" ]; then
	note 'hbreak and watch are not tried: QEMU does not emulate debug registers for the guests of its guests'
else
	debug 'hbreak ksys_sync' 'continue' 'print $pc == (long)&ksys_sync' 'delete' 'watch *(long *)&jiffies_64' 'continue' 'info watchpoints' 'detach'
	gdb_ends 20
	said 'hbreak' '^\$1 = 1$'
	said 'watch' 'hit Hardware watchpoint 2: \*\(long \*\)&jiffies_64$'
fi

# ---- a program of the guest's own that uses int3 and the trap flag, while the debugger has a breakpoint elsewhere ----

debug 'break panic' 'continue' 'detach'
until grep -q '^Breakpoint 1' "$tmp/gdb.out" || [ ! -e "/proc/$gdb_pid/exe" ]; do sleep 0.1; done
sleep 1
let_go 'debugged'
says 'debugged' '^trapped' 30 || true
gdb_ends 0
said 'a program with breakpoints: the debugger sees none' 'received signal SIGINT'
let_go 'debugged'
powers_off 'debugged'
equal 'a program with breakpoints: its own' 10 "$(value breakpoints)"
equal 'a program with breakpoints: its steps' 10 "$(value steps)"
note "what the kernel complains of, having stood for long: $(grep -E 'BUG:|Oops|soft lockup|detected stalls|WARNING: CPU' <<<"$output" || echo nothing)"
check 'the socket is gone' "$socket" [ ! -e "$socket" ]

# ---- from the first instruction on ----

start 'early' 'echo over' --cpus 2 --gdb "$socket,wait" --timeout 400
until [ -S "$socket" ] || [ ! -e "/proc/$pid/exe" ]; do sleep 0.1; done
sleep 1
check 'early: it waits' "$(wc -c <"$tmp/early.out") bytes of console" [ ! -s "$tmp/early.out" ]
debug 'print $pc' 'info threads' 'stepi' 'print $pc' 'break start_kernel' 'continue' 'print $pc == (long)&start_kernel' 'x/s (char *)&linux_banner' 'delete' 'continue'
gdb_ends 200
said 'early: the first instruction' '^\$1 = .* 0x1[0-9a-f]{6}( |$)'
said 'early: the other vCPU' '^  2 .*CPU#1 \[not started\]'
said 'early: a step' '^\$2 = .* 0x1[0-9a-f]{6}( |$)'
said 'early: the end' 'exited normally'
if [ -n "$emulated" ]; then
	note 'break start_kernel is not tried: nothing is mapped there yet, so it takes a debug register'
else
	said 'early: start_kernel' '^\$3 = 1$'
	said 'early: memory' 'Linux version 6\.1'
fi
powers_off 'early'
finish
