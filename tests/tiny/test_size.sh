#!/usr/bin/env bash
# How large the program is without its symbols, what it is linked with, and that nothing is lost by that: backtraces are whole.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

! sanitized "$vmm" || skip 'a vmm with sanitizers is larger'
command -v strip >/dev/null || skip 'strip is missing (Debian: binutils)'

most_bytes=433000 # linked dynamically: 400000 for the machine and its commands, the rest for shared directories and container images

strip -o "$tmp/vmm" "$vmm"
bytes=$(stat -c %s "$tmp/vmm")
# grep reads all of it: with -q it may leave while the other still writes, which then fails, and with it the pipe.
if readelf -d "$vmm" | grep NEEDED >/dev/null; then
	note "$bytes bytes"
	between 'bytes of the stripped program' "$bytes" 100000 $most_bytes
	# Each library takes time at every start.
	others=$(readelf -d "$vmm" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vE '^(libc\.so|ld-linux)' || true)
	[ -z "$others" ] || fail "it needs libraries besides the C library: $others"
	# Newer C libraries give old functions new versions, and their headers take these.
	promised=$(sed -n 's/.*glibc \(2\.[0-9]*\) or newer.*/\1/p' "$repo/README.md")
	libc=$(getconf GNU_LIBC_VERSION)
	if [ "$(printf '2.37\n%s\n' "${libc#glibc }" | sort -V | tail -n 1)" = 2.37 ]; then
		newest=$(readelf -VW "$vmm" | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | tail -n 1)
		note "it asks for $newest"
		[ "$(printf '%s\n' "$newest" "GLIBC_$promised" | sort -V | tail -n 1)" = "GLIBC_$promised" ] ||
			fail "it asks for $newest, and README.md says $promised"
	else
		note "which C library it asks for is not looked at with $libc"
	fi
else
	note "a static program of $bytes bytes; its size is measured by another test"
fi

if command -v gdb >/dev/null && readelf -S "$vmm" | grep ' \.debug_info' >/dev/null; then
	# A debugger looks for the program's file where the program would find it.
	"$vmm" --kernel "$guests/idle.bz64" --log-level error --sandbox off </dev/null >/dev/null &
	pid=$!
	wait_until 10 runs_guest "$pid" || fail 'the guest does not start'
	sleep 0.3
	gdb -q -batch -nx -p "$pid" -ex 'thread apply all backtrace' >"$tmp/bt" 2>&1 || true
	for function in main run_until_end vcpu_thread evloop_thread; do
		grep -qE "[ (]$function " "$tmp/bt" || fail "$function is not in the backtraces"
	done
	[ $failures = 0 ] || head -n 60 "$tmp/bt"
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
	# The start's code is given back, but not with a breakpoint in it.
	gdb -q -batch -nx -ex 'break virtq_pop' -ex 'break vmm_stop' -ex run -ex 'info breakpoints' \
		--args "$vmm" --kernel "$guests/spin.bz64" --log-level error --sandbox off --timeout 3 </dev/null >"$tmp/bt" 2>&1 || true
	grep -qE 'hit Breakpoint.*vmm_stop' "$tmp/bt" || fail "a breakpoint is not hit: $(tail -n 5 "$tmp/bt")"
else
	note 'no gdb, or no debug information: backtraces are not tried'
fi
finish
