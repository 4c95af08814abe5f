#!/usr/bin/env bash
# The kernel's addresses: others at each start, or those it was linked for; and the seed for its random numbers.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud cloud-6.12 full rt -- --cpus 2

linked_base=ffffffff81000000
linked_code=01000000

# The flags are those of the boot parameters (loadflags); a seed that was taken has no bytes any more.
script='
	echo "base: $(grep -m 1 " [Tt] _text$" /proc/kallsyms)"
	echo "code: $(grep -m 1 "Kernel code" /proc/iomem)"
	set -- $(od -An -tu1 -j529 -N1 /sys/kernel/boot_params/data)
	echo "flag: $(($1 & 2))"
	echo "seed: $(cat /sys/kernel/boot_params/setup_data/0/type) $(wc -c </sys/kernel/boot_params/setup_data/0/data)"
	echo "modules: $(wc -l </proc/modules)"
	echo "complaints: $(dmesg | grep -cE "BUG:|KASLR disabled|relocation|Unknown kernel command line")"
'

# place NAME - sets $base and $code, in hexadecimal digits
place() {
	read -r base _ < <(value base)
	read -r code _ < <(value code)
	code=${code%%-*}
}

# linked NAME - it is where it was linked for, and knows
linked() {
	place
	equal "$1: virtual address" $linked_base "$base"
	equal "$1: physical address" $linked_code "$code"
	equal "$1: KASLR_FLAG" 0 "$(value flag)"
}

# Counts different lines.
different() {
	printf '%s\n' "$@" | sort -u | wc -l
}

# FLAVOUR BOOTS and how many different addresses are enough, virtual and physical ones: of some 480 and 90 that there are, chance takes
# one twice now and then. Two machines run at a time.
while read -r flavour boots enough_bases enough_codes; do
	bases=() codes=()
	for ((i = 0; i < boots; i += 2)); do
		start "$flavour-$i" "$script" --timeout 120
		start "$flavour-$((i + 1))" "$script" --timeout 120
		for name in "$flavour-$i" "$flavour-$((i + 1))"; do
			powers_off "$name"
			place
			bases+=("$base") codes+=("$code")
			check "$name: aligned, in its range" "$base at $code" \
				matches "$base $code" "ffffffff[89ab]?[02468ace]00000 ??[02468ace]00000" # 2 MiB and 1 GiB
			equal "$name: KASLR_FLAG" 2 "$(value flag)"
			equal "$name: seed" '0x9 0' "$(value seed)"
			equal "$name: complaints" 0 "$(value complaints)"
			check "$name: modules" "$(value modules)" [ "$(value modules)" -gt 3 ]
		done
	done
	n=$(different "${bases[@]}")
	check "$flavour: virtual addresses" "$n different ones in $boots boots" [ "$n" -ge "$enough_bases" ]
	n=$(different "${codes[@]}")
	check "$flavour: physical addresses" "$n different ones in $boots boots" [ "$n" -ge "$enough_codes" ]
done <<'END'
cloud 10 8 6
cloud-6.12 6 5 4
END

for flavour in full rt; do
	boot "$flavour" "$script" --cpus 2
	place
	equal "$flavour: KASLR_FLAG" 2 "$(value flag)"
	check "$flavour: moved" "$base at $code" [ "$base $code" != "$linked_base $linked_code" ]
done

flavour=cloud
words=nokaslr boot 'nokaslr' "$script"
linked 'nokaslr'
equal 'nokaslr: seed' '0x9 0' "$(value seed)"
boot 'off' "$script" --kaslr off
linked 'off'
words=nokaslr boot 'nokaslr, packed' "$script" --unpack off
linked 'nokaslr, packed'

# The kernel may not use what lies above, so it must not be there.
words='mem=160M' boot 'less memory' "$script" --memory 1G
place
equal 'less memory: physical address' $linked_code "$code"
equal 'less memory: KASLR_FLAG' 2 "$(value flag)"
finish
