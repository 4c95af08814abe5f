#!/usr/bin/env bash
# vmm -- COMMAND takes the modules that the guest needs from beside the kernel, packed or not, and says what a kernel lacks.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

prepare_more() {
	stage_modules xz zst gz
}
enter_lab cloud
begin_command

release=$(<"$VMM_IMAGES/kernel-cloud/version")
# beside KIND - a kernel with these modules, and its configuration, as a package has them
beside() {
	place=$tmp/place-$1
	mkdir -p "$place/boot" "$place/lib/modules"
	ln -s "$tmp/kernel-cloud" "$place/boot/vmlinuz-$release"
	ln -s "$VMM_IMAGES/kernel-cloud/config" "$place/boot/config-$release"
	case $1 in
	none) ;;
	plain) ln -s "$VMM_IMAGES/kernel-cloud/modules" "$place/lib/modules/$release" ;;
	*) ln -s "$stage/modules-$1" "$place/lib/modules/$release" ;;
	esac
	options=(--kernel "$place/boot/vmlinuz-$release" --boot-timeout $((100 * slower)))
}

for kind in plain xz zst gz; do
	beside $kind
	run "$kind" --root "$tmp/root" -- sh -c 'uname -r; sed "s/ .*//" /proc/modules | sort | tr "\n" " "'
	equal "$kind: status" 0 "$status"
	mapfile -t lines <"$tmp/$kind.out"
	equal "$kind: release" "$release" "${lines[0]-}"
	for module in virtio_pci vmw_vsock_virtio_transport virtio_balloon virtio_rng; do
		check "$kind: $module" "${lines[1]-}" matches " ${lines[1]-}" "* $module *"
	done
	equal "$kind: errors" '' "$(text "$kind.err")"
done

# What the machine has decides what is loaded.
options=(--kernel "$tmp/place-plain/boot/vmlinuz-$release" --boot-timeout $((100 * slower)))
run image --root "$root" --rng off -- /bin/busybox sh -c 'sed "s/ .*//" /proc/modules | sort | tr "\n" " "'
equal 'an image: status' 0 "$status"
check 'an image: virtio_blk' "$(text image.out)" matches " $(text image.out)" '* virtio_blk *'
check 'an image: no virtio_rng' "$(text image.out)" [ -z "$(grep -ow virtio_rng "$tmp/image.out" || true)" ]
run mmio --root "$tmp/root" --transport mmio -- sh -c 'sed "s/ .*//" /proc/modules | sort | tr "\n" " "'
equal 'MMIO: status' 0 "$status"
check 'MMIO: virtio_mmio' "$(text mmio.out)" matches " $(text mmio.out)" '* virtio_mmio *'

# What is lacking is told by name, before anything starts.
beside none
run lacks --root "$tmp/root" -- true
equal 'no modules: status' 125 "$status"
equal 'no modules: message' "vmm: kernel '$place/boot/vmlinuz-$release' lacks virtio on PCI (CONFIG_VIRTIO_PCI), sockets of VMs (CONFIG_VSOCKETS), virtio sockets (CONFIG_VIRTIO_VSOCKETS): it is not built in, and there is no /lib/modules/$release/modules.dep that tells of modules" \
	"$(text lacks.err)"
run gone --root "$tmp/root" --events "$tmp/gone.events" -- true
equal 'no modules: events' '"event":"ended","reason":"failed","status":125}' "$(grep -o '"event".*' "$tmp/gone.events")"
nothing_left 'all of it'
finish
