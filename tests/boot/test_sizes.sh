#!/usr/bin/env bash
# Machines of every size: vCPUs and their topology, memory from too little to more than the host has, 32 devices.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

# The guest waits for a line from the console, so that vmm's own memory can be looked at while it runs.
script='
	for f in siblings "cpu cores" "physical id" "core id"; do
		echo "$f: $(sed -n "s/^$f.*: //p" /proc/cpuinfo | sort -n | uniq -c | xargs)"
	done
	echo "nproc: $(nproc)"
	cd /sys/devices/system/cpu
	echo "threads: $(cat cpu*/topology/thread_siblings_list | sort -n | xargs)"
	echo "memory: $(sed -n "s/MemTotal: *\([0-9]*\).*/\1/p" /proc/meminfo)"
	echo "bounce: $(dmesg | sed -n "s/.*software IO TLB: mapped.*(\([^)]*\)).*/\1/p")"
	echo "bad: $(dmesg | grep -E "stall|BUG:|TSC.*(unstable|warp)|sched.*domain.*broken|not respond" | head -n 2 | xargs)"
	echo ready
	read -r line
'

# start_sized NAME CPUS MEMORY
start_sized() {
	mkfifo "$tmp/$1.in"
	exec {fifo}<>"$tmp/$1.in"
	inputs[$1]=$fifo
	stdin=$tmp/$1.in
	start "$1" "$script" --cpus "$2" --memory "$3" --timeout 120
}

# inspect NAME CPUS MIB LEAST-IN-GUEST MOST-OF-VMM - percent of the memory, and MiB
inspect() {
	local name=$1 cpus=$2 mib=$3 peak=0 now=0 memory complaint bounce
	pid=${pids[$name]}
	if says "$name" ready 90; then
		peak=$(($(memory_of "$pid" VmHWM) / 1024))
		now=$(($(memory_of "$pid" VmRSS) / 1024))
	fi
	echo >&"${inputs[$name]}"
	powers_off "$name"
	equal "$name: nproc" "$cpus" "$(value nproc)"
	equal "$name: one socket" "$cpus 0" "$(value 'physical id')"
	equal "$name: siblings" "$cpus $cpus" "$(value siblings)"
	equal "$name: cores in the socket" "$cpus $cpus" "$(value 'cpu cores')"
	equal "$name: core numbers" "$(core_numbers "$cpus")" "$(value 'core id')"
	equal "$name: one thread a core" "$(seq -s ' ' 0 $((cpus - 1)))" "$(value threads)"
	memory=$(($(value memory) / 1024))
	check "$name: memory in the guest" "$memory of $mib MiB" between "$memory" $((mib * $4 / 100)) "$mib"
	bounce=
	[ "$mib" -le 3072 ] || bounce=0MB # the kernel's own choice is 64MB
	equal "$name: to copy through for devices" "$bounce" "$(value bounce)"
	measured "$name: memory of vmm" "now $now, at most $peak MiB" between "$peak" 1 "$5"
	complaint=$(value bad)
	# The emulated CPU does not promise that its TSC is constant, and AMD's is then not trusted between CPUs.
	[ -z "$emulated" ] || [[ $complaint != *'TSCs unsynchronized'* ]] || complaint=
	check "$name: no complaints" "${complaint:-none}" [ -z "$complaint" ]
}

# As "uniq -c" counts them: each once.
core_numbers() {
	local n line=
	for ((n = 0; n < $1; n++)); do line+=" 1 $n"; done
	echo "${line# }"
}

declare -A inputs=()
start_sized 'small' 1 80M
start_sized '2 CPUs, 4G' 2 4G
inspect 'small' 1 80 30 82
inspect '2 CPUs, 4G' 2 4096 95 500
# The kernel's own books on 16 GiB of pages are 256 MiB of memory that is touched.
start_sized '8 CPUs, 256M' 8 256M
start_sized '16G' 1 16G
inspect '8 CPUs, 256M' 8 256 80 258
inspect '16G' 1 16384 95 900

stdin=/dev/null
start 'too small' true --memory 64M
await 'too small'
equal '64M: status' 125 "$status"
check '64M: message' "$(<"$tmp/too small.err")" \
	matches "$(<"$tmp/too small.err")" 'vmm: *kernel*needs at least * MiB of guest memory*, has 64 MiB'

# ---- 32 devices: the root and 31 disks, each with its number in its size ----

disks=() wanted="vda=$root_sectors" n=0
for letters in {b..z} a{a..f}; do
	n=$((n + 1))
	truncate -s $((n * 512)) "$tmp/disk$n"
	disks+=(--disk "$tmp/disk$n")
	wanted+=" vd$letters=$n"
done
boot '32 devices' '
	cd /sys/block
	for d in vd? vd??; do s="$s $d=$(cat $d/size)"; done
	echo "disks:$s"
	for d in vd? vd??; do dd if=/dev/$d of=/dev/null bs=512 count=1 2>/dev/null && m=$((m + 1)); done
	echo "readable: $m"
	echo last >/dev/vdaf; sync
' "${disks[@]}"
equal '32 devices: all, in order' "$wanted" "$(value disks)"
equal '32 devices: readable' 32 "$(value readable)"
read -r last <"$tmp/disk31" || true
equal '32 devices: the last is written' last "${last:0:4}"
start '33 devices' true "${disks[@]}" --disk "$tmp/disk1"
await '33 devices'
equal '33 devices: status' 125 "$status"
check '33 devices: message' "$(<"$tmp/33 devices.err")" matches "$(<"$tmp/33 devices.err")" '*has room for 32 disks*'
finish
