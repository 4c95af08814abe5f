#!/usr/bin/env bash
# Makes what the lab's emulated machine starts from: build/images/vmlinux-FLAVOUR, unpacked beforehand because
# that takes seconds under emulation, and build/images/lab-FLAVOUR.cpio. A cloud kernel does not do, for it cannot mount 9p.
set -euo pipefail
lab=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../guest-images/lib.sh
. "$lab/../../guest-images/lib.sh"

[ $# = 1 ] || die "usage: image.sh full|full-6.12"
"$guest_images/vmlinux.sh" "$1"
one_at_a_time "lab-$1"
kernel_of "$1"
image=$images/lab-$1.cpio
fresh "$image" "$kernel/version" "$guest_images/init/init.c" "$guest_images/lib.sh" "$lab/enter.sh" "$lab/hold_vm.c" "$lab/tick.c" &&
	exit 0
need "${image_tools[@]}"
scratch_dir
tree=$scratch/tree
mkdir -p "$tree"/{bin,dev,proc,sys,root,host,changes}
copy_modules "$tree" virtio_pci virtio_console 9pnet_virtio 9p overlay \
	irqbypass kvm kvm_amd tun tap vhost vhost_iotlb vhost_net
build_init "$tree"
cp "$(command -v busybox)" "$tree/bin/busybox"
ln -s busybox "$tree/bin/sh"
for program in hold_vm tick; do
	gcc -std=gnu11 -Os -static -s -Wall -Wextra -o "$tree/bin/$program" "$lab/$program.c"
done
cp "$lab/enter.sh" "$tree/enter"
chmod +x "$tree/enter"
make_cpio "$tree" >"$scratch/image"
mv "$scratch/image" "$image"
say "$image"
