#!/usr/bin/env bash
# Makes build/images/vmlinux-FLAVOUR, the ELF file that is packed inside that kernel's bzImage.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# number OFFSET SIZE - a little-endian field of the setup header
number() {
	od -An -v -t "u$2" -j "$1" -N "$2" "$bzimage" | tr -d ' '
}

# The offset counts from the protected-mode part, which follows the setup sectors.
packed_payload() {
	local start=$((($(number 0x1f1 1) + 1) * 512 + $(number 0x248 4)))
	dd if="$bzimage" bs=1M iflag=skip_bytes,count_bytes status=none \
		skip=$start count="$(number 0x24c 4)"
}

# The kernel's build puts the unpacked size in four bytes behind the packed data (gzip has it inside).
unpack() {
	local magic
	magic=$(od -An -t x1 -N 4 "$scratch/payload" | tr -d ' ')
	case $magic in
	1f8b*) gzip -dc "$scratch/payload" ;;
	02214c18) head -c -4 "$scratch/payload" | lz4 -dcq ;;
	fd377a58) head -c -4 "$scratch/payload" | xz -dc ;;
	28b52ffd) head -c -4 "$scratch/payload" | zstd -dcq ;;
	*) die "$bzimage is packed in a way not known here (it starts with $magic)" ;;
	esac
}

[ $# = 1 ] || die "usage: vmlinux.sh cloud|cloud-5.10|cloud-6.12|full|full-6.12|rt|small"
one_at_a_time "vmlinux-$1"
kernel_of "$1"
bzimage=$kernel/vmlinuz
image=$images/vmlinux-$1
fresh "$image" "$kernel/version" && exit 0
need "${image_tools[@]}"
scratch_dir
packed_payload >"$scratch/payload"
unpack >"$scratch/image"
mv "$scratch/image" "$image"
say "$image"
