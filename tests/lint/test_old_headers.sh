#!/usr/bin/env bash
# The kernel's headers may be as old as README.md says. Debian 12's are newer: what they have that Linux 5.13 did not is taken out of a copy of
# them, and what uses it is compiled with that.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir "$tmp/linux"
fuse=$(echo '#include <linux/fuse.h>' | ${CC:-cc} -M -x c - | tr ' ' '\n' | grep -m 1 'linux/fuse\.h$')
# 7.33, as of Linux 5.13
sed -E -e 's/(define FUSE_KERNEL_MINOR_VERSION).*/\1 33/' -e '/^\s*FUSE_(SYNCFS|TMPFILE|STATX)\s*=/d' -e '/define FUSE_INIT_EXT/d' \
	-e 's/struct fuse_syncfs_in/struct later_syncfs_in/' \
	-e '/^struct fuse_init_in/,/^}/ {/flags2|unused/d}' -e '/^struct fuse_init_out/,/^}/ {s/unused\[[0-9]+\]/unused[8]/; /flags2/d}' "$fuse" >"$tmp/linux/fuse.h"

bad=0 seen=0
# What each of the others has got since, as of Linux 5.15, 5.19 and 6.0.
# without HEADER LINES - makes the copy of that header
without() {
	local header
	header=$(echo "#include <$1>" | ${CC:-cc} -M -x c - | tr ' ' '\n' | grep -m 1 "$1\$")
	mkdir -p "$tmp/${1%/*}"
	grep -vE "$2" "$header" >"$tmp/$1"
}
without asm/kvm.h 'define\s+KVM_GUESTDBG_BLOCKIRQ\b'
without linux/virtio_blk.h 'secure_erase_.*;'
without asm/bootparam.h 'define\s+SETUP_RNG_SEED\b'

# compile FILE FLAG...
compile() {
	local file=$1
	shift
	seen=$((seen + 1))
	${CC:-cc} -std=gnu11 -Wall -Wextra -Werror "-I$tmp" -I. -fsyntax-only "$@" "$file" || bad=1
}

for file in virtio/*.c tests/fuzz/*fs*.c boot/*.c vmm/machine/*.c; do
	compile "$file" -D_GNU_SOURCE
done
compile tests/hostile/guest/fs.c -ffreestanding -mgeneral-regs-only
[ "$seen" -gt 10 ] || { echo "only $seen files: the lint is broken"; exit 1; }
# It would say nothing if the copy were not the one that is used.
! printf '#include <linux/fuse.h>\nint i = FUSE_TMPFILE;' | ${CC:-cc} "-I$tmp" -fsyntax-only -x c - 2>/dev/null ||
	{ echo 'the copy of the headers is as new as they are'; bad=1; }
exit $bad
