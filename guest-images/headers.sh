#!/usr/bin/env bash
# Makes build/images/headers-FLAVOUR.tar: what it takes to build modules for that kernel, besides gcc and make, as Debian's packages have it
# (linux-headers-..., linux-kbuild-...), less what is other processors':
#   usr/src/linux-headers-VERSION   for "make -C", when the tree is at the root
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# unpack DEB - into the tree
unpack() {
	dpkg-deb --fsys-tarfile "$1" | tar -x -C "$tree" --exclude='./usr/share' --exclude='./usr/src/*/arch/[!x]*' ./usr
}

[ $# = 1 ] || die "usage: headers.sh cloud|cloud-6.12|full|full-6.12|rt"
one_at_a_time "headers-$1"
kernel_of "$1"
image=$images/headers-$1.tar
fresh "$image" "$kernel/version" && exit 0
need dpkg-deb:dpkg apt-cache:apt
package=linux-headers-$(<"$kernel/version")
scratch_dir
tree=$scratch/tree
mkdir "$tree"
deb=$(cached_package "$package")
unpack "$deb"
needed=$(dpkg-deb -f "$deb" Depends | grep -oE 'linux-(headers-[^ ]*-common[^ ,]*|kbuild-[^ ,]*)') ||
	die "$deb names no common headers"
for name in $needed; do
	deb=$(cached_package "$name")
	unpack "$deb"
done
tar -C "$tree" --sort=name --owner=0 --group=0 -cf "$scratch/image" usr
mv "$scratch/image" "$image"
say "$image: $(find "$tree" -type f | wc -l) files"
