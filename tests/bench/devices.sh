# Disk and network card under load: counted (groups disk and net) or in time (group load). Sourced, not run.
#
# The load is made by the guest (load.h), which also takes the time: by its own clock. In the counted groups a nanosecond is an
# instruction of guest, program and host's kernel together.
# shellcheck shell=bash disable=SC2154,SC2034

disk_peers=(vmm kvmtool qemu qemu-q35 firecracker cloud-hypervisor)
net_peers=(vmm kvmtool qemu qemu-vhost qemu-q35 firecracker cloud-hypervisor)

# What is counted is exact after few requests; where time is taken, each job has TIMES as many.
# NAME KIND:SIZE:DEPTH:COUNT TIMES TITLE
disk_jobs='read32 r:4096:32:20000 2 4K random read, queue depth 32
write32 w:4096:32:20000 2 4K random write, queue depth 32
read1 r:4096:1:4000 1 4K random read, queue depth 1
write1 w:4096:1:4000 1 4K random write, queue depth 1
seq256k R:262144:8:500 6 256K sequential read, queue depth 8'

# NAME COUNT TIMES lower|higher TITLE
net_jobs='g2h 64 4 higher TCP, guest to host
h2g 64 4 higher TCP, host to guest
udp-g2h 10000 3 higher UDP, 64 bytes, guest to host
udp-h2g 10000 3 higher UDP, 64 bytes, host to guest
ping 200 4 lower ping, median'

disk_prepare() {
	describe_disk 'thousand instructions a request'
	prepare_load disk
}

net_prepare() {
	describe_net 'Mbit in 10^9 instructions' 'thousand packets in 10^9 instructions' 'thousand instructions'
	prepare_load net
}

load_prepare() {
	describe_disk 'microseconds a request'
	describe_net 'Mbit/s' 'thousand packets/s' 'microseconds'
	prepare_load disk net
}

# describe_disk UNIT
describe_disk() {
	local name rest times title
	while read -r name rest times title; do
		describe "$group.$name" "$1" lower "$title"
	done <<<"$disk_jobs"
}

# describe_net UNIT-OF-TCP UNIT-OF-UDP UNIT-OF-PING
describe_net() {
	local name count times better title unit
	while read -r name count times better title; do
		case $name in
		udp*) unit=$2 ;;
		ping) unit=$3 ;;
		*) unit=$1 ;;
		esac
		describe "$group.$name" "$unit" "$better" "$title"
	done <<<"$net_jobs"
}

# prepare_load KIND...
prepare_load() {
	local kind
	for kind; do
		"prepare_$kind"
	done
	# Under --icount a guest that hangs spins for as long as it may.
	limit=${counted:+12}
	limit=${limit:-90}
}

prepare_disk() {
	add_run disk "${disk_peers[@]}"
	warm_up "${disk_peers[@]}"
	dd if=/dev/urandom of="$place/disk" bs=1M count=64 status=none
}

prepare_net() {
	if ! tap_up; then
		note missing net 'a TAP interface needs root rights'
		return
	fi
	tap_down
	add_run net "${net_peers[@]}"
	warm_up "${net_peers[@]}"
	"$place/load" serve </dev/null >/dev/null 2>&1 &
	children+=($!)
}

# A new interface for each run: what one program sets on it shall not be there for the next.
tap_up() {
	ip tuntap add dev bench0 mode tap && ip addr add 10.0.0.1/24 dev bench0 && ip link set bench0 up
} 2>/dev/null

tap_down() {
	ip link del bench0
}

# words_of_jobs KIND - of a table of jobs; quick ones do a quarter of the work
words_of_jobs() {
	awk -v kind="$1" -v part="${quick:+4}" -v counted="$counted" '{
		count = job = $2
		sub(/.*:/, "", count)
		sub(/[0-9]*$/, int(count * (counted ? 1 : $3) / (part ? part : 1)), job)
		printf "%s%s:%s:%s", (NR > 1 ? "," : ""), kind, $1, job
	}'
}

# load_measure RUN PEER
load_measure() {
	local disks=() tap='' words=$default_words jobs result=0
	kernel=$place/kernel-$smallest elf=$place/vmlinux-$smallest initrd=$place/load-$smallest.cpio
	[ -e "$elf" ] || elf=''
	words+=" init=/bench"
	if [ "$1" = disk ]; then
		disks=("$place/disk")
		jobs=bench.jobs=$(words_of_jobs disk <<<"$disk_jobs")
	else
		tap=bench0
		jobs=bench.jobs=$(words_of_jobs net <<<"$net_jobs")
		tap_up || { why='no TAP interface' && return 1; }
	fi
	load_one "$2" || result=1
	[ -z "$tap" ] || tap_down
	return $result
}

disk_measure() {
	load_measure "$@"
}

net_measure() {
	load_measure "$@"
}

# Some results may be there even when a later job failed.
load_one() {
	local first seen ended used result=0 word name value
	time_peer "$1" 'bench end' || result=1
	while read -r word name value _; do
		[[ $word != bench || $name = end ]] || case $value in
		*[0-9]*.*[0-9]*) record "$group.$name" "${value%$'\r'}" ;;
		esac
	done < <(tr -d '\r' <"$place/out")
	return $result
}
