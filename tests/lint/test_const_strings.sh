#!/usr/bin/env bash
# What strchr() and its like find in a const string is const: so says C23, and glibc from 2.43 on to all who define _GNU_SOURCE. Others get a
# stand-in for that here.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
{
	echo '#include <string.h>'
	for name in strchr strrchr strstr strpbrk; do
		echo "#define $name(s, x) _Generic(1 ? (s) : (void *)1, const void *: (const char *)$name((s), (x)), default: $name((s), (x)))"
	done
	echo '#define memchr(s, x, n) _Generic(1 ? (s) : (void *)1, const void *: (const void *)memchr((s), (x), (n)), default: memchr((s), (x), (n)))'
} >"$tmp/strings.h"

folders=(boot devices virtio vmm/{api,cli,core,gdb,machine,sandbox}) flags=()
if pkg-config --exists libarchive jansson nettle 2>/dev/null; then
	folders+=(vmm/image) flags+=(-DVMM_HAVE_IMAGES=1)
fi
bad=0 seen=0
while read -r file; do
	seen=$((seen + 1))
	${CC:-cc} -std=gnu11 -D_GNU_SOURCE -DVMM_VERSION='""' -Werror=discarded-qualifiers "${flags[@]}" -include "$tmp/strings.h" -I. -fsyntax-only "$file" || bad=1
done < <(grep -rlE --include='*.c' '\b(strchr|strrchr|strstr|strpbrk|memchr)\(' "${folders[@]}" guest/passwd.c)
[ "$seen" -gt 20 ] || { echo "only $seen files: the lint is broken"; exit 1; }
exit $bad
