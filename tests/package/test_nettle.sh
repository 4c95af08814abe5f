#!/usr/bin/env bash
# Nettle 4 has another name and another way to ask for a digest, both told by its headers: built with a stand-in for it vmm unpacks an image.
# With a version that it does not know it has no images. Half a minute of one CPU.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=tests/boot/lib_image.sh
. "$repo/tests/boot/lib_image.sh"

for tool in cmake:cmake pkg-config:pkg-config sqfstar:squashfs-tools; do
	command -v "${tool%:*}" >/dev/null || skip "${tool%:*} is missing (Debian: ${tool#*:})"
done
pkg-config --exists libarchive jansson 'nettle < 4' || skip 'libarchive, jansson or nettle 3 is missing'
make_tmp

# Its functions are those of the one that is here, but for the digest.
mkdir -p "$tmp/include/nettle" "$tmp/lib" "$tmp/pc"
cat >"$tmp/include/nettle/version.h" <<'HEADER'
#define NETTLE_VERSION_MAJOR 4
HEADER
cat >"$tmp/include/nettle/sha2.h" <<'HEADER'
#define nettle_sha256_digest nettle_3_sha256_digest
#include_next <nettle/sha2.h>
#undef nettle_sha256_digest
void nettle_sha256_digest(struct sha256_ctx *ctx, uint8_t *digest);
HEADER
cat >"$tmp/four.c" <<'SOURCE'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <nettle/sha2.h>

void nettle_sha256_digest(struct sha256_ctx *ctx, uint8_t *digest)
{
	void (*three)(struct sha256_ctx *, size_t, uint8_t *) = dlsym(RTLD_NEXT, "nettle_sha256_digest");

	three(ctx, SHA256_DIGEST_SIZE, digest);
}
SOURCE
cc -shared -fPIC "-I$tmp/include" -Wl,-soname,libnettle.so.9,--no-as-needed -o "$tmp/lib/libnettle.so.9" "$tmp/four.c" -lnettle
# pc VERSION
pc() {
	printf 'Name: nettle\nDescription: a stand-in\nVersion: %s\nCflags: -I%s\n' "$1" "$tmp/include" >"$tmp/pc/nettle.pc"
}
# configure DIR
configure() {
	PKG_CONFIG_PATH=$tmp/pc cmake -S "$repo" -B "$1" -DVMM_TESTS=OFF >"$tmp/log" || { tail -n 5 "$tmp/log" && exit 1; }
}

pc 5.0
configure "$tmp/five"
grep -q 'container images: off' "$tmp/log" || fail 'a version that is not known is taken for one that is'

pc 4.0
configure "$tmp/build"
cmake --build "$tmp/build" -j 2 --target vmm >"$tmp/log" 2>&1 || { grep -m 5 error "$tmp/log" && exit 1; }
cd "$tmp"
mkdir root
echo text >root/file
tar -C root -cf layer.tar .
make_docker image.tar test:1 '"Cmd":["/bin/true"]' layer.tar
LD_LIBRARY_PATH=$tmp/lib LD_DEBUG=files LD_DEBUG_OUTPUT=$tmp/loaded "$tmp/build/bin/vmm" image build docker-archive:image.tar it.squashfs || fail 'no image is unpacked'
[ -s it.squashfs ] || fail 'the image is empty'
grep -qF "$tmp/lib/libnettle.so.9" loaded.* || fail 'it has loaded another nettle'
finish
