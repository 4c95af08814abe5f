#!/usr/bin/env bash
# Makes build/images/command-modules-FLAVOUR.cpio: the modules of that kernel that a command in the guest needs, for --initrd, where
# guest/init.c finds them: those of the socket device, of disks with the file systems of images, and of network cards.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# = 1 ] || die "usage: modules.sh cloud|cloud-5.10|cloud-6.12|full|full-6.12|rt"
one_at_a_time "modules-$1"
kernel_of "$1"
image=$images/command-modules-$1.cpio
fresh "$image" "$kernel/version" "$guest_images/lib.sh" && exit 0
need "${image_tools[@]}"
scratch_dir
tree=$scratch/tree
mkdir -p "$scratch/packed" "$tree/.vmm/modules"
copy_modules "$scratch/packed" virtio_pci virtio_mmio vmw_vsock_virtio_transport virtio_blk ext4 crc32c_generic squashfs erofs overlay virtio_net
number=10
while read -r path; do
	mv "$scratch/packed$path" "$tree/.vmm/modules/$number-${path##*/}"
	number=$((number + 1))
done <"$scratch/packed/modules.list"
make_cpio "$tree" >"$scratch/image"
mv "$scratch/image" "$image"
say "$image"
