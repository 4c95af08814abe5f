#!/usr/bin/env bash
# Makes build/images/headers-FLAVOUR.tar: what it takes to build modules for that kernel, besides gcc and make, as Debian's packages have it
# (linux-headers-..., linux-kbuild-...), less what is other processors':
#   usr/src/linux-headers-VERSION   for "make -C", when the tree is at the root
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# fetch PACKAGE - unpacks it into the tree
fetch() {
	compgen -G "$images/cache/$1_*.deb" >/dev/null || {
		say "downloading $1"
		mkdir -p "$images/cache"
		(cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download "$1" >&2) || die "cannot download $1"
		mv "$scratch/$1"_*.deb "$images/cache/"
	}
	dpkg-deb --fsys-tarfile "$(compgen -G "$images/cache/$1_*.deb" | sort -V | tail -n 1)" |
		tar -x -C "$tree" --exclude='./usr/share' --exclude='./usr/src/*/arch/[!x]*' ./usr
}

[ $# = 1 ] || die "usage: headers.sh cloud|cloud-6.12|full|full-6.12|rt"
one_at_a_time "headers-$1"
kernel_of "$1"
image=$images/headers-$1.tar
fresh "$image" "$kernel/version" && exit 0
need dpkg-deb:dpkg apt-cache:apt
package=linux-headers-$(<"$kernel/version")
needed=$(apt-cache show --no-all-versions "$package" 2>/dev/null | sed -n 's/^Depends: //p' | grep -oE 'linux-(headers-[^ ]*-common[^ ,]*|kbuild-[^ ,]*)') ||
	die "apt does not know $package: it is of another version than the newest, or its lists are old"
scratch_dir
tree=$scratch/tree
mkdir "$tree"
for name in "$package" $needed; do
	fetch "$name"
done
tar -C "$tree" --sort=name --owner=0 --group=0 -cf "$scratch/image" usr
mv "$scratch/image" "$image"
say "$image: $(find "$tree" -type f | wc -l) files"
