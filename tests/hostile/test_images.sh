#!/usr/bin/env bash
# Guests that attack disks whose images have a format: qcow2, and overlays that are kept.
set -euo pipefail
# shellcheck source=tests/hostile/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command -v qemu-img >/dev/null || skip 'qemu-img (package qemu-utils) is missing, which makes the images'
make_base
# Some clusters of its own, of 4 KiB each, some that read as zeros, and the rest below.
qemu-img create -q -f qcow2 -o cluster_size=4096,backing_file="$tmp/base",backing_fmt=raw "$tmp/base.qcow2"
qemu-io -c 'write -q -P 1 0 64k' -c 'write -q -z 128k 64k' -c 'write -q -P 2 1020k 4k' "$tmp/base.qcow2" >/dev/null
qemu-img convert -q -c -f raw -O qcow2 "$tmp/base" "$tmp/packed.qcow2"

export HOSTILE_IMAGES=yes
themes=(config chains race requests flood wild)
attack pci
[ -s "$tmp/hostile.first" ] && [ -s "$tmp/hostile.second" ] || fail 'the overlays were not written'
finish
