# From exec of the program to its end, with an init that says a line and restarts the machine; sourced, not run.
# shellcheck shell=bash disable=SC2154,SC2034

boot_peers=(vmm kvmtool qemu qemu-pvh firecracker cloud-hypervisor)
# Without ACPI a kernel needs CONFIG_X86_MPPARSE, which Debian's for clouds do not have.
noacpi_peers=(qemu-noacpi qemu-pvh-noacpi)

# What Linux says last; not all kernels still write what init said, but this one waits for.
end_of_boot='reboot: Restarting system'

boot_prepare() {
	local flavour way title peers
	# What takes least comes first: a round that is cut off then has most of it.
	for flavour in $(tac <<<"${flavours// /$'\n'}"); do
		for way in own same; do
			[ -z "$quick" ] || [ $way = own ] || continue
			title="$(title_of "$flavour"), "
			[ $way = own ] && title+='own command lines' || title+='one command line'
			describe "boot.$flavour.$way" '10^9 instructions' lower "$title"
			peers=("${boot_peers[@]}")
			[ "$flavour" != small ] || peers+=("${noacpi_peers[@]}")
			[ -z "$quick" ] || [ "$flavour" = small ] || peers=(vmm kvmtool qemu)
			add_run "boot.$flavour.$way" "${peers[@]}"
		done
	done
	warm_up "${boot_peers[@]}"
	for flavour in $flavours; do
		boot_one vmm "$flavour" || true
	done
}

# warm_up PEER... - what is read for the first time comes from further away, and a program may keep something for the next start
warm_up() {
	local peer first seen ended used spin why
	for peer; do
		! installed "$peer" || boot_one "$peer" "$smallest" || true
	done
}

# boot_one PEER FLAVOUR [COPIES]
boot_one() {
	kernel=$place/kernel-$2 elf=$place/vmlinux-$2 initrd=$place/min.cpio
	[ -e "$elf" ] || elf=''
	[[ $1 != *-pvh* || -n $elf ]] || { why='no unpacked kernel' && return 1; }
	time_peer "$1" "$end_of_boot" "${3:-1}"
}

boot_measure() {
	local flavour=${1#boot.} words='' limit=8 first seen ended used
	[[ $1 != *.same ]] || words="$default_words cryptomgr.notests"
	boot_one "$2" "${flavour%.*}" || return 1
	record "$1" "$(million $((ended / 1000)))"
}
