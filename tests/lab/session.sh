# shellcheck shell=bash
# Second half of the lab's start, run by the host's own shell as the first process of the emulated machine:
# runs the command with its three streams, leaves its exit status, and powers off.
#
# What it writes goes to files that the host reads as they grow. A virtio port would carry it too, but says
# nothing about when the host has taken the bytes, and some would be lost when the machine powers off.
lab=/run/lab

# Sets $port to the device of the virtio port with that name.
find_port() {
	local directory name
	for directory in /sys/class/virtio-ports/*; do
		port=/dev/${directory##*/}
		read -r name <"$directory/name" || continue
		[ "$name" != "$1" ] || return 0
	done
}

# The console forgets its settings when nobody has it open.
run_on_terminal() {
	exec 3<>/dev/hvc0
	/run/busybox stty -F /dev/hvc0 rows "$LAB_ROWS" cols "$LAB_COLUMNS"
	setsid --ctty --wait bash "$lab/command" <&3 >&3 2>&3 3>&-
}

run_on_pipes() {
	local readers=() stream status
	for stream in out err; do
		mkfifo "/run/$stream"
		/run/busybox cat <"/run/$stream" >"$lab/$stream" &
		readers+=($!)
	done
	find_port lab.stdin
	bash "$lab/command" <"$port" >/run/out 2>/run/err
	status=$?
	# What the command leaves running may hold its output open; it is not waited for.
	(sleep 1 && kill "${readers[@]}") </dev/null >/dev/null 2>&1 &
	wait "${readers[@]}"
	return $status
}

# tell_what_hangs - the kernel's own view of its CPUs goes to its console, that of the processes to a file
tell_what_hangs() {
	local task
	echo 8 >/proc/sys/kernel/printk
	echo l >/proc/sysrq-trigger
	for task in /proc/[0-9]*/task/[0-9]*; do
		[ -e "${task%/task/*}/exe" ] || continue # a thread of the kernel
		echo "$task $(<"$task/comm"): $(/run/busybox tr '\0' ' ' <"$task/cmdline")"
		/run/busybox grep -E '^(State|SigPnd|ShdPnd|SigBlk|voluntary)' "$task/status"
		/run/busybox cat "$task/stack"
	done >"$lab/hung" 2>&1
}

# shellcheck source=/dev/null
. "$lab/settings"
# KVM is often loaded before the kernel refines its early measure of the TSC's frequency, by 1 % at most, and gives its VMs
# the early one. From 250 ppm on it wants to scale their TSCs; this CPU cannot, and their timers are then set far too late.
echo 20000 >/sys/module/kvm/parameters/tsc_tolerance_ppm
# With more than one CPU these stay on the one that is never in a guest.
/run/hold_vm &
[ -z "$LAB_TICK" ] || /run/tick &
[ -z "$LAB_TIMEOUT" ] || (/run/busybox sleep $((LAB_TIMEOUT > 20 ? LAB_TIMEOUT - 10 : LAB_TIMEOUT)) && tell_what_hangs) \
	</dev/null >/dev/null 2>&1 &
/run/busybox taskset -cp "$LAB_CPUS" $$ >/dev/null # for all that is started from here on
"run_on_$LAB_STREAMS"
status=$?
echo "$status" >"$lab/status"
sync
exec /run/busybox poweroff -f
