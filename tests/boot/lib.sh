# Common functions of the tests that boot real kernels; sourced, not run, with the build directory as $1.
# shellcheck shell=bash
#
# Such a test runs twice. First here: enter_lab makes the images and starts the same script again where KVM is
# real. Then there: enter_lab prepares $tmp, in memory, and returns, and the checks follow. Each check is one line
# "ok NAME: FACTS" or "FAIL NAME: WHY".
#
# In the emulated machine the start of a dynamic program takes 100 ms, so bash's own means and busybox come first.
# shellcheck disable=SC2154,SC2034 # some variables are set here for the tests, or by the tests for here

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
build=$(cd "${1:?usage: $0 BUILD-DIR}" && pwd)
stage=$build/boot-test # what the tests make for themselves, beside the images
export VMM_IMAGES=${VMM_IMAGES:-$repo/build/images}
PATH=$PATH:/usr/sbin:/sbin
guest_programs=(load records tcp trap udp verify vsock) # of ours, on the root disk
tmp='' root='' root_sectors=0 emulated='' vmm='' # set by enter_lab
failures=0
slower=${VMM_TEST_SLOWER:-1} # how many times longer things may take than with an ordinary build
# shellcheck source=tests/sanitizer.sh
. "$repo/tests/sanitizer.sh"
export VMM_TEST_SANITIZER=${VMM_TEST_SANITIZER-$(sanitizer_of "$build/bin/vmm")}
# What --sandbox may be at most, and what it tells last: with a sanitizer there are no filters.
strict=strict filters=", filters of system calls"
[ -z "$VMM_TEST_SANITIZER" ] || strict=on filters=

# ---- here ----

skip() {
	echo "skipped: $*"
	exit 77
}

# make_or_skip COMMAND... - its output is shown only when it fails
make_or_skip() {
	"$@" >"$stage/make-$$.log" 2>&1 || { cat "$stage/make-$$.log" && skip "cannot make what the test needs: $*"; }
	rm -f "$stage/make-$$.log"
}

# compile PROGRAM [OPTION-OF-GCC...]
compile() {
	if [ "$here/$1.c" -nt "$stage/$1" ]; then
		make_or_skip gcc -std=gnu11 -O2 -s -Wall -Wextra "${@:2}" -o "$stage/$1" "$here/$1.c"
	fi
}

# The root disk, with those programs that the guest runs too. A tar knows which parts of it are empty, 9p does not.
stage_root() {
	local root=$VMM_IMAGES/root.ext4 program fresh=yes
	make_or_skip "$repo/guest-images/disk.sh"
	for program in "$root" "${guest_programs[@]/#/$stage/}"; do
		[ "$stage/root.tar" -nt "$program" ] || fresh=
	done
	[ -z "$fresh" ] || return 0
	make_or_skip cp --sparse=always "$root" "$stage/root.ext4"
	for program in "${guest_programs[@]}"; do
		make_or_skip debugfs -w -R "write $stage/$program /bin/$program" "$stage/root.ext4"
	done
	make_or_skip tar -C "$stage" -cSf "$stage/root.tar" root.ext4
	rm "$stage/root.ext4"
}

# enter_lab FLAVOUR... [-- OPTION-OF-RUN.SH...] - calls the test's own "prepare" here, if it has one
enter_lab() {
	local flavour program
	[ -z "${BOOT_TEST_INSIDE-}" ] || {
		begin "$@"
		return
	}
	[ -x "$build/bin/vmm" ] || { echo "$build/bin/vmm is not built" && exit 1; }
	mkdir -p "$stage"
	exec 8>"$stage/.lock"
	flock 8
	for flavour; do
		[ "$flavour" != -- ] || break
		make_or_skip "$repo/guest-images/initramfs.sh" "$flavour"
	done
	for program in "${guest_programs[@]}"; do
		compile "$program" -static
	done
	compile tapfd -static
	compile count_syncs -shared -fPIC
	stage_root
	if declare -F prepare >/dev/null; then prepare; fi
	exec 8>&-
	while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
	run_in_lab "${@:2}"
}

# longer OPTION... - sets $options to them, each limit of time as many times longer as things may take; short ones are there to be seen
longer() {
	local i
	options=("$@")
	for ((i = 1; i < $#; i++)); do
		[[ ${options[i - 1]} != --timeout ]] || [ "${options[i]%.*}" -lt 20 ] || options[i]=$((${options[i]} * slower))
	done
}

run_in_lab() {
	local options
	longer --timeout 560 "$@"
	export BOOT_TEST_INSIDE=yes
	local status=0
	"$repo/tests/lab/run.sh" "${options[@]}" -- "$0" "$build" </dev/null || status=$?
	[ "$status" = 75 ] || exit "$status"
	note "the emulator failed; the test is run once more"
	exec "$repo/tests/lab/run.sh" "${options[@]}" -- "$0" "$build" </dev/null
}

# ---- there: preparing and reporting ----

declare -A pids=()     # of machines, by name
declare -A children=() # the processes to end when the test ends early
undo=()                # commands that do away with what the test has made on this machine
cleanup() {
	local status=$? pid command
	[ "$status" = 0 ] || [ -z "$emulated" ] || ! emulator_failed || status=75
	for pid in "${!children[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
	wait 2>/dev/null || true
	for command in "${undo[@]}"; do
		$command >/dev/null 2>&1 || true
	done
	rm -rf "$tmp"
	exit "$status"
}

# Whether a guest's kernel crashed in a state that no processor can be in, which is QEMU's fault (7.2; tests/lab/run.sh) and none of vmm's: with
# flags that do not exist, by which its kernel once cleared memory backwards, or with its own GS base in both places, for an interrupt
# that was delivered again where interrupts are off, before the SWAPGS of a system call.
emulator_failed() {
	local word
	while read -r word; do
		case $word in
		EFLAGS:*) [ $((0x${word#EFLAGS: } & ~0x3f7fd7)) = 0 ] || { note "a guest's flags were ${word#* }" && return 0; } ;;
		GS:*) note "a guest's kernel had $word" && return 0 ;;
		esac
	done < <(find "$tmp" -maxdepth 1 -type f -size -1024k -exec grep -ahoE 'EFLAGS: [0-9a-f]+|GS:(f[0-9a-f]{15})\([0-9a-f]+\) knlGS:\1' {} +)
	return 1
}

begin() {
	local busybox place=/tmp
	busybox=$(type -P busybox)
	emulated=
	if [ -e /run/lab/settings ]; then
		emulated=yes place=/dev/shm
	fi
	began=$EPOCHREALTIME
	tmp=$("$busybox" mktemp -d "$place/boot-XXXXXX")
	export XDG_CACHE_HOME=$tmp/cache
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	"$busybox" mkdir "$tmp/bin" "$tmp/vmm.d"
	# Its shell has its own ln: one start instead of one for each.
	# shellcheck disable=SC2016
	"$busybox" sh -ec 'cd "$1" && shift && for applet; do ln -s "$0" "$applet"; done' "$busybox" "$tmp/bin" \
		awk base64 cat dd grep head mkfifo mv od rm sed sha256sum sleep sort tail tr truncate wc
	PATH=$tmp/bin:$PATH
	hash -r
	"$busybox" cp "$build/bin/vmm" "$tmp/vmm.d/vmm"
	vmm=$tmp/vmm.d/vmm
	tar -C "$tmp" -xf "$stage/root.tar"
	root=$tmp/root.ext4
	root_sectors=$(($("$busybox" stat -c %s "$root") / 512))
	export TMPDIR=$tmp/vmm.d
	traces_before=$(traces)
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		"$busybox" cp "$VMM_IMAGES/kernel-$1/vmlinuz" "$tmp/kernel-$1"
		"$busybox" cp "$VMM_IMAGES/initramfs-$1.cpio" "$tmp/initramfs-$1"
		shift
	done
}

# note TEXT - a part that cannot run here, or a number worth knowing
note() {
	echo "note: $*"
}

ok() {
	echo "ok $1: $2"
}

fail() {
	echo "FAIL $1: $2"
	failures=$((failures + 1))
}

# check NAME FACTS COMMAND... - whether COMMAND is true
check() {
	if "${@:3}"; then
		ok "$1" "$2"
	else
		fail "$1" "$2"
	fi
}

# measured NAME FACTS COMMAND... - a check of what something costs, which says nothing of a slow build
measured() {
	if [ "$slower" = 1 ]; then
		check "$@"
	else
		note "$1: $2, not checked"
	fi
}

# at_least N - what must be reached at the least: next to nothing with a slow build
at_least() {
	echo $((slower > 1 ? 1 : $1))
}

# equal NAME WANT GOT
equal() {
	if [ "$2" = "$3" ]; then
		ok "$1" "$3"
	else
		fail "$1" "$3, not $2"
	fi
}

# matches TEXT PATTERN
matches() {
	# shellcheck disable=SC2053
	[[ $1 == $2 ]]
}

# between VALUE MIN MAX
between() {
	[ "$1" -ge "$2" ] && [ "$1" -le "$3" ]
}

# ms_since TIME - of EPOCHREALTIME
ms_since() {
	local now=$EPOCHREALTIME
	echo $(((${now/[.,]/} - ${1/[.,]/}) / 1000))
}

finish() {
	note "$(($(ms_since "$began") / 1000)) s in the lab"
	[ "$failures" = 0 ] || echo "$failures failed"
	[ "$failures" = 0 ]
	exit
}

is_root() {
	[ "$(id -u)" = 0 ]
}

# lead_out - an interface that leads outside, which passt wants, and whose address it gives to the guest; what goes to its router
# reaches this host's own loopback
lead_out() {
	ip link add boot0 type dummy 2>"$tmp/dummy" || { modprobe dummy numdummies=0 && ip link add boot0 type dummy; }
	undo+=('ip link del boot0')
	ip address add 192.0.2.2/24 dev boot0
	ip link set boot0 up
	ip route add default via 192.0.2.1 dev boot0
}

# ---- there: machines ----

# What the next machine is given, beside the options of start. Set them for one by "flavour=rt start ...".
flavour=cloud
words=''        # for the kernel's command line
root_mode=ro    # or rw
stdin=/dev/null # of vmm
stdout=''       # of vmm, when it is not $tmp/NAME.out
runner=()       # what runs vmm

# launch NAME OPTION-OF-VMM... - a machine with the kernel $flavour and the root disk. Sets $pid and ${pids[NAME]}; its
# console is in $tmp/NAME.out, vmm's messages in $tmp/NAME.err.
launch() {
	local name=$1 root_option=$root options
	longer "${@:2}"
	[ "$root_mode" = rw ] || root_option+=,readonly
	: >"$tmp/$name.out"
	"${runner[@]}" "$vmm" --kernel "$tmp/kernel-$flavour" --initrd "$tmp/initramfs-$flavour" \
		--disk "$root_option" "${options[@]}" <"$stdin" >"${stdout:-$tmp/$name.out}" 2>"$tmp/$name.err" &
	pid=$!
	children[$pid]=$name
	pids[$name]=$pid
}

# start NAME SCRIPT [OPTION-OF-VMM...] - launches a machine whose guest runs SCRIPT and powers off
start() {
	local name=$1 script
	script=$(sed 's/^[[:blank:]]*//' <<<"$2" | base64 -w 0)
	[ ${#script} -lt 1700 ] || { echo "$name: the script is too long for a command line" && exit 1; }
	launch "$name" --append "quiet root=/dev/vda $root_mode $words vmm.run=$script" "${@:3}"
}

declare -A gates=() # where machines read their input

# start_gated NAME SCRIPT [OPTION-OF-VMM...] - the same, and each "read -r line" of SCRIPT waits until it is let go
start_gated() {
	mkfifo "$tmp/$1.in"
	exec {fifo}<>"$tmp/$1.in"
	gates[$1]=$fifo
	stdin=$tmp/$1.in start "$@"
}

# let_go NAME
let_go() {
	echo >&"${gates[$1]}"
}

# await NAME - until that machine has ended. Sets $status to vmm's, $output to what the guest's script wrote
# and $guest_status to its status ('' when it did not end).
await() {
	local text end=$'(.*)\nvmm-run: exit ([0-9]+)'
	status=0
	wait "${pids[$1]}" || status=$?
	unset "children[${pids[$1]}]"
	text=$(tr -d '\0' <"$tmp/$1.out")
	output=${text#*vmm-run: start$'\n'}
	guest_status=''
	if [[ $output =~ $end ]]; then
		output=${BASH_REMATCH[1]%$'\n'} guest_status=${BASH_REMATCH[2]}
	fi
}

# boot NAME SCRIPT [OPTION-OF-VMM...]
boot() {
	start "$@" --timeout 120
	powers_off "$1"
}

# powers_off NAME - awaits it; the check that every ordinary machine ends with
powers_off() {
	await "$1"
	if [ "$status" = 0 ] && [ "$guest_status" = 0 ]; then
		ok "$1: powers off" "status 0"
	else
		fail "$1: powers off" "status $status, the script's '$guest_status'; the last lines are:"
		tail -n 15 "$tmp/$1.out" "$tmp/$1.err"
	fi
}

# What a machine may leave behind, as far as nobody else makes it here: files, and locks.
traces() {
	echo "$tmp"/vmm.d/*
	if [ -n "$emulated" ]; then
		echo /dev/shm/*
		cat /proc/locks
	fi
}

# nothing_left NAME - no process runs vmm, and nothing else is there that was not before
nothing_left() {
	local process left=
	for process in /proc/[0-9]*; do
		[ ! "$process/exe" -ef "$vmm" ] || left+=" process ${process##*/}"
	done
	[ "$(traces)" = "$traces_before" ] || left+=" $(traces)"
	check "$1: nothing is left" "${left:-no process, file or lock}" [ -z "$left" ]
}

# refused NAME PATTERN OPTION... - vmm must not start, and say why
refused() {
	local got=0
	"$vmm" --kernel "$tmp/kernel-cloud" --timeout $((60 * slower)) "${@:3}" </dev/null >"$tmp/refused" 2>&1 || got=$?
	equal "$1: status" 125 "$got"
	check "$1: message" "$(<"$tmp/refused")" matches "$(<"$tmp/refused")" "$2"
}

# accepted NAME OPTION... - vmm must start; what becomes of the guest is not looked at
accepted() {
	local got=0
	"$vmm" --kernel "$tmp/kernel-cloud" --timeout 0.2 "${@:2}" </dev/null >"$tmp/accepted" 2>"$tmp/accepted.err" || got=$?
	equal "$1: status" 124 "$got"
}

# says NAME PATTERN [SECONDS] - waits until the machine has written a line with that
says() {
	local since=$EPOCHREALTIME
	until grep -q -- "$2" "$tmp/$1.out"; do
		if [ ! -e "/proc/${pids[$1]}/exe" ] || [ "$(ms_since "$since")" -gt $((${3:-60} * slower * 1000)) ]; then
			fail "$1" "does not say '$2'; the last lines are:"
			tail -n 15 "$tmp/$1.out" "$tmp/$1.err"
			return 1
		fi
		sleep 0.05
	done
}

# value NAME - of the line "NAME: VALUE" in $output
value() {
	local line
	while read -r line; do
		[[ $line != "$1: "* ]] || { echo "${line#*: }" && return; }
	done <<<"$output"
}

# engine_of NAME - who does the I/O of that machine's disks, as far as it shows: io_uring or threads
engine_of() {
	local file engine=threads
	for file in "/proc/${pids[$1]}/fd"/*; do
		[[ $(readlink "$file") != *io_uring* ]] || engine=io_uring
	done
	echo "$engine"
}

# Whether vmm should find io_uring here.
has_uring() {
	grep -q -- -luring "$build/lib/vmm.pc" && [ -n "$emulated" ]
}

# mount_ext4 DIRECTORY SIZE - a file system of its own, as disks have it: images on it wait for storage, take direct I/O,
# and it gets full. Its own file is in memory.
mount_ext4() {
	is_root || return 1
	truncate -s "$2" "$1.ext4"
	mkfs.ext4 -q -m 0 -E lazy_itable_init=0,lazy_journal_init=0,nodiscard "$1.ext4" || return 1
	mkdir "$1"
	modprobe -a loop ext4 2>/dev/null || true
	mount -o loop "$1.ext4" "$1" || return 1
	undo+=("umount -l $1")
}

# memory_of PID FIELD - a field of /proc/PID/status, in KiB
memory_of() {
	local name number rest
	while read -r name number rest; do
		[ "$name" != "$2:" ] || echo "$number"
	done <"/proc/$1/status"
}
