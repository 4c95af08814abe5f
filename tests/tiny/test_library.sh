#!/usr/bin/env bash
# libvmm.a and vmm.h alone make a program: two VMs in one process, and nothing left behind.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

truncate -s 1M "$tmp/disk.img"

# build_with LIBRARY FLAG... -- PROGRAM SOURCE...
build_with() {
	local library=$1 libs options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	read -ra libs < <(sed -n 's/^Libs:.*-lvmm //p' "${library%/*}/vmm.pc")
	cc -std=gnu11 -O1 -g -Wall -Wextra -Werror "${options[@]}" "-I$repo/vmm/api" -o "$2" "${@:3}" "$library" "${libs[@]}"
}

# two_vms WHAT LIBRARY ROUNDS FLAG...
two_vms() {
	local what=$1 library=$2 rounds=$3 since
	shift 3
	build_with "$library" "$@" -- "$tmp/two_vms" "$here"/{two_vms,refused_vms,forked_vms,holdings}.c
	since=$(now_ms)
	run "$tmp/two_vms" "$guests/hello.bz64" "$guests/echo.pvh" "$guests/spin.bz64" "$tmp/disk.img" "$rounds"
	[ "$status" = 0 ] || fail "$what: status $status"
	[ ! -s "$tmp/out" ] || fail "$what: stdout has $(head -n 3 "$tmp/out")"
	[ ! -s "$tmp/err" ] || { fail "$what: stderr has:"; head -n 40 "$tmp/err"; }
	note "$what: $rounds rounds in $(ms_since "$since") ms"
}

sanitizer_flags "$build/lib/libvmm.a"
build_with "$build/lib/libvmm.a" "${flags[@]}" -- "$tmp/one_vm" "$here/one_vm.c"
run "$tmp/one_vm" "$guests/spin.bz64"
[ "$status" = 0 ] && [ ! -s "$tmp/out" ] || fail "one VM: status $status, $(cat "$tmp/out" "$tmp/err")"
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
