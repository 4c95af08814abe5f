#!/usr/bin/env bash
# Whether the program and the library have what cmake/hardening.cmake asks for.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
build=$(cd "${1:?usage: $0 BUILD-DIR}" && pwd)
vmm=$build/bin/vmm library=$build/lib/libvmm.a

command -v readelf >/dev/null || skip 'readelf is missing (Debian: binutils)'
! sanitized "$vmm" || skip 'with a sanitizer there is less of it'
LC_ALL=C
export LC_ALL

# has WHAT FILE PATTERN OPTION-OF-READELF...
has() {
	readelf -W "${@:4}" "$2" | grep -E -- "$3" >/dev/null || fail "$2: no $1"
}

has 'addresses of its own choice (PIE)' "$vmm" 'Type: +DYN' -h
has 'read-only relocations' "$vmm" '^ +GNU_RELRO' -l
has 'binding at the start, so that they are all read-only' "$vmm" 'FLAGS_1.*NOW' -d
has 'stack that is not executable' "$vmm" '^ +GNU_STACK .* RW +0x' -l
! readelf -lW "$vmm" | grep -E '^ +LOAD .* RWE ' || fail "$vmm: memory that is writable and executable"
! readelf -dW "$vmm" | grep TEXTREL || fail "$vmm: relocations in code"
has 'protected stacks' "$vmm" '__stack_chk_fail' -s
has 'functions that know the size of buffers (FORTIFY)' "$vmm" '__memcpy_chk' -s
has 'functions that know the size of buffers (FORTIFY)' "$library" '__memcpy_chk' -s
has 'protected stacks' "$library" '__stack_chk_fail' -s

# gcc notes what each file was compiled with, but for the preprocessor's flags.
flags=(-fPIC -fstack-protector-strong)
! grep -q '^VMM_HAVE_ZERO_INIT:INTERNAL=1' "$build/CMakeCache.txt" || flags+=(-ftrivial-auto-var-init=zero)
if grep -q '^VMM_HAVE_CET:INTERNAL=1' "$build/CMakeCache.txt"; then
	has 'shadow stack' "$vmm" SHSTK -n
	flags+=(-fcf-protection=full)
else
	note 'no shadow stack, for the C library has none'
fi
readelf -p .debug_str "$vmm" 2>/dev/null | grep -oE 'GNU C[0-9]+ .*' | grep -v -- ' -ffreestanding' | sort -u >"$build/compiled-with" || true
if [ -s "$build/compiled-with" ]; then
	for flag in "${flags[@]}"; do
		! grep -v -- " $flag\b" "$build/compiled-with" || fail "compiled without $flag"
	done
	note "compiled in $(wc -l <"$build/compiled-with") ways, all with ${flags[*]}"
else
	note 'how the files were compiled is not known: no debug information of gcc'
fi
finish
