#!/usr/bin/env bash
# Makes build/images/initramfs-FLAVOUR.cpio: our init, and the modules of that kernel for a virtio disk,
# network card and socket device, ext4, the power button and the notice of a panic.
#   --shell  makes initramfs-shell-FLAVOUR.cpio instead, with busybox besides, for a guest without a disk
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

add_shell() {
	local tree=$1 applet
	mkdir -p "$tree/bin"
	cp "$(command -v busybox)" "$tree/bin/busybox"
	while read -r applet; do
		[ "$applet" = busybox ] || ln -s busybox "$tree/bin/$applet"
	done < <(busybox --list)
}

name=initramfs
if [ "${1-}" = --shell ]; then
	name=initramfs-shell
	shift
fi
[ $# = 1 ] || die "usage: initramfs.sh [--shell] cloud|cloud-5.10|cloud-6.12|full|full-6.12|rt"

one_at_a_time "$name-$1"
kernel_of "$1"
image=$images/$name-$1.cpio
fresh "$image" "$kernel/version" "$guest_images/init/init.c" "$guest_images/lib.sh" "$guest_images/initramfs.sh" && exit 0
need "${image_tools[@]}"
scratch_dir
tree=$scratch/tree
mkdir -p "$tree"/{dev,proc,sys,root}
pvpanic=pvpanic_mmio
[ -e "$(find "$kernel/modules" -name "$pvpanic.ko*")" ] || pvpanic=pvpanic # until 5.13
copy_modules "$tree" ext4 crc32c_generic crc32c_intel virtio_pci virtio_mmio virtio_blk virtio_net af_packet \
	virtio_rng virtio_balloon virtio_console vmw_vsock_virtio_transport button evdev "$pvpanic"
build_init "$tree"
if [ "$name" = initramfs-shell ]; then
	add_shell "$tree"
fi
make_cpio "$tree" >"$scratch/image"
mv "$scratch/image" "$image"
say "$image"
