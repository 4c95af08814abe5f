#!/usr/bin/env bash
# Linkers that a distribution or a user may have chosen: each one that is there makes a program that starts, with a guest's first program
# inside. A third of a minute of one CPU for each.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
command -v cmake >/dev/null || skip 'cmake is missing (Debian: cmake)'
make_tmp

tried=()
for linker in gold lld mold; do
	echo 'int main(void) { return 0; }' | cc -fuse-ld=$linker -xc - -o "$tmp/any" 2>/dev/null || continue
	tried+=("$linker")
	{ cmake -S "$repo" -B "$tmp/build" -DVMM_TESTS=OFF -DCMAKE_EXE_LINKER_FLAGS=-fuse-ld=$linker &&
		cmake --build "$tmp/build" -j 2 --target vmm; } >"$tmp/log" 2>&1 || fail "$linker: $(tail -n 5 "$tmp/log")"
	"$tmp/build/bin/vmm" --version >/dev/null || fail "$linker: the program does not start"
	rm -rf "$tmp/build"
done
[ ${#tried[@]} -gt 0 ] || skip 'no other linkers (Debian: lld, mold)'
note "made by ${tried[*]}"
finish
