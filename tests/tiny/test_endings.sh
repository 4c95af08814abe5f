#!/usr/bin/env bash
# Every way a VM ends has its exit status, and leaves nothing behind: no process, lock, file or terminal mode.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for guest in acpi_off acpi_reset clock clock_update pci_reset panic_reset triple_reset bios_reset bios_panic_reset button card_resets; do
	make_guest "$guest"
done

# A crash is the system's, not a report, where vmm is built with sanitizers.
export ASAN_OPTIONS=handle_segv=0

# The place where every VM of this test runs; nothing in it may change.
place=$tmp/place
mkdir -p "$place/tmp"
truncate -s 1M "$place"/{disk,term,int}.img
before=$(listing "$place")
cd "$place"

# nothing_left WHAT [SESSION [DISK]] - after a VM that ran here with the disk; one in a session of its own left no process
nothing_left() {
	local now disk=${3:-disk}.img
	now=$(listing "$place")
	[ "$now" = "$before" ] || {
		fail "$1: files have changed"
		diff <(echo "$before") <(echo "$now") || true
	}
	if [ $# -gt 1 ] && [ -n "$(ps -o pid= -s "$2")" ]; then
		fail "$1: processes are left: $(ps -o pid=,args= -s "$2")"
	fi
	expect 0 "$1: its disk, at once" "$vmm" --kernel "$guests/poweroff.bz64" --disk "$disk"
}

# start GUEST [DISK] - a VM in a session of its own, with the disk; sets $pid
start() {
	# Without job control bash starts commands in the background with SIGINT ignored, and vmm would keep to that.
	setsid env --default-signal=INT,QUIT "TMPDIR=$place/tmp" \
		"$vmm" --kernel "$guests/$1.bz64" --disk "${2:-disk}.img" </dev/null >"$tmp/$1.out" 2>"$tmp/$1${2:+.$2}.err" &
	pid=$!
	wait_until 10 runs_guest "$pid" || fail "$1 does not start"
}

# ends STATUS WHAT PID MIN MAX [DISK] - PID, to which something was done at $since, ends with STATUS within so many ms
ends() {
	local status=0 took
	wait "$3" || status=$?
	took=$(ms_since "$since")
	[ "$status" = "$1" ] || fail "$2: status $status, not $1"
	between "$2: ms until the end" "$took" "$4" "$5"
	nothing_left "$2" "$3" "${6:-disk}"
}

# ---- the guest's own ways ----

for format in pvh elf64 bz64 bz32; do
	expect 0 "reset by the keyboard controller, $format" "$vmm" --kernel "$guests/poweroff.$format"
	expect 123 "triple fault, $format" "$vmm" --kernel "$guests/triple.$format"
done
expect 0 'ACPI power off' "$vmm" --kernel "$guests/acpi_off.bz64" --disk disk.img
nothing_left 'ACPI power off'
for guest in clock clock_update; do
	expect 0 "ACPI power off after a look at a PC's clock, $guest" "$vmm" --kernel "$guests/$guest.bz64" --timeout 30
done
expect 0 'ACPI reset' "$vmm" --kernel "$guests/acpi_reset.bz64"
expect 0 'PCI reset' "$vmm" --kernel "$guests/pci_reset.bz64"
expect 123 'reset after a panic' "$vmm" --kernel "$guests/panic_reset.bz64" --disk disk.img
nothing_left 'reset after a panic'
expect 0 'reboot by triple fault' "$vmm" --kernel "$guests/triple_reset.bz64"
expect 0 'reboot by the BIOS' "$vmm" --kernel "$guests/bios_reset.bz64" --timeout 30
expect 123 'reset by the BIOS after a panic' "$vmm" --kernel "$guests/bios_panic_reset.bz64" --timeout 30
expect 0 'reboot by the BIOS, device tree' "$vmm" --kernel "$guests/bios_reset.bz64" --tables dtb --timeout 30
expect 123 'triple fault with a disk' "$vmm" --kernel "$guests/triple.bz64" --disk disk.img
nothing_left 'triple fault with a disk'

# ---- a console whose reader does not read ----

make_guest flood
mkfifo "$tmp/unread"
exec 8<>"$tmp/unread"
dd if=/dev/zero bs=4096 oflag=nonblock >&8 2>/dev/null || true

# unread STATUS WHAT [OPTION ...] - a machine that gets two signals after 1.3 s ends at once
unread() {
	local want=$1 what=$2
	shift 2
	setsid env --default-signal=INT,QUIT "$vmm" --kernel "$guests/flood.bz64" --disk disk.img "$@" </dev/null >&8 2>"$tmp/unread.err" &
	pid=$!
	wait_until 10 runs_guest "$pid" || fail "$what: does not start"
	sleep 1.3
	since=$(now_ms)
	kill -TERM "$pid"
	sleep 0.1
	kill -TERM "$pid" 2>/dev/null || true
	ends "$want" "$what" "$pid" 100 1400
	! grep 'did not end within' "$tmp/unread.err" || fail "$what: says so"
}
unread 143 'the reader does not read'
unread 124 'the reader does not read, after the timeout' --timeout 1
exec 8>&-

# ---- the event: what the machine had is free for the next ----

if command -v strace >/dev/null && ! sanitized "$vmm"; then
	status=0
	strace -f -qq -s 200 -e trace=write,unlinkat -e signal=none -o "$tmp/order" \
		"$vmm" --kernel "$guests/poweroff.bz64" --disk disk.img --vsock "cid=3,socket=$tmp/order.vsock" --sandbox off --events "$tmp/order.events" \
		</dev/null >/dev/null 2>&1 || status=$?
	[ "$status" = 0 ] || fail "under strace: status $status"
	[ "$(grep -oE 'order\.vsock"|\\"ended\\"' "$tmp/order" | tr '\n' ' ')" = 'order.vsock" \"ended\" ' ] ||
		fail "it is told to have ended before its socket is gone: $(grep -E 'unlink|ended' "$tmp/order")"
else
	note 'when the end is told: not looked at, for want of strace (or of a vmm without sanitizers)'
fi

# ---- --timeout ----

for guest in spin halt; do
	since=$(now_ms)
	expect 124 "timeout, $guest" "$vmm" --kernel "$guests/$guest.bz64" --disk disk.img --timeout 1.5
	between "timeout of 1500 ms, $guest" "$(ms_since "$since")" 1500 4500
	grep -qx 'vmm: the machine was ended after 1.500 s (--timeout)' "$tmp/err" ||
		fail "timeout, $guest: says $(cat "$tmp/err")"
	nothing_left "timeout, $guest"
done

# A standard error that nobody reads, full as a command can leave it, keeps no machine.
mkfifo "$tmp/errors"
exec 7<>"$tmp/errors"
timeout 1 cat /dev/zero >&7 || true
expect_unread() { # STATUS WHAT OPTION...
	local status=0 want=$1 what=$2
	since=$(now_ms)
	timeout -s KILL $((20 * slower)) "$vmm" "${@:3}" </dev/null >"$tmp/out" 2>&7 || status=$?
	[ "$status" = "$want" ] || fail "$what: status $status, not $want"
	between "$what: ms" "$(ms_since "$since")" 1500 $((12000 * slower))
}
expect_unread 124 'timeout, full stderr' --kernel "$guests/spin.bz64" --disk disk.img --timeout 1.5
nothing_left 'timeout, full stderr'
# The second line waits no more.
mkdir "$tmp/root"
expect_unread 124 'many lines, full stderr' --kernel "$guests/spin.bz64" --cpus 8 --boot-timeout 1.5 --root "$tmp/root" -- true
"$vmm" --kernel "$guests/spin.bz64" --disk disk.img --log-level info </dev/null >"$tmp/out" 2>&7 &
pid=$!
wait_until 10 runs_guest "$pid" || fail 'full stderr: the guest does not start'
kill -TERM "$pid"
sleep 0.3
kill -TERM "$pid"
since=$(now_ms)
status=0
wait "$pid" || status=$?
[ "$status" = 143 ] || fail "SIGTERM twice, full stderr: status $status, not 143"
between 'SIGTERM twice, full stderr: ms until the end' "$(ms_since "$since")" 0 $((5000 * slower))
exec 7>&-

# One whose reader has gone is no reason to end, nor another status.
mkfifo "$tmp/gone"
exec 6<>"$tmp/gone"
exec 7>"$tmp/gone" 6>&-
for what in 'a start that fails:125:/dev/null' "a start that works:0:$guests/poweroff.bz64"; do
	IFS=: read -r what want kernel <<<"$what"
	status=0
	env --default-signal=PIPE "$vmm" --kernel "$kernel" --log-level info </dev/null >"$tmp/out" 2>&7 || status=$?
	[ "$status" = "$want" ] || fail "$what, stderr's reader gone: status $status, not $want"
done
exec 7>&-

# A vCPU that resets a card waits for the card's loop, which is the main one, and that for the vCPU's end.
for try in 1 2 3 4 5 6 7 8; do
	expect 124 "timeout, while a card is reset, $try" "$vmm" --kernel "$guests/card_resets.bz64" --transport mmio --timeout 0.4
	[ "$status" = 124 ] || break
done

# ---- signals ----

# These wait for the grace time while the others are tested.
start spin term
graced_term=$pid
start idle int
graced_int=$pid
since_graced=$(now_ms)
kill -TERM "$graced_term"
kill -INT "$graced_int"

for signal in TERM INT; do
	start button
	wait_until 5 grep -q r "$tmp/button.out" || fail "the guest does not say that it waits"
	since=$(now_ms)
	kill -"$signal" "$pid"
	ends 0 "SIG$signal, and the guest powers off" "$pid" 0 3000
done

start spin
children_of=$(cat /proc/"$pid"/task/*/children)
[ -z "$children_of" ] || fail "vmm has children: $children_of"
kill -TERM "$pid"
sleep 0.3
[ -e "/proc/$pid/exe" ] || fail 'SIGTERM gives no grace time'
since=$(now_ms)
kill -TERM "$pid"
ends 143 'SIGTERM twice' "$pid" 0 3000

start halt
kill -TERM "$pid"
sleep 0.3
since=$(now_ms)
kill -INT "$pid"
ends 130 'SIGINT after SIGTERM' "$pid" 0 3000

start spin
since=$(now_ms)
kill -HUP "$pid"
ends 129 SIGHUP "$pid" 0 3000

for signal in KILL:137 SEGV:139 ABRT:134; do
	start spin
	since=$(now_ms)
	kill -"${signal%:*}" "$pid"
	ends "${signal#*:}" "SIG${signal%:*}" "$pid" 0 3000
done 2>"$tmp/bash.err" # bash tells of them

# Killed while the machine is prepared: an initrd that takes long to read comes after all devices. What a machine makes for the
# time it runs is not there yet.
truncate -s 300M "$tmp/initrd"
loads_initrd() {
	local kb
	kb=$(sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null)
	[ "${kb:-0}" -gt 30000 ]
}
"$vmm" --kernel "$guests/halt.bz64" --initrd "$tmp/initrd" --memory 400M --disk disk.img --vsock "cid=3,socket=$place/vsock" \
	--console "socket=$place/console" </dev/null >"$tmp/early.out" 2>"$tmp/early.err" &
pid=$!
wait_until 5 loads_initrd || fail "SIGTERM early: it is over"
since=$(now_ms)
kill -TERM "$pid"
# When the machine was faster, it runs into the grace time.
ends 143 'SIGTERM early' "$pid" 0 12000 2>"$tmp/bash.err"

# The same socket where it runs.
"$vmm" --kernel "$guests/halt.bz64" --disk disk.img --vsock "cid=3,socket=$tmp/vsock" --timeout 20 </dev/null >"$tmp/out" 2>&1 &
pid=$!
wait_until 5 test -S "$tmp/vsock" || fail "--vsock: no socket"
expect 125 '--vsock, a socket in use' "$vmm" --kernel "$guests/halt.bz64" --vsock "cid=3,socket=$tmp/vsock"
grep -q 'somebody listens on it' "$tmp/err" || fail "--vsock, a socket in use: says $(cat "$tmp/err")"
[ -S "$tmp/vsock" ] || fail '--vsock, a socket in use: it is gone'
since=$(now_ms)
kill -HUP "$pid"
ends 129 'SIGHUP with --vsock' "$pid" 0 3000
[ ! -e "$tmp/vsock" ] || fail 'SIGHUP with --vsock: the socket is left'

# A VM that is stopped in the shell and continued goes on.
start button
kill -STOP "$pid"
sleep 0.2
kill -CONT "$pid"
since=$(now_ms)
kill -TERM "$pid"
ends 0 'SIGSTOP and SIGCONT' "$pid" 0 3000

# What the parent told it to ignore stays ignored.
nohup "$vmm" --kernel "$guests/halt.bz64" --timeout 1 </dev/null >"$tmp/out" 2>&1 &
pid=$!
wait_until 10 runs_guest "$pid" || fail 'nohup: does not start'
kill -HUP "$pid"
status=0
wait "$pid" || status=$?
[ "$status" = 124 ] || fail "SIGHUP under nohup: status $status, not 124"

# ---- the terminal ----

# on_terminal STATUS WHAT GUEST KEYS COMMAND [ENV] - runs the VM on a new terminal, types KEYS and runs COMMAND there
# once the guest runs, with $pid set
on_terminal() {
	cat >"$tmp/session.sh" <<-SESSION
		. "$here/lib_terminal.sh"
		command() {
			$5
		}
		session "$tmp/modes" env --default-signal=INT,QUIT ${6:-} "$vmm" --kernel "$guests/$3.bz64" \
			--disk disk.img
	SESSION
	rm -f "$tmp"/modes.*
	{
		wait_until 10 test -s "$tmp/modes.running" || true
		printf '%b' "$4"
		wait_until 15 test -s "$tmp/modes.status" || true
	} | script -qec "bash '$tmp/session.sh'" /dev/null >"$tmp/screen" 2>&1 || true
	status=$(cat "$tmp/modes.status" 2>/dev/null || echo none)
	[ "$status" = "$1" ] || { fail "terminal, $2: status $status, not $1"; head -n 5 "$tmp/screen"; }
	cmp -s "$tmp/modes.before" "$tmp/modes.after" || fail "terminal, $2: modes are not as before"
	if [ -z "${6:-}" ] && cmp -s "$tmp/modes.before" "$tmp/modes.running"; then
		fail "terminal, $2: it was not in raw mode"
	fi
	nothing_left "terminal, $2"
}

if command -v script >/dev/null; then
	on_terminal 0 'Ctrl-A x' halt '\001x' true
	on_terminal 0 'power off' button '' "kill -TERM \$pid"
	on_terminal 143 'SIGTERM twice' halt '' "kill -TERM \$pid; sleep 0.3; kill -TERM \$pid"
	on_terminal 129 SIGHUP halt '' "kill -HUP \$pid"
	for signal in SEGV:139 ABRT:134 QUIT:131 USR2:140 RTMIN:162 RTMAX:192; do
		on_terminal "${signal#*:}" "SIG${signal%:*}" halt '' "kill -${signal%:*} \$pid"
	done
	# Stopped and continued: the terminal has its own modes in between, and raw ones again.
	cat >"$tmp/stop.sh" <<-STOP
		set -m
		tty >"$tmp/stop.tty"
		echo \$\$ >"$tmp/stop.shell"
		stty -g >"$tmp/stop.before"
		"$vmm" --kernel "$guests/halt.bz64" --timeout 60
		stty -g >"$tmp/stop.between"
		fg
		stty -g >"$tmp/stop.after"
	STOP
	is_raw() {
		stty -F "$(<"$tmp/stop.tty")" -a | grep -q -- ' -icanon'
	}
	vmm_runs() {
		pid=$(pgrep -P "$(<"$tmp/stop.shell")" -x vmm) && runs_guest "$pid" && is_raw
	}
	mkfifo "$tmp/stop.keys"
	exec 8<>"$tmp/stop.keys"
	script -qec "bash '$tmp/stop.sh'" /dev/null <"$tmp/stop.keys" >/dev/null 2>&1 &
	wait_until 10 test -s "$tmp/stop.before" && wait_until 10 vmm_runs || fail 'SIGTSTP: the guest does not run, or not raw'
	kill -TSTP "$pid"
	wait_until 10 test -s "$tmp/stop.between" || fail 'SIGTSTP: it does not stop'
	cmp -s "$tmp/stop.before" "$tmp/stop.between" || fail 'SIGTSTP: the modes are not as before'
	wait_until 10 is_raw || fail 'SIGCONT: the terminal is not raw again'
	printf '\001x' >&8
	wait_until 15 test -s "$tmp/stop.after" || fail 'SIGCONT: keys do nothing'
	cmp -s "$tmp/stop.before" "$tmp/stop.after" || fail 'SIGCONT: the modes at the end are not as before'
	# Started in the background, it takes the terminal when it is brought to the foreground.
	cat >"$tmp/later.sh" <<-LATER
		set -m
		tty >"$tmp/stop.tty"
		echo \$\$ >"$tmp/stop.shell"
		stty -g >"$tmp/later.before"
		"$vmm" --kernel "$guests/halt.bz64" --timeout 60 &
		while [ ! -e "$tmp/later.go" ]; do sleep 0.1; done
		stty -g >"$tmp/later.between"
		fg
		echo \$? >"$tmp/later.status"
		stty -g >"$tmp/later.after"
	LATER
	vmm_runs_behind() {
		pid=$(pgrep -P "$(<"$tmp/stop.shell")" -x vmm) && runs_guest "$pid"
	}
	rm "$tmp/stop.shell"
	script -qec "bash '$tmp/later.sh'" /dev/null <"$tmp/stop.keys" >/dev/null 2>&1 &
	wait_until 10 test -s "$tmp/stop.shell" && wait_until 10 vmm_runs_behind || fail 'in the background: the guest does not run'
	touch "$tmp/later.go"
	wait_until 10 is_raw || fail 'fg: the terminal is not raw'
	printf '\001x' >&8
	wait_until 15 test -s "$tmp/later.after" || fail 'fg: keys do nothing'
	[ "$(<"$tmp/later.status")" = 0 ] || fail "fg, Ctrl-A x: status $(<"$tmp/later.status")"
	for when in between after; do
		cmp -s "$tmp/later.before" "$tmp/later.$when" || fail "fg: other modes $when"
	done
	# Its window is closed, under nohup: nobody waits for that terminal any more.
	script -qec "trap '' HUP; echo \$\$ >$tmp/gone.pid; exec $vmm --kernel $guests/halt.bz64 --timeout 60" /dev/null \
		<"$tmp/stop.keys" >/dev/null 2>&1 &
	terminal=$!
	wait_until 10 test -s "$tmp/gone.pid" || fail 'a terminal that goes: vmm does not start'
	pid=$(<"$tmp/gone.pid")
	wait_until 10 runs_guest "$pid" || fail 'a terminal that goes: the guest does not run'
	sleep 2.5 # until vmm has settled
	kill -KILL "$terminal"
	wait "$terminal" 2>/dev/null || true
	sleep 1
	turns() {
		sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$pid/status"
	}
	seen=$(turns)
	sleep 2
	between 'turns in 2 s without the terminal' $(($(turns) - seen)) 0 1
	kill -KILL "$pid" || fail 'a terminal that goes: vmm has ended'
	exec 8>&-
	# Who presses Ctrl-C and sees nothing of the guest is told that it was asked; the next one ends it. The shell around
	# vmm gets both as well, and dash would end with the first.
	{
		wait_until 10 grep -q first-instruction "$tmp/quiet.events" || true
		printf '\003'
		wait_until 5 grep -q 'asked to power off' "$tmp/quiet.screen" || true
		printf '\003'
		wait_until 5 test -s "$tmp/quiet.status" || true
	} | script -qefc "trap '' INT; env --default-signal=INT $vmm --kernel $guests/halt.bz64 --console none --events $tmp/quiet.events; echo \$? >$tmp/quiet.status" \
		"$tmp/quiet.screen" >/dev/null 2>&1 || true
	[ "$(cat "$tmp/quiet.status")" = 130 ] || fail "Ctrl-C twice: status $(cat "$tmp/quiet.status"), not 130"
	grep -q 'the guest was asked to power off, and has 10 s; the next signal ends it' "$tmp/quiet.screen" ||
		fail "Ctrl-C, and nothing is said: $(cat "$tmp/quiet.screen")"
	cc -shared -fPIC -o "$tmp/crash.so" "$here/crash_in_thread.c"
	if ldd "$vmm" >/dev/null 2>&1 && ! sanitized "$vmm"; then
		on_terminal 139 'a crash in a thread' hello '' true "LD_PRELOAD=$tmp/crash.so"
	else
		note 'no crash in a thread: nothing can be loaded into this vmm'
	fi
else
	note 'script(1) is missing: terminal modes are not tested'
fi

# Before there is a machine a signal ends vmm at once, and what was made for it goes: the memory takes its time.
mkdir "$tmp/made"
for signal in INT:130 TERM:143 HUP:129; do
	for attempt in {1..20}; do
		env --default-signal=INT,QUIT "$vmm" --kernel "$guests/halt.bz64" --memory 1G,prefault --timeout 20 --events "$tmp/made.events" \
			--console "file=$tmp/made/console" --dump-guest "$tmp/made/dump" </dev/null >/dev/null 2>&1 &
		pid=$!
		wait_until 10 test -e "$tmp/made/dump" || fail "SIG${signal%:*} during the start: no file was made"
		kill "-${signal%:*}" "$pid"
		sleep 0.1
		kill -HUP "$pid" 2>/dev/null || true
		status=0
		wait "$pid" || status=$?
		# one that was sooner than the signal has a console that stays
		grep -q first-instruction "$tmp/made.events" || break
		rm -f "$tmp"/made/*
		[ "$attempt" != 20 ] || fail "SIG${signal%:*} during the start: it always comes too late"
	done
	[ "$status" = "${signal#*:}" ] || fail "SIG${signal%:*} during the start: status $status"
	[ -z "$(ls "$tmp/made")" ] || fail "SIG${signal%:*} during the start leaves $(ls "$tmp/made")"
done
# To the first process of a container a signal does nothing that it does not handle itself, and vmm may be that.
if unshare -p -f true 2>/dev/null; then
	for attempt in {1..20}; do
		unshare -p -f --kill-child "$vmm" --kernel "$guests/halt.bz64" --memory 1G,prefault --timeout 5 --events "$tmp/made.events" \
			--console "file=$tmp/made/console" </dev/null >/dev/null 2>&1 &
		pid=$!
		wait_until 10 test -e "$tmp/made/console" || fail 'SIGTERM to a first process during the start: no file was made'
		kill -TERM "$(<"/proc/$pid/task/$pid/children")"
		status=0
		wait "$pid" || status=$?
		[ "$status" = 124 ] && [ -e "$tmp/made/console" ] || break # sooner than the signal, as above
		rm -f "$tmp"/made/*
	done
	[ "$status" = 143 ] && [ -z "$(ls "$tmp/made")" ] ||
		fail "SIGTERM to a first process during the start: status $status, and there is '$(ls "$tmp/made")'"
else
	note 'a first process: not tried, needs namespaces of processes'
fi

since=$since_graced
ends 143 'SIGTERM, and the guest does not care' "$graced_term" 9900 60000 term
ends 130 'SIGINT, and the guest does not care' "$graced_int" 9900 60000 int
for guest in spin.term idle.int; do
	grep -q 'the guest did not end within 10 s of the signal, and was ended' "$tmp/$guest.err" ||
		fail "the grace time has passed, and it says '$(cat "$tmp/$guest.err")'"
done
finish
