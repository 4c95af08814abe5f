#!/usr/bin/env bash
# The kernel of the Debian release before: it is unpacked, moves, is kept, finds its devices and ends as later ones do.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_kaslr.sh
. "$here/lib_kaslr.sh"
enter_lab cloud-5.10 -- --cpus 2

flavour=cloud-5.10
# The emulated machine lets guests set XCR0 without KVM knowing, whose CPUID then tells too small a size; this kernel makes signal frames by it.
[ -z "$emulated" ] || words=noxsave
# shellcheck disable=SC2016 # for the guest
script=$tell_place'echo "modules: $(wc -l </proc/modules)"'
seed_left=32 # it knows no seed
moves_about "$script" 10 8 6

# says_of NAME WANT - what vmm told of the kernel's unpacking
says_of() {
	equal "$1: vmm says" "$2" "$(grep -oE 'the kernel is (unpacked|in the cache|left).*' "$tmp/$1.err" || echo nothing)"
}

boot 'off' "$script" --kaslr off --log-level debug
linked 'off'
says_of 'off' 'the kernel is in the cache, unpacked'
words="$words nokaslr" boot 'nokaslr' "$script" --kernel-cache off --cpus 2 --log-level debug
linked 'nokaslr'
says_of 'nokaslr' 'the kernel is unpacked'
boot 'packed' "$script" --unpack off --log-level debug
moved 'packed'
says_of 'packed' nothing

truncate -s 3M "$tmp/other"
# shellcheck disable=SC2016 # for the guest
for transport in pci mmio; do
	boot "$transport" '
		echo "release: $(uname -r)"
		for d in /sys/block/vd*; do s="$s ${d##*/}=$(cat $d/size)"; done
		echo "disks:$s"
		echo "complaints: $(dmesg | grep -cE "WARNING: CPU|BUG:|Oops|ACPI.*(Error|Warning)|APIC error|Firmware Bug|virtio.*fail|I/O error")"
	' --transport $transport --disk "$tmp/other"
	equal "$transport: release" "$(<"$VMM_IMAGES/kernel-$flavour/version")" "$(value release)"
	equal "$transport: disks" "vda=$root_sectors vdb=6144" "$(value disks)"
	equal "$transport: complaints" 0 "$(value complaints)"
done

start 'panic' 'echo c >/proc/sysrq-trigger' --timeout 120
await 'panic'
equal 'panic: status' 123 "$status"
finish
