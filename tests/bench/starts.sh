# Start and end of a guest of a few instructions, in time, on any /dev/kvm; sourced, not run.
# shellcheck shell=bash disable=SC2034,SC2054,SC2154

starts_peers=(vmm kvmtool qemu-pvh firecracker cloud-hypervisor)

starts_prepare() {
	local size
	for size in 128 16384; do
		describe "starts.first.$size" milliseconds lower "exec to the guest's first byte, $size MiB"
		describe "starts.ended.$size" milliseconds lower "exec to the end of the process, $size MiB"
		describe "starts.cpu.$size" milliseconds lower "CPU time, $size MiB"
		add_run "starts.$size" "${starts_peers[@]}"
	done
	# One that emulates the guest's kernel does not have all registers of the CPU that it shows.
	[ -e /run/lab/settings ] || kvm_is_real || qemu_cpu=qemu64
	qemu_more=(-device isa-debug-exit,iobase=0xf4)
	limit=5
}

starts_measure() {
	local memory=${1#starts.} first seen ended used
	kernel=$place/tiny.bz64 elf=$place/tiny.pvh initrd=''
	time_peer "$2" ! || return 1
	record "starts.first.$memory" "$(million "$seen")"
	record "starts.ended.$memory" "$(million "$ended")"
	record "starts.cpu.$memory" "$(million "$used")"
}
