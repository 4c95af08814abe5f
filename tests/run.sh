#!/usr/bin/env bash
# Builds and runs every test; installs what is missing by apt, which needs root rights.
#   tests/run.sh [LABEL...]    unit, lint, proofs, tiny, hostile, boot, package; all of them without one
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repo"
# shellcheck source-path=SCRIPTDIR source=../guest-images/lib.sh
. guest-images/lib.sh

lab_tools=()
kvm_is_real || lab_tools=(qemu-system-x86_64:qemu-system-x86)
need "${build_tools[@]}" "${image_tools[@]}" "${lab_tools[@]}" c++:g++ clang-format:clang-format shellcheck:shellcheck \
	objdump:binutils /usr/include/check.h:check dtc:device-tree-compiler iasl:acpica-tools strace:strace ps:procps ip:iproute2 \
	ping:iputils-ping gdb:gdb crash:crash script:bsdutils tmux:tmux setpriv:util-linux qemu-img:qemu-utils passt:passt fio:fio newuidmap:uidmap mksquashfs:squashfs-tools mkfs.erofs:erofs-utils \
	dpkg-shlibdeps:dpkg-dev lintian:lintian git:git
jobs=$(nproc)

# build DIR TARGETS CMAKE-OPTION...
build() {
	local dir=$1 targets
	read -ra targets <<<"$2"
	shift 2
	say "building $dir"
	mkdir -p "$dir"
	{ cmake -S . -B "$dir" -DVMM_TESTS=ON "$@" && cmake --build "$dir" --target "${targets[@]}" -j "$jobs"; } \
		>"$dir/build.log" 2>&1 || { cat "$dir/build.log" >&2 && die "$dir does not build"; }
}

# A lab takes up to 4 GiB.
labs_at_once() {
	local most
	most=$(($(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo) / (5 << 20)))
	[ "$most" -ge 1 ] || most=1
	echo $((most < jobs ? most : jobs))
}

labels=("$@")
[ $# -gt 0 ] || labels=(lint unit proofs tiny hostile boot package)

# Unit tests run with the address and undefined behaviour sanitizers, what runs a VM with the program as users get it.
build build 'vmm vmm_breakout test_virtio_vhost_real' # the lab has vhost-net, which this host may lack
build build-debug all --preset debug
status=0
for label in "${labels[@]}"; do
	dir=build
	[ "$label" != unit ] || dir=build-debug
	at_once=$jobs
	[ "$label" != boot ] || at_once=$(labs_at_once)
	say "running the $label tests"
	ctest --test-dir "$dir" -L "^$label\$" --output-on-failure --no-tests=error -j "$at_once" || status=1
done
exit $status
