# What tests ask a guest about its kernel's addresses; sourced after lib.sh, not run.
# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # some variables are those of lib.sh, or are for the tests

linked_base=ffffffff81000000
linked_code=01000000
seed_left=0 # bytes of the seed that this kernel leaves

# The flags are those of the boot parameters (loadflags); a seed that was taken has no bytes any more.
tell_place='
	echo "base: $(grep -m 1 " [Tt] _text$" /proc/kallsyms)"
	echo "code: $(grep -m 1 "Kernel code" /proc/iomem)"
	set -- $(od -An -tu1 -j529 -N1 /sys/kernel/boot_params/data)
	echo "flag: $(($1 & 2))"
	echo "seed: $(cat /sys/kernel/boot_params/setup_data/0/type) $(wc -c </sys/kernel/boot_params/setup_data/0/data)"
	echo "complaints: $(dmesg | grep -E "BUG:|KASLR disabled|relocation|Unknown kernel command line" | grep -vc nokaslr)"
'

# place - sets $base and $code, in hexadecimal digits
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

# moved NAME - it is elsewhere, and knows
moved() {
	place
	check "$1: moved" "$base at $code" [ "$base $code" != "$linked_base $linked_code" ]
	equal "$1: KASLR_FLAG" 2 "$(value flag)"
}

# Counts different lines.
different() {
	printf '%s\n' "$@" | sort -u | wc -l
}

# moves_about SCRIPT BOOTS ENOUGH-BASES ENOUGH-CODES - the kernel of this flavour is at so many different addresses at the least, virtual and
# physical ones: of some 480 and 90 that there are, chance takes one twice now and then. Two machines run at a time.
moves_about() {
	local i name n bases=() codes=()
	for ((i = 0; i < $2; i += 2)); do
		start "$flavour-$i" "$1" --timeout 120
		start "$flavour-$((i + 1))" "$1" --timeout 120
		for name in "$flavour-$i" "$flavour-$((i + 1))"; do
			powers_off "$name"
			place
			bases+=("$base") codes+=("$code")
			check "$name: aligned, in its range" "$base at $code" \
				matches "$base $code" "ffffffff[89ab]?[02468ace]00000 ??[02468ace]00000" # 2 MiB and 1 GiB
			equal "$name: KASLR_FLAG" 2 "$(value flag)"
			equal "$name: seed" "0x9 $seed_left" "$(value seed)"
			equal "$name: complaints" 0 "$(value complaints)"
			check "$name: modules" "$(value modules)" [ "$(value modules)" -gt 3 ]
		done
	done
	n=$(different "${bases[@]}")
	check "$flavour: virtual addresses" "$n different ones in $2 boots" [ "$n" -ge "$3" ]
	n=$(different "${codes[@]}")
	check "$flavour: physical addresses" "$n different ones in $2 boots" [ "$n" -ge "$4" ]
}
