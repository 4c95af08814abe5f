#!/usr/bin/env bash
# What a request of 4 KiB costs when 32 are in flight, in exits of the guest and in system calls of vmm, as the kernel counts
# them; and that what unpacks a disk takes no memory from the system and gives none back. All run on one CPU, where how requests
# gather does not depend on who is faster.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
packed=$stage/counts.qcow2

# What can be packed, but is not all the same.
make_packed() {
	seq 2000000 >"$packed.raw"
	truncate -s 16M "$packed.raw"
	qemu-img convert -q -f raw -O qcow2 -c "$packed.raw" "$packed"
	rm "$packed.raw"
}

prepare() {
	command -v qemu-img >/dev/null || skip 'qemu-img is missing (package qemu-utils)'
	[ "$packed" -nt "$here/test_counts.sh" ] || make_or_skip make_packed
}

enter_lab cloud

requests=3200 rounds=20
most=20 # hundredths of a request: exits, and system calls beside those that move the data

is_root || skip 'the counters of the kernel need root rights'
tracing=/sys/kernel/tracing counters=/sys/kernel/debug/kvm
[ -e $tracing/events ] || mount -t tracefs tracefs $tracing || skip 'this host has no tracefs'
[ -e $counters ] || mount -t debugfs debugfs /sys/kernel/debug || skip 'this host has no debugfs'
calls=$tracing/events/raw_syscalls/sys_enter
keys='hist:keys=common_pid,id.syscall if comm ~ "vmm-*"'
echo "$keys" >$calls/trigger || skip 'this host counts no system calls (CONFIG_HIST_TRIGGERS)'
forget() {
	echo "!$keys" >$calls/trigger
}
undo+=(forget)

direct=threads
! has_uring || direct=io_uring
files=$tmp/files
mount_ext4 "$files" 120M || skip 'mounting a file system needs root rights and a loop device'
cp "$packed" "$tmp/packed"
for file in "$tmp/memory" "$files/cached" "$files/direct"; do
	head -c $((48 << 20)) /dev/zero >"$file"
done
sync "$files"/*

cpu=$(sed -n 's/^Cpus_allowed_list:[^0-9]*\([0-9]*\).*/\1/p' /proc/self/status)
runner=(taskset -c "$cpu")
# shellcheck disable=SC2016 # for the guest
start_gated counted '
	echo ready
	while read -r round disk kind depth count kib; do
		[ $round != end ] || break
		load /dev/$disk $kind $depth $count $kib && echo "done $round"
	done
' --disk "$tmp/memory" --disk "$files/cached" --disk "$files/direct,direct" \
	--disk "$tmp/packed,format=qcow2,readonly" --timeout 200

# counts - sets $exits and $others to what that machine has had until now: the host's own interrupts are not in it, which come with time,
# nor are system calls that move the data of a single request; those of io_uring, which move a batch's, are
counts() {
	local directory
	exits=0
	for directory in "$counters/$pid-"*/; do
		exits=$((exits + $(<"$directory/exits") - $(<"$directory/irq_exits")))
	done
	others=$(awk '
		FILENAME ~ /comm$/ { split(FILENAME, part, "/"); ours[part[5]]; next }
		match($0, /common_pid: *[0-9]+/) && substr($0, RSTART + 11, RLENGTH - 11) + 0 in ours &&
			!/sys_p(read|write)(64|v2?) / { n += $NF }
		END { print n + 0 }
	' "/proc/$pid/task"/*/comm $calls/hist)
}

# count NAME DISK KIND ENGINE - the least of some rounds; more of them only while it is too much. How often threads wait for each other
# depends on when they run.
count() {
	local number exits0 others0 least_exits=$((requests * 9)) least_others=$((requests * 9)) all=''
	local most=$((requests * most / 100))
	for ((number = 0; number <= rounds; number++)); do
		counts
		exits0=$exits others0=$others
		echo "$1-$number $2 $3 32 $requests" >&"${gates[counted]}"
		says counted "^done $1-$number" 60 || finish
		counts
		exits=$((exits - exits0)) others=$((others - others0))
		all+=" $exits/$others"
		[ $number -gt 0 ] || continue # memory that nobody had touched
		[ $exits -ge $least_exits ] || least_exits=$exits
		[ $others -ge $least_others ] || least_others=$others
		[ $least_exits -gt $most ] || { [ "$4" != threads ] && [ $least_others -gt $most ]; } || break
	done
	note "$1: $requests requests, exits/system calls:$all"
	check "$1: exits" "$least_exits for $requests requests" between "$least_exits" 50 "$most"
	[ "$4" = threads ] ||
		check "$1: system calls" "$least_others for $requests requests" between "$least_others" 50 "$most"
}

# memory_calls - how many that process has made that take memory or give it back
memory_calls() {
	awk '
		FILENAME ~ /comm$/ { split(FILENAME, part, "/"); ours[part[5]]; next }
		match($0, /common_pid: *[0-9]+/) && substr($0, RSTART + 11, RLENGTH - 11) + 0 in ours &&
			/sys_(mmap|munmap|mremap|brk) / { n += $NF }
		END { print n + 0 }
	' "/proc/$pid/task"/*/comm $calls/hist
}

# count_memory NAME DISK REQUESTS - reads of 256 KiB, after as many that took what is kept
count_memory() {
	local before taken
	echo "$1-0 $2 read 32 $3 256" >&"${gates[counted]}"
	says counted "^done $1-0" 60 || finish
	before=$(memory_calls)
	echo "$1-1 $2 read 32 $3 256" >&"${gates[counted]}"
	says counted "^done $1-1" 60 || finish
	taken=$(($(memory_calls) - before))
	check "$1: calls for memory" "$taken for $3 requests" between "$taken" 0 $(($3 / 10))
}

says counted '^ready' || finish
count 'memory-read' vdb read none
count 'memory-write' vdb write none
count 'cached-read' vdc read none
count 'cached-write' vdc write threads
count 'direct-read' vdd read $direct
count 'direct-write' vdd write $direct
count_memory 'packed' vde 300
echo end >&"${gates[counted]}"
powers_off counted
finish
