#!/usr/bin/env bash
# Makes build/images/root.ext4, a root disk of busybox and some of Debian's own tools, with root/init.
# It fits every kernel, for it holds no modules. Copy it before it is written to.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Small, for every test copies it; those that need room take a second disk.
size=96M
# Beside busybox: what it lacks, or does too simply for a test; and shells, for that of busybox runs its own
# applets in place of these.
programs=(dash bash mke2fs e2fsck sfdisk iperf3 ethtool dd sha256sum sync blkdiscard)

add_busybox() {
	local applet
	cp "$(command -v busybox)" "$tree/bin/busybox"
	while read -r applet; do
		[[ $applet = busybox || $applet = sh ]] || ln -s busybox "$tree/bin/$applet"
	done < <(busybox --list)
}

# add_program FILE - with the libraries that it loads, at the paths where it looks for them
add_program() {
	local library
	cp "$1" "$tree/usr/bin/"
	while read -r library; do
		mkdir -p "$tree$(dirname "$library")"
		cp -L "$library" "$tree$library"
	done < <(ldd "$1" | grep -o '/[^ ]*')
}

add_settings() {
	local name
	cp "$guest_images"/root/{init,end} "$tree/sbin/"
	for name in poweroff reboot halt; do
		ln -s end "$tree/sbin/$name"
	done
	mkdir -p "$tree/etc/acpi/PWRF"
	# The name is that of the power button's event; see busybox's acpid.
	printf '#!/bin/sh\nexec poweroff\n' >"$tree/etc/acpi/PWRF/00000080"
	chmod +x "$tree"/sbin/{init,end} "$tree/etc/acpi/PWRF/00000080"
	echo 'root::0:0:root:/root:/bin/sh' >"$tree/etc/passwd"
	printf 'root:x:0:\ntty:x:5:\n' >"$tree/etc/group"
	printf '127.0.0.1 localhost guest\n' >"$tree/etc/hosts"
	# shellcheck disable=SC2016
	echo 'PS1='\''\h:\w\$ '\' >"$tree/etc/profile"
	ln -s /proc/self/mounts "$tree/etc/mtab"
}

[ $# = 0 ] || die "usage: disk.sh"
one_at_a_time root
image=$images/root.ext4
fresh "$image" "$guest_images"/root/{init,end} "$guest_images/lib.sh" && exit 0
need "${image_tools[@]}"
as_root=()
if [ "$(id -u)" != 0 ]; then
	need fakeroot:fakeroot
	as_root=(fakeroot)
fi
scratch_dir
tree=$scratch/tree
mkdir -p "$tree"/{bin,sbin,dev,proc,sys,tmp,run,root,mnt,etc,usr/bin,usr/sbin,var/log}
add_busybox
for program in "${programs[@]}"; do
	add_program "$(command -v "$program")"
done
ln -s ../usr/bin/dash "$tree/bin/sh"
ln -s mke2fs "$tree/usr/bin/mkfs.ext4"
ln -s e2fsck "$tree/usr/bin/fsck.ext4"
add_settings
truncate -s "$size" "$scratch/image"
"${as_root[@]}" mke2fs -q -t ext4 -L root -m 0 -E root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0 \
	-d "$tree" "$scratch/image"
mv "$scratch/image" "$image"
say "$image"
