#!/usr/bin/env bash
# Unpacks one of Debian's kernels, without installing it, into build/images/kernel-FLAVOUR, or builds the small one there, from
# Debian's source and kernel-small.config (some minutes): it has what a virtual machine needs built in, and no modules.
#   vmlinuz   the bzImage
#   config    its configuration
#   version   its release name (uname -r)
#   modules/  the tree of /lib/modules/VERSION, with modules.dep and modules.builtin
# A kernel that is there already, with all of that, is kept, however old it is; remove its directory to get a newer one. The small one is
# built anew when kernel-small.config, of which it keeps a copy, has changed. What other recipes make out of a kernel they make anew when
# the kernel or they themselves have changed.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# is_kept - true when the kernel is there and needs no building
is_kept() {
	[[ -s $kernel/vmlinuz && -s $kernel/config && -s $kernel/version && -d $kernel/modules ]] || return 1
	if [ "$flavour" != small ]; then
		[ -e "$kernel/modules/modules.dep" ]
	elif [ -e "$kernel/small.config" ]; then
		cmp -s "$guest_images/kernel-small.config" "$kernel/small.config"
	else # one of before there was a copy
		[ ! "$guest_images/kernel-small.config" -nt "$kernel/version" ]
	fi
}

usage() {
	die "usage: kernel.sh cloud|cloud-5.10|cloud-6.12|full|full-6.12|rt|small"
}

# look_in RELEASE - from then on apt looks in that older release, at this machine's mirrors, with lists of its own: the machine's stay as they are
look_in() {
	local release=$1 format codename keys=/usr/share/keyrings/debian-archive-keyring.gpg
	# shellcheck disable=SC2016 # for apt
	format='$(REPO_URI) $(RELEASE)'
	codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
	apt-get indextargets --format "$format" 'Created-By: Packages' 'Component: main' |
		sed -n "s|^\([^ ]*\) $codename\(-security\)\?$|deb [signed-by=$keys] \1 $release\2 main|p" | sort -u >"$scratch/sources.list"
	[ -s "$scratch/sources.list" ] || die "apt has no source of Debian's $codename, so none of $release is known either"
	mkdir -p "$scratch/lists/partial" "$scratch/apt"
	cat >"$scratch/apt.conf" <<-END
		Dir::Etc::SourceList "$scratch/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::State::Lists "$scratch/lists";
		Dir::Cache "$scratch/apt";
		Acquire::Languages "none";
		APT::Sandbox::User "root";
	END
	export APT_CONFIG=$scratch/apt.conf
	say "looking in Debian's $release"
	apt-get -qq update >&2 || die "this machine's mirror has no $release: $(cat "$scratch/sources.list")"
}

# The packages that users install carry no kernel; they depend on the newest one that does.
newest_package() {
	apt-cache depends --important "$1" 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-[a-z]*-[0-9].*\)/\1/p' | head -n 1
}

unpack() {
	local deb=$1 tree=$scratch/tree out=$scratch/kernel version
	mkdir "$tree" "$out"
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$tree" ./boot ./lib/modules
	version=$(cd "$tree/lib/modules" && echo *)
	depmod -b "$tree" "$version"
	mv "$tree/boot/vmlinuz-$version" "$out/vmlinuz"
	mv "$tree/boot/config-$version" "$out/config"
	mv "$tree/lib/modules/$version" "$out/modules"
	echo "$version" >"$out/version"
}

build_small() {
	local deb=$1 out=$scratch/kernel
	need flex:flex bison:bison bc:bc /usr/include/libelf.h:libelf-dev make:make
	source=$scratch/source
	[[ $source != *[[:space:]:]* ]] || source=$(mktemp -d /var/tmp/vmm-kernel-XXXXXX) # Linux's makefile takes no such path
	trap 'rm -rf "$scratch" "$source"' EXIT
	mkdir -p "$out/modules" "$source"
	dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' | tar -xJ -C "$source" --strip-components=1
	cp "$guest_images/kernel-small.config" "$out/small.config"
	cp "$out/small.config" "$source/arch/x86/configs/small_defconfig"
	say 'building the small kernel'
	{ make -C "$source" small_defconfig && make -C "$source" -j "$(nproc)" bzImage; } >"$scratch/log" 2>&1 ||
		{ tail -n 30 "$scratch/log" >&2 && die 'the small kernel does not build'; }
	cp "$source/arch/x86/boot/bzImage" "$out/vmlinuz"
	cp "$source/.config" "$out/config"
	make -s -C "$source" kernelrelease >"$out/version"
}

[ $# = 1 ] || usage
flavour=$1
case $flavour in
cloud | cloud-5.10) meta=linux-image-cloud-amd64 ;;
cloud-6.12) meta=linux-image-6.12-cloud-amd64 ;;
full-6.12) meta=linux-image-6.12-amd64 ;;
full) meta=linux-image-amd64 ;;
rt) meta=linux-image-rt-amd64 ;;
small) meta=linux-source ;;
*) usage ;;
esac

one_at_a_time "kernel-$flavour"
kernel=$images/kernel-$flavour
is_kept && exit 0
need "${image_tools[@]}"
scratch_dir
[ "$flavour" != cloud-5.10 ] || look_in bullseye
package=$(newest_package "$meta")
if [ -z "$package" ] && [ "$(id -u)" = 0 ]; then
	update_package_lists
	package=$(newest_package "$meta")
fi
[ -n "$package" ] || die "apt does not know $meta: run apt-get update, or look at its sources"
deb=$(cached_package "$package")
if [ "$flavour" = small ]; then
	build_small "$deb"
else
	unpack "$deb"
fi
# Whatever interrupts this, there is never a part of a kernel.
[ ! -e "$kernel" ] || mv "$kernel" "$scratch/old"
mv "$scratch/kernel" "$kernel"
say "$kernel is $(cat "$kernel/version")"
