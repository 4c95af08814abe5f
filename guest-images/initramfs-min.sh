#!/usr/bin/env bash
# Makes build/images/initramfs-min.cpio, for measuring how fast a kernel starts: its init says the one line
# "init reached" and reboots. It holds no modules and so serves every kernel.
#   --poweroff  makes initramfs-min-poweroff.cpio, which powers off instead
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

name=initramfs-min
how=LINUX_REBOOT_CMD_RESTART
if [ "${1-}" = --poweroff ]; then
	name=initramfs-min-poweroff
	how=LINUX_REBOOT_CMD_POWER_OFF
	shift
fi
[ $# = 0 ] || die "usage: initramfs-min.sh [--poweroff]"

one_at_a_time "$name"
image=$images/$name.cpio
fresh "$image" "$guest_images/init/min.c" "$guest_images/lib.sh" && exit 0
need "${image_tools[@]}"
scratch_dir
mkdir "$scratch/tree"
gcc -DHOW=$how -Os -s -static -nostdlib -ffreestanding -fno-stack-protector -no-pie -fno-pie \
	-Wl,--build-id=none -z noexecstack -o "$scratch/tree/init" "$guest_images/init/min.c"
make_cpio "$scratch/tree" >"$scratch/image"
mv "$scratch/image" "$image"
say "$image"
