#!/usr/bin/env bash
# libvmm.a and vmm.h alone make a program: two VMs in one process, and nothing left behind.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

truncate -s 1M "$tmp/disk.img"

# two_vms WHAT LIBRARY ROUNDS FLAG...
two_vms() {
	local what=$1 library=$2 rounds=$3 libs since
	shift 3
	read -ra libs < <(sed -n 's/^Libs:.*-lvmm //p' "${library%/*}/vmm.pc")
	cc -std=gnu11 -O1 -g -Wall -Wextra -Werror "$@" "-I$repo/vmm/api" -o "$tmp/two_vms" "$here"/{two_vms,refused_vms,holdings}.c \
		"$library" "${libs[@]}"
	since=$(now_ms)
	run "$tmp/two_vms" "$guests/hello.bz64" "$guests/echo.pvh" "$guests/spin.bz64" "$tmp/disk.img" "$rounds"
	[ "$status" = 0 ] || fail "$what: status $status"
	[ ! -s "$tmp/out" ] || fail "$what: stdout has $(head -n 3 "$tmp/out")"
	[ ! -s "$tmp/err" ] || { fail "$what: stderr has:"; head -n 40 "$tmp/err"; }
	note "$what: $rounds rounds in $(($(now_ms) - since)) ms"
}

sanitizer_flags "$build/lib/libvmm.a"
two_vms 'two VMs' "$build/lib/libvmm.a" 20 "${flags[@]}"

debug=$build/../build-debug/lib/libvmm.a
if sanitized "$build/lib/libvmm.a"; then
	:
elif [ -e "$debug" ] && sanitized "$debug"; then
	two_vms 'two VMs under the address sanitizer' "$debug" 5 -fsanitize=address,undefined
else
	note "two VMs under the address sanitizer: not run, there is no build in $build/../build-debug"
fi
finish
