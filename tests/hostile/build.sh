#!/bin/sh
# Builds the hostile guest and the programs that run it: OUT/guest, OUT/passt and OUT/PROGRAM for each of hostile, soak.
#	build.sh OUT LIBVMM.A FLAG...
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$1 library=$2
shift 2

# Plain integer code that every software KVM can emulate, without what a guest that has no system cannot have.
guest_flags='-std=gnu11 -O2 -g -Wall -Wextra -Wshadow -Werror -ffreestanding -fno-stack-protector -fno-pic -fno-pie
	-fno-tree-vectorize -fno-asynchronous-unwind-tables -fcf-protection=none -mno-red-zone -mgeneral-regs-only
	-mcmodel=small -U_FORTIFY_SOURCE'
if [ ! -e "$out/guest" ]; then
	# shellcheck disable=SC2086 # flags are words
	gcc $guest_flags -static -nostdlib -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-T,"$here/guest/guest.lds" -Wl,--no-warn-rwx-segments \
		-o "$out/guest" "$here"/guest/*.S "$here"/guest/*.c
fi
[ -e "$out/passt" ] || cc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$out/passt" "$here/peer.c"
libs=$(sed -n 's/^Libs:.*-lvmm //p' "${library%/*}/vmm.pc")
for program in hostile soak; do
	# shellcheck disable=SC2086
	cc -std=gnu11 -O1 -g -Wall -Wextra -Werror "$@" "-I$here/../../vmm/api" -o "$out/$program" "$here/$program.c" \
		"$here/process.c" "$here/vms.c" "$library" $libs
done
