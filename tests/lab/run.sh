#!/usr/bin/env bash
# Runs a command where /dev/kvm is a real one: here when this machine's CPU has VT-x or AMD-V, else in the
# lab, an AMD-V machine emulated by QEMU.
#
#   tests/lab/run.sh [OPTION...] -- COMMAND [ARG...]
#     --cpus N       CPUs of the emulated machine that the command may use (1)
#     --memory MIB   its memory (4096)
#     --icount       one CPU whose clock counts instructions, one a nanosecond: for exact measurements
#     --timeout S    gives up after that many seconds, with status 124, or 77 with --icount
#     --write DIR    what the command writes below DIR shall be seen on the host (may be repeated)
#     --kernel FLAVOUR  the emulated machine's kernel, as kernel.sh knows it (full)
#     --emulate      uses the emulated machine in any case
#
# The command sees the host's files at their usual places and may write anywhere, but in the lab what it
# writes is forgotten, except below build/lab-out and the directories of --write. It is root there, keeps
# directory, environment and standard streams (a terminal included), and has a network of its own with
# only the loopback device. The exit status is the command's, 77 when there is no way to run it, and 125
# when the lab broke. With --icount time stands still for no one: the clock leaps while the machine waits
# for the host, so what is measured is to be copied to /tmp first, and run once before.
set -euo pipefail
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../guest-images/lib.sh
. "$lab/../../guest-images/lib.sh"

usage() {
	die "usage: run.sh [--cpus N] [--memory MIB] [--icount] [--timeout S] [--write DIR] [--kernel FLAVOUR] [--emulate] -- COMMAND [ARG...]"
}

skip() {
	say "skipped: $*"
	exit 77
}

parse_options() {
	cpus=1 memory=4096 kernel=full icount='' timeout='' emulate=''
	shares=("$repo/build/lab-out")
	while [ $# -gt 0 ]; do
		case $1 in
		--cpus) cpus=${2:?} && shift 2 ;;
		--memory) memory=${2:?} && shift 2 ;;
		--timeout) timeout=${2:?} && shift 2 ;;
		--kernel) kernel=${2:?} && shift 2 ;;
		--write) shares+=("$(realpath "${2:?}")") && shift 2 ;;
		--icount) icount=yes && shift ;;
		--emulate) emulate=yes && shift ;;
		--) shift && break ;;
		*) usage ;;
		esac
	done
	[ $# -gt 0 ] || usage
	command=("$@")
}

run_here() {
	local prefix=()
	[ -z "$timeout" ] || prefix+=(timeout --foreground -k 5 "$timeout")
	if [ "$(id -u)" = 0 ]; then
		# shellcheck disable=SC2016
		prefix+=(unshare --net -- sh -c 'ip link set lo up; exec "$@"' sh)
	fi
	exec "${prefix[@]}" "${command[@]}"
}

# What enter.sh and session.sh find in the machine, and where they leave output and status.
write_session() {
	local rows=24 columns=80
	[ "$streams" = pipes ] || read -r rows columns < <(stty size)
	cp "$lab/session.sh" "$session/"
	touch "$session"/{out,err,status,hung}
	mkfifo "$session"/monitor.{in,out}
	printf '%s\n' "${shares[@]}" >"$session/shares"
	cat >"$session/settings" <<-END
		LAB_STREAMS=$streams
		LAB_ROWS=$rows
		LAB_COLUMNS=$columns
		LAB_CPUS=$command_cpus
		LAB_TICK=$([ -n "$icount" ] || echo yes) # which would be counted
		LAB_TIMEOUT=$([ -n "$icount" ] || echo "$timeout") # of a clock that does not leap
		LAB_MODULES=$(printf %q "$images/kernel-$kernel/modules")
	END
	{
		export -p
		printf 'cd %q\nexec' "$PWD"
		printf ' %q' "${command[@]}"
		echo
	} >"$session/command"
}

# QEMU (7.2) has four bugs that show as guests that hang, crash or end in a triple fault, or as a machine whose own kernel
# panics. With one CPU and without --icount three of them cannot, but for what the fourth brings about.
#
# The fourth: VMRUN, with an interrupt of the guest's waiting (V_IRQ), changes the CPU's word interrupt_request without a lock; an interrupt
# that another thread puts there at that moment is lost. When it is the machine's timer, which is set anew each time it has come, its kernel
# gets no time any more for as long as a guest spins, as when it waits for another of its CPUs: one boot in thirty with two
# vCPUs was lost so. The next interrupt brings the lost one too, so tick.c has a timer of its own send one ten times a second. The CPU is asked out of
# the guest all the same, which is what the next of these bugs wants. So all threads of such a machine share one CPU of the host, where
# none of them is in the middle of that change when another one runs.
#
# VMRUN with an interrupt to inject (SVM_EVTINJ_TYPE_INTR) delivers it and leaves its vector in exception_index. If
# the CPU is then asked out of the guest for anything but an interrupt, before the guest's next exit or exception, the
# vector is delivered again, even where interrupts are off: a guest then waits for a lock that it holds itself. CPUs
# that share a thread (thread=single) ask so at each interrupt of another one. With --icount each timer of the machine
# does it, and nothing helps: a guest under load hangs within seconds, with -cpu EPYC,+svm,-npt a little later.
#
# With a thread for each CPU, two races are lost. Whenever any CPU loads a floating-point state, as at a task switch,
# QEMU clears the flag IGNNE of its first CPU: it reads and writes back, without a lock, the word hflags2 of that CPU,
# which holds its SVM flags too. A first CPU that enters or leaves a guest at that moment loses its own change, and
# goes on in the host with the guest's page tables, or without interrupts. So with more than one CPU, CPU 0 is one too
# many: session.sh keeps everything off it, and it never enters a guest.
#
# Code that one CPU patches while another translates it may run in its old form for ever. Linux patches its scheduler
# when the first VM is made and when the last one goes (preempt_notifier_key): one CPU of ours was found to take the
# same breakpoint again and again there, long after the kernel had removed it. So hold_vm.c holds one VM all the time.
choose_cpus() {
	command_cpus=0
	accel=(-accel 'tcg,thread=multi' -smp 1)
	if [ -n "$icount" ]; then
		accel=(-accel 'tcg,thread=single' -smp 1 -icount 'shift=0,sleep=off')
	elif [ "$cpus" -gt 1 ]; then
		command_cpus=1-$cpus
		accel=(-accel 'tcg,thread=multi' -smp $((cpus + 1)))
	fi
}

# choose_host_cpu - one for all threads of a machine with one CPU, which no other such machine has; none when all are taken
choose_host_cpu() {
	local range cpu ranges lock
	pin=()
	[ "$cpus" = 1 ] && [ -z "$icount" ] && [ -w "$images" ] || return 0
	ranges=$(taskset -cp $$) # "pid N's current affinity list: 0,2-5"
	for range in $(tr , ' ' <<<"${ranges##*: }"); do
		for ((cpu = ${range%-*}; cpu <= ${range#*-}; cpu++)); do
			exec {lock}>"$images/.cpu-$cpu"
			if flock -n "$lock"; then
				pin=(taskset -c "$cpu")
				return
			fi
			exec {lock}>&-
		done
	done
}

machine_options() {
	local number=0 directory
	qemu=(
		qemu-system-x86_64 -M q35 "${accel[@]}" -cpu 'EPYC,+svm,+npt' -m "$memory"
		-nodefaults -display none -no-reboot
		-kernel "$images/vmlinux-$kernel" -initrd "$images/lab-$kernel.cpio"
		-append "console=ttyS0 loglevel=4 panic=-1 cryptomgr.notests tsc=reliable no_timer_check init=/enter"
		-serial "file:$session/console"
		-chardev "pipe,id=monitor,path=$session/monitor" -mon chardev=monitor
		-device virtio-serial-pci
		-fsdev 'local,id=host,path=/,security_model=none,readonly=on,multidevs=remap'
		-device 'virtio-9p-pci,fsdev=host,mount_tag=host'
		-fsdev "local,id=session,path=$session,security_model=none"
		-device 'virtio-9p-pci,fsdev=session,mount_tag=session'
	)
	for directory in "${shares[@]}"; do
		# QEMU reads a doubled comma as one.
		qemu+=(
			-fsdev "local,id=share$number,path=${directory//,/,,},security_model=none,multidevs=remap"
			-device "virtio-9p-pci,fsdev=share$number,mount_tag=share$number"
		)
		number=$((number + 1))
	done
	if [ "$streams" = terminal ]; then
		qemu+=(-chardev 'stdio,id=terminal,signal=off' -device 'virtconsole,chardev=terminal')
	else
		qemu+=(
			-chardev 'stdio,id=in,signal=on' -device 'virtserialport,chardev=in,name=lab.stdin'
		)
	fi
}

# start ROLE COMMAND... - starts a helper that cannot outlive this script, not even when that is killed
start() {
	local role=$1
	shift
	# Without the <&0 a command in the background would get /dev/null.
	setpriv --pdeathsig KILL "$@" <&0 &
	helpers[$!]=$role
}

# shellcheck disable=SC2317 # the trap calls it
end_session() {
	trap '' INT TERM HUP
	[ ${#helpers[@]} = 0 ] || kill "${!helpers[@]}" 2>/dev/null || true
	wait || true
	[ -z "$terminal_state" ] || stty "$terminal_state" || true
	rm -rf "$session"
}

start_machine() {
	local machine
	if [ "$streams" = terminal ]; then
		terminal_state=$(stty -g)
		start machine "${pin[@]}" "${qemu[@]}" 2>"$session/errors"
		machine=$!
	else
		start machine "${pin[@]}" "${qemu[@]}" >/dev/null 2>"$session/errors"
		machine=$!
		# The machine writes into files, at its own pace, and they are passed on as they grow.
		start reader tail -f -s 0.05 -c +1 --pid=$machine "$session/out"
		start reader tail -f -s 0.05 -c +1 --pid=$machine "$session/err" >&2
	fi
	[ -z "$timeout" ] || start timer sleep "$timeout" >/dev/null 2>&1
}

# With more than one CPU a machine may be lost to the last of those bugs before the command has said a word: its first process is in an
# endless loop. Such a one is started once more; what it was given on its input is lost. Ends well when that is so, and otherwise when the
# command has begun to talk.
watch_start() {
	# shellcheck disable=SC2016
	start watch bash -c '
		while sleep 3; do
			[ ! -s "$1/out" ] && [ ! -s "$1/err" ] || exit 1
			! grep -aq "soft lockup.*\[bash:1\]" "$1/console" || exit 0
		done' watch "$session" </dev/null >/dev/null 2>&1
}

start_again() {
	local file
	say 'the emulated machine was lost before the command had begun; it is started once more'
	[ ${#helpers[@]} = 0 ] || kill "${!helpers[@]}" 2>/dev/null || true
	[ ${#helpers[@]} = 0 ] || wait "${!helpers[@]}" 2>/dev/null || true
	helpers=()
	for file in out err status hung console; do
		: >"$session/$file"
	done
	start_machine
}

# Returns when the machine has ended and all that the command wrote is passed on. A reader that ends early
# (as head does) ends the machine, as it would end the command.
wait_for_machine() {
	local ended role status
	while [[ " ${helpers[*]} " = *" machine "* || " ${helpers[*]} " = *" reader "* ]]; do
		status=0
		wait -n -p ended "${!helpers[@]}" || status=$?
		role=${helpers[$ended]}
		unset "helpers[$ended]"
		case $role in
		timer)
			say "the command did not end within $timeout s"
			[ -z "$icount" ] || skip 'with --icount the emulator makes guests hang (see choose_cpus)'
			show_what_hangs
			exit 124
			;;
		reader) [ "$status" = 0 ] || exit "$status" ;;
		watch) [ "$status" != 0 ] || start_again ;;
		machine) read_status ;;
		esac
	done
}

# What session.sh has seen of the processes shortly before the time was over, and where each CPU is: all that a run
# which cannot be repeated leaves to think about.
show_what_hangs() {
	cat "$session/hung" >&2
	tail -n 100 "$session/console" >&2
	echo 'info registers -a' 1<>"$session/monitor.in"
	sleep 1
	timeout 1 cat "$session/monitor.out" | grep -aE '^(CPU#|RIP=|CR[0-4]=|EFER=)' >&2 || true
}

read_status() {
	command_status=$(cat "$session/status")
	if [ -z "$command_status" ]; then
		say "the emulated machine ended before the command did; its last words:"
		tail -n 20 "$session/errors" "$session/console" >&2
		exit 125
	fi
}

run_in_lab() {
	declare -A helpers=()
	terminal_state='' streams=pipes
	if [ -t 0 ] && [ -t 1 ]; then
		streams=terminal
	fi
	mkdir -p "${shares[@]}"
	session=$(mktemp -d /tmp/lab-XXXXXX)
	trap end_session EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
	choose_cpus
	choose_host_cpu
	write_session
	machine_options
	start_machine
	[ "$cpus" = 1 ] || [ "$streams" = terminal ] || watch_start
	wait_for_machine
	exit "$command_status"
}

parse_options "$@"
if [ -z "$emulate" ] && [ -z "$icount" ] && kvm_is_real; then
	run_here
fi
command -v qemu-system-x86_64 >/dev/null || skip "no real KVM here, and no qemu-system-x86_64 (package qemu-system-x86)"
"$lab/image.sh" "$kernel" || skip "cannot make the emulated machine's files"
run_in_lab
