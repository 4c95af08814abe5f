#!/usr/bin/env bash
# Below the program nothing exits, prints to stdout, installs signal handlers or keeps mutable globals. assert() aborts.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:?usage: $0 BUILD-DIR}

bad=0
library=(vmm/core/*.c vmm/gdb/*.c vmm/machine/*.c vmm/api/*.c boot/*.c devices/*.c virtio/*.c)
calls='(^|[^.>_[:alnum:]])(_?exit|quick_exit|abort|err|errx|sigaction|signal|printf|puts|putchar|pthread_cancel) *\('
if grep -nE "$calls" "${library[@]}" | grep -vE '^[^:]*:[0-9]+:\s*(/?\*|//)|^vmm/core/assert\.c:[0-9]+:\sabort\(\);'; then
	echo 'not in a library'
	bad=1
fi

# Functions with variable arguments are compiled without the registers of floating point (VMM_VARIADIC), and would print what is not there. One
# file parses numbers with a fraction, and gives back whole ones.
if grep -nE '(^|[^%])%[-+ #0-9.*]*l?[aefgAEFG]\>|\<(double|float)\>' "${library[@]}" vmm/{cli,image}/*.c {vmm/*,boot,devices,virtio}/*.h |
	grep -vE '^vmm/cli/value\.c:|^[^:]*:[0-9]+:\s*(/?\*|//)|stat -c |"%G " VM_KVM_DEVICE|group=\\"float'; then
	echo 'floating point in a program that keeps none for its variable arguments'
	bad=1
fi

# Symbols in sections that can change: log's level and sink alone. (Sanitizers and coverage add their own.)
if command -v objdump >/dev/null && [ -e "$build/lib/libvmm.a" ]; then
	globals=$(objdump -t "$build/lib/libvmm.a" |
		awk 'NF > 3 && $(NF-2) ~ /^\.(data|bss)/ && $(NF-2) !~ /^\.data\.rel\.ro/ && $NF !~ /^\./ {print $NF}' |
		grep -vE '^(log_threshold|log_sink|log_sink_arg)$|^(__|_GLOBAL_|\*)' | sort -u || true)
	if [ -n "$globals" ]; then
		printf 'mutable globals in the library:\n%s\n' "$globals"
		bad=1
	fi
fi
# What a program that links the library sees of it.
if command -v nm >/dev/null && [ -e "$build/lib/libvmm.a" ]; then
	names=$(nm -g "$build/lib/libvmm.a" | awk 'NF == 3 && $2 != "U" {print $3}' | grep -vE '^(vmm_|__gcov|__asan|__odr)' || true)
	if [ -n "$names" ]; then
		printf 'libvmm.a shows names that are not in vmm.h:\n%s\n' "$names"
		bad=1
	fi
fi
exit $bad
