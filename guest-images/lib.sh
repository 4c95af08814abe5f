# Common functions of the image recipes; sourced, not run.
# shellcheck shell=bash

guest_images=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(dirname "$guest_images")
images=${VMM_IMAGES:-$repo/build/images}
# The scripts below may be started from a shell that has no administrator's PATH.
PATH=$PATH:/usr/sbin:/sbin
export VMM_IMAGES=$images PATH

# What building vmm and running the recipes take, as COMMAND:PACKAGE or FILE:PACKAGE.
# shellcheck disable=SC2034 # used by those who source this
build_tools=(gcc:gcc cmake:cmake make:make pkg-config:pkg-config /usr/include/stdio.h:libc6-dev
	/usr/include/libfdt.h:libfdt-dev /usr/include/zlib.h:zlib1g-dev /usr/include/liburing.h:liburing-dev
	/usr/include/seccomp.h:libseccomp-dev /usr/include/zstd.h:libzstd-dev /usr/include/lz4.h:liblz4-dev
	/usr/include/lzma.h:liblzma-dev /usr/include/archive.h:libarchive-dev /usr/include/jansson.h:libjansson-dev
	/usr/include/nettle/sha2.h:nettle-dev)
# shellcheck disable=SC2034
image_tools=(
	gcc:gcc /usr/include/stdio.h:libc6-dev depmod:kmod cpio:cpio xz:xz-utils lz4:lz4 zstd:zstd
	busybox:busybox-static mke2fs:e2fsprogs sfdisk:fdisk iperf3:iperf3 ethtool:ethtool
)

say() {
	echo "${0##*/}: $*" >&2
}

die() {
	say "$*"
	exit 1
}

# update_package_lists - what a fresh system, or one not updated for long, needs before it can install
update_package_lists() {
	say "updating the package lists"
	DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 || die "apt-get update failed"
}

# need COMMAND:PACKAGE... - installs the packages of commands (or of files, by their path) that are missing;
# without root rights it ends with the line to type
need() {
	local pair log missing=()
	for pair; do
		command -v "${pair%%:*}" >/dev/null || [[ $pair = /* && -e ${pair%%:*} ]] ||
			[[ " ${missing[*]} " = *" ${pair#*:} "* ]] || missing+=("${pair#*:}")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "something is missing: sudo apt-get install ${missing[*]}"
	update_package_lists
	say "installing ${missing[*]}"
	log=$(mktemp)
	DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o DPkg::Use-Pty=0 install \
		--no-install-recommends "${missing[@]}" </dev/null >"$log" 2>&1 ||
		{ cat "$log" >&2 && die "cannot install ${missing[*]}"; }
	rm "$log"
}

# kvm_is_real - true where guest code runs on the CPU's own virtualization; a /dev/kvm without VT-x and AMD-V
# emulates the guest's kernel, and no Linux boots on it
kvm_is_real() {
	[ -r /dev/kvm ] && [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo
}

# fresh OUTPUT INPUT... - true when OUTPUT exists and no input (nor the running script) is newer
fresh() {
	local output=$1 input
	shift
	[ -e "$output" ] || return 1
	for input in "$0" "$@"; do
		[ ! "$input" -nt "$output" ] || return 1
	done
}

# one_at_a_time NAME - two runs of a recipe wait for each other; the lock ends with the script. Who cannot
# write there can still use what is there already.
one_at_a_time() {
	mkdir -p "$images"
	[ -w "$images" ] || return 0
	exec 9>"$images/.lock-$1"
	flock 9
}

# scratch_dir - makes $scratch, beside the outputs so that a rename from it is atomic
scratch_dir() {
	scratch=$(mktemp -d "$images/.scratch-XXXXXX")
	trap 'rm -rf "$scratch"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# cached_package PACKAGE - the newest file of that package in the cache; without one it is downloaded. It comes there when it is whole, for
# nobody would notice later that it is not.
cached_package() {
	local package=$1 cache=$images/cache
	mkdir -p "$cache"
	if ! compgen -G "$cache/${package}_*.deb" >/dev/null; then
		say "downloading $package ($(apt-cache show --no-all-versions "$package" 2>/dev/null |
			awk '/^Size:/ { print int($2 / 1000000 + 0.5) " MB" }'))"
		(cd "$scratch" && apt-get -qq -o APT::Sandbox::User=root download "$package" >&2) ||
			die "cannot download $package: run apt-get update; if apt knows a newer kernel only, remove $images/kernel-* to have that"
		mv "$scratch/$package"_*.deb "$cache/"
	fi
	compgen -G "$cache/${package}_*.deb" | sort -V | tail -n 1
}

# kernel_of FLAVOUR - makes the kernel when it is not there, and sets $kernel to its directory
kernel_of() {
	"$guest_images/kernel.sh" "$1"
	kernel=$images/kernel-$1
}

# copy_modules TREE NAME... - puts modules of $kernel, with all they need, into TREE/modules, unpacked, and
# their names into TREE/modules.list in the order in which init is to load them; built-in ones are left out
copy_modules() {
	local tree=$1 version path name
	shift
	version=$(cat "$kernel/version")
	mkdir -p "$tree/modules" "$scratch/lib/modules"
	ln -sfn "$kernel/modules" "$scratch/lib/modules/$version"
	modprobe -d "$scratch" -C /dev/null -S "$version" --show-depends -a "$@" >"$scratch/depends"
	while IFS= read -r path; do
		name=$(basename "$path")
		case $name in
		*.xz) xz -dc "$path" >"$tree/modules/${name%.xz}" ;;
		*.zst) zstd -dcq "$path" >"$tree/modules/${name%.zst}" ;;
		*) cp "$path" "$tree/modules/$name" ;;
		esac
		name=${name%.xz}
		echo "/modules/${name%.zst}"
	done < <(sed -nE 's/^insmod (.*\.ko(\.xz|\.zst)?)( .*)?$/\1/p' "$scratch/depends" | awk '!seen[$0]++') \
		>"$tree/modules.list"
}

# build_init TREE - compiles our init into TREE/init
build_init() {
	gcc -std=gnu11 -Os -static -s -Wall -Wextra -o "$1/init" "$guest_images/init/init.c"
}

# make_cpio TREE - the tree as an initramfs on standard output; uncompressed, for unpacking in the guest
# costs more time than reading the few megabytes
make_cpio() {
	(cd "$1" && find . -mindepth 1 | sort | cpio -o -H newc -R 0:0 --reproducible --quiet)
}
