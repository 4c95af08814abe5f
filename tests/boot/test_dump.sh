#!/usr/bin/env bash
# A guest that panics leaves a dump that gdb and crash read, with and without random addresses, and its last messages.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

# Where two variables are: a text of the kernel's image, and a pointer to memory that was allocated.
panic='grep -E " (linux_banner|saved_command_line)$" /proc/kallsyms
	echo last words >/dev/kmsg
	echo c >/proc/sysrq-trigger'

missing=
# address NAME VARIABLE
address() {
	local address name
	while read -r address _ name; do
		[ "${name%$'\r'}" != "$2" ] || echo "0x$address"
	done <"$tmp/$1.console"
}

# has NAME FILE PATTERN...
has() {
	local pattern
	for pattern in "${@:3}"; do
		check "$1: $pattern" "$(grep -m 1 -- "$pattern" "$2" || tail -n 3 "$2")" grep -q -- "$pattern" "$2"
	done
}

# panics NAME KERNEL-WORD - and is looked at
panics() {
	local core=$tmp/$1.core
	words=$2 start "$1" "$panic" --cpus 2 --console "file=$tmp/$1.console" --dump-guest "$core" --timeout 120
	await "$1"
	equal "$1: status" 123 "$status"
	has "$1" "$tmp/$1.err" '^vmm: a dump of the guest was written$' '^vmm: kernel: \[.*\] last words$' \
		'^vmm: kernel: \[.*\] Kernel panic - not syncing: sysrq triggered crash$'
	equal "$1: mode" 600 "$(stat -c %a "$core")"
	check "$1: size" "$(du -k "$core" | cut -f 1) KiB of $(stat -c %s "$core") bytes" \
		between "$(du -k "$core" | cut -f 1)" 10000 200000
	if command -v gdb >/dev/null; then
		# shellcheck disable=SC2016 # it is gdb's
		gdb -nx -q -batch -c "$core" -ex 'info threads' -ex 'x/gx $rsp' -ex "x/s $(address "$1" linux_banner)" \
			-ex "x/s *(char **)$(address "$1" saved_command_line)" >"$tmp/gdb" 2>&1 || true
		has "$1: gdb" "$tmp/gdb" 'LWP 2' '^0xffff[0-9a-f]*:.0x[0-9a-f]*$' ':.*"Linux version 6' ':.*"console=ttyS0.*vmm\.run='
	else
		missing=gdb
	fi
	if command -v crash >/dev/null; then
		crash --osrelease "$core" >"$tmp/crash" 2>&1 || true
		equal "$1: crash --osrelease" "$(<"$VMM_IMAGES/kernel-cloud/version")" "$(<"$tmp/crash")"
	else
		missing=crash
	fi
	rm -f "$core"
}

panics 'fixed addresses' nokaslr
panics 'random addresses' ''
[ -z "$missing" ] || [ "$failures" != 0 ] || skip "$missing is missing: a dump was not opened by it; all else is well"
finish
