#!/usr/bin/env bash
# Every way a Linux guest's machine ends has its exit status, and leaves nothing behind. An idle one costs next to nothing.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

# ends NAME STATUS
ends() {
	await "$1"
	equal "$1: status" "$2" "$status"
	[ "$status" = "$2" ] || tail -n 5 "$tmp/$1.out" "$tmp/$1.err"
}

# cpu_ticks PID - user and system time so far, in hundredths of a second
cpu_ticks() {
	local line
	line=$(<"/proc/$1/stat")
	read -ra line <<<"${line##*) }"
	echo $((line[11] + line[12]))
}

# ---- the guest's own ways, two at a time ----

start 'power off' poweroff --timeout 90
start 'reboot' reboot --timeout 90
ends 'power off' 0
ends 'reboot' 0
nothing_left 'power off, reboot'

start 'panic' 'echo c >/proc/sysrq-trigger' --timeout 90
words=reboot=t start 'reboot by triple fault' reboot --timeout 90
ends 'panic' 123
ends 'reboot by triple fault' 0
check 'panic: was one' "$(grep -o 'Kernel panic.*' "$tmp/panic.out" || echo none)" grep -q 'Kernel panic.*sysrq' "$tmp/panic.out"

words=reboot=b start 'reboot by the BIOS' reboot --timeout 90
words=reboot=b start 'panic, reset by the BIOS' 'echo c >/proc/sysrq-trigger' --timeout 90
ends 'reboot by the BIOS' 0
ends 'panic, reset by the BIOS' 123
nothing_left 'reboot by triple fault, by the BIOS'

# The panic is that of a first program that cannot run.
launch 'panic with our own command line' --timeout 90 \
	--cmdline 'console=ttyS0 quiet panic=-1 reboot=panic_warm root=/dev/vda ro init=/none'
start 'timeout' 'sleep 1000' --timeout 3
since=$EPOCHREALTIME
ends 'timeout' 124
check 'timeout: time' "$(ms_since "$since") ms of 3000" between "$(ms_since "$since")" 2500 $((8000 * slower))
ends 'panic with our own command line' 123
nothing_left 'panic, timeout'

# ---- signals ----

# Without job control bash starts commands in the background with SIGINT ignored, and vmm would keep to that.
runner=(env --default-signal=INT)
# This one is deaf to the power button.
start 'idle' 'kill "$(cat /run/acpid.pid)"; echo ready; sleep 1000' --timeout 200
pristine=$root root=$tmp/written root_mode=rw
cp --sparse=always "$pristine" "$root"
start 'SIGTERM' 'echo written >/root/file; sync /root/file; echo ready; sleep 1000' --timeout 200
root=$pristine root_mode=ro
says 'SIGTERM' '^ready' || true
since=$EPOCHREALTIME
kill -TERM "$pid"
ends 'SIGTERM' 0
check 'SIGTERM: time to power off' "$(ms_since "$since") ms" between "$(ms_since "$since")" 1 10000
e2fsck -n "$tmp/written" >"$tmp/fsck" 2>&1 || true
check 'SIGTERM: the root is clean' "$(tail -n 1 "$tmp/fsck")" grep -q ': clean,' "$tmp/fsck"
debugfs -R "dump /root/file $tmp/dumped" "$tmp/written" >/dev/null 2>&1 || true
equal 'SIGTERM: what was written' written "$(<"$tmp/dumped")"

says 'idle' '^ready' || true
pid=${pids[idle]}
sleep 2
# A host that is busy with something else makes it look more: one quiet look of several is enough.
for ((look = 0; look < 5; look++)); do
	ticks=$(cpu_ticks "$pid") since=$EPOCHREALTIME
	sleep 4
	ticks=$(($(cpu_ticks "$pid") - ticks)) took=$(ms_since "$since")
	tenths=$((ticks * 10 * 1000 / took))
	[ "$tenths" -ge 30 ] || break
done
measured 'idle guest: CPU use' "$((tenths / 10)).$((tenths % 10)) % over $took ms" [ "$tenths" -lt 30 ]
since=$EPOCHREALTIME
kill -INT "$pid"
sleep 0.2
kill -INT "$pid" 2>/dev/null || true
ends 'idle' 130
check 'SIGINT twice: time' "$(ms_since "$since") ms" between "$(ms_since "$since")" 200 $((3000 * slower))
nothing_left 'signals'

# ---- a terminal: the shell, and Ctrl-A x ----

# until_file FILE PATTERN - for a minute
until_file() {
	local since=$EPOCHREALTIME
	until grep -qs -- "$2" "$1"; do
		[ "$(ms_since "$since")" -lt 60000 ] || return 0
		sleep 0.1
	done
}

if command -v script >/dev/null; then
	cat >"$tmp/session" <<-END
		tty >$tmp/terminal
		stty -g >$tmp/modes.before
		$vmm --kernel $tmp/kernel-cloud --initrd $tmp/initramfs-cloud --disk $root,readonly \\
			--append 'quiet root=/dev/vda ro' --timeout 90 || status=\$?
		stty -g >$tmp/modes.after
		echo "status \${status-0}" >$tmp/session.status
	END
	: >"$tmp/screen"
	{
		until_file "$tmp/screen" '# $'
		stty -g <"$(<"$tmp/terminal")" >"$tmp/modes.running"
		printf 'echo $((6 * 7)) is the answer\r'
		until_file "$tmp/screen" '^42 is the answer'
		printf '\001bh'
		until_file "$tmp/screen" 'sysrq: HELP'
		printf '\001x'
		until_file "$tmp/session.status" status
	} | script -qec "bash $tmp/session" /dev/null >"$tmp/screen" 2>&1 || true
	equal 'Ctrl-A x: status' 'status 0' "$(cat "$tmp/session.status" 2>/dev/null || echo none)"
	check 'a shell on the terminal' "$(grep -o '^42.*' "$tmp/screen" | tr -d '\r' || tail -n 3 "$tmp/screen")" \
		grep -q '^42 is the answer' "$tmp/screen"
	check 'Ctrl-A b: SysRq' "$(grep -o 'sysrq: .*' "$tmp/screen" | tr -d '\r' || tail -n 3 "$tmp/screen")" grep -q 'sysrq: HELP' "$tmp/screen"
	check 'Ctrl-A x: the terminal is restored' "$(<"$tmp/modes.after")" cmp "$tmp/modes.before" "$tmp/modes.after"
	check 'the terminal was another while the machine ran' "$(<"$tmp/modes.running")" \
		[ "$(<"$tmp/modes.running")" != "$(<"$tmp/modes.before")" ]
	nothing_left 'Ctrl-A x'
else
	note 'script(1) is missing: no test of Ctrl-A x'
fi
finish
