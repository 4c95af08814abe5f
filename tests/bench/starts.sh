# Start and end of a guest of a few instructions, in time, on any /dev/kvm; sourced, not run.
# shellcheck shell=bash disable=SC2034,SC2054,SC2154

starts_peers=(vmm kvmtool qemu-pvh firecracker cloud-hypervisor)
at_once=64
at_once_rounds=8 # they take long
cpus_rounds=40

starts_prepare() {
	local size count
	for size in 128 16384; do
		describe "starts.first.$size" milliseconds lower "exec to the guest's first byte, $size MiB"
		describe "starts.ended.$size" milliseconds lower "exec to the end of the process, $size MiB"
		describe "starts.cpu.$size" milliseconds lower "CPU time, $size MiB"
		add_run "starts.$size" floor "${starts_peers[@]}"
	done
	describe starts.ended.all milliseconds lower "exec to the end of the last of $at_once, 128 MiB"
	describe starts.cpu.all milliseconds lower "CPU time each, $at_once at once, 128 MiB"
	add_run starts.all "${starts_peers[@]}"
	# Not among the counted curves: where the clock counts, a guest of several CPUs hangs.
	for count in 1 2 4 8; do
		describe "curve-cpus.$count" milliseconds lower "exec to the end of the process, 128 MiB, virtual CPUs: $count"
		add_run "starts.cpus.$count" "${starts_peers[@]}"
	done
	# One that emulates the guest's kernel does not have all registers of the CPU that it shows.
	[ -e /run/lab/settings ] || kvm_is_real || qemu_cpu=qemu64
	qemu_more=(-device isa-debug-exit,iobase=0xf4)
}

starts_measure() {
	local run=${1#starts.} memory=128 cpus=1 limit=5 first seen ended used
	kernel=$place/tiny.bz64 elf=$place/tiny.pvh initrd=''
	if [ "$run" = all ]; then
		starts_at_once "$2"
		return
	fi
	if [[ $run = cpus.* ]]; then
		cpus=${run#cpus.}
		[ "$round" -le $cpus_rounds ] || return 0
		time_peer "$2" ! || return 1
		record "curve-$run" "$(million "$ended")"
		return
	fi
	memory=$run
	time_peer "$2" ! || return 1
	record "starts.first.$run" "$(million "$seen")"
	[ "$2" != floor ] || return 0 # it does nothing for its end
	record "starts.ended.$run" "$(million "$ended")"
	record "starts.cpu.$run" "$(million "$used")"
}

starts_at_once() {
	[ "$round" -le $at_once_rounds ] || return 0
	limit=30
	time_peer "$1" ! $at_once || return 1
	record starts.ended.all "$(million "$ended")"
	record starts.cpu.all "$(million $((used / at_once)))"
}
