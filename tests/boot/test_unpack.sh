#!/usr/bin/env bash
# Debian's own kernels, packed by lz4, zstd and xz, start whether vmm unpacks them, has done so before, or they do so.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare() {
	make_or_skip "$repo/guest-images/initramfs-min.sh"
}

enter_lab cloud cloud-6.12 full rt
cp "$VMM_IMAGES/initramfs-min.cpio" "$tmp/min"
cache=$tmp/cache/vmm

# starts NAME WORDS OPTION... - the kernel of this flavour gets to its init and ends the machine; WORDS are what vmm says of
# unpacking, "nothing" for no word
starts() {
	local status=0 said
	"$vmm" --kernel "$tmp/kernel-$flavour" --initrd "$tmp/min" --cmdline 'console=ttyS0 reboot=t panic=-1 quiet' \
		--log-level debug --timeout 60 "${@:3}" </dev/null >"$tmp/out" 2>"$tmp/err" || status=$?
	check "$flavour, $1: starts" "status $status, $(grep -m 1 init "$tmp/out")" grep -q 'init reached' "$tmp/out"
	equal "$flavour, $1: status" 0 $status
	said=$(grep -oE 'the kernel is (unpacked|in the cache|left).*' "$tmp/err" || echo nothing)
	equal "$flavour, $1: vmm says" "$2" "$said"
}

kept() {
	local file
	for file in "$cache"/*; do
		[ ! -f "$file" ] || echo "$file"
	done
}

for flavour in cloud cloud-6.12 full rt; do
	starts 'by itself' nothing --unpack off
	starts 'without a cache' 'the kernel is unpacked' --kernel-cache off --cpus 2
	[ -z "$(kept)" ] || fail "$flavour: something is kept: $(kept)"
	starts 'cold cache' 'the kernel is unpacked'
	check "$flavour: is kept" "$(kept)" [ "$(kept | wc -l)" = 1 ]
	starts 'warm cache' 'the kernel is in the cache, unpacked'
	starts 'warm cache, two CPUs' 'the kernel is in the cache, unpacked' --cpus 2
	truncate -s 100000 "$(kept)"
	starts 'damaged cache' 'the kernel is unpacked' --memory 128M
	rm "$(kept)"
done
finish
