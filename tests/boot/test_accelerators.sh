#!/usr/bin/env bash
# What makes a start fast can be turned off, and goes with everything else that can: all of it on, all of it off, and every pair of options.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_kaslr.sh
. "$here/lib_kaslr.sh"
enter_lab cloud cloud-6.12

columns=(unpack kernel-cache kaslr pages given memory CPUs words)
values=('on off' 'on off' 'on off' 'thp off 2M' 'prefault later' 'shared private' '2 1' 'built-in none')
# Each is one boot, and each value of a column is in a row with each value of every other.
rows='
	on  on  on  thp prefault shared  2 built-in
	off off off off later    private 1 none
	off on  off 2M  later    private 2 built-in
	on  off on  2M  prefault shared  1 none
	off on  off thp prefault private 1 none
	on  on  off off later    shared  1 built-in
	off off on  off prefault shared  2 none
	on  off on  thp later    private 2 built-in
'
size=320 # MiB

# missing_pairs - those that no row has
missing_pairs() {
	local a b x y row pair found
	for ((a = 0; a < ${#columns[@]}; a++)); do
		for ((b = a + 1; b < ${#columns[@]}; b++)); do
			for pair in $(for x in ${values[a]}; do for y in ${values[b]}; do echo "$x/$y"; done; done); do
				found=
				while read -ra row; do
					[ ${#row[@]} -gt 0 ] && [ "${row[a]}/${row[b]}" = "$pair" ] && found=yes
				done <<<"$rows"
				[ -n "$found" ] || echo "${columns[a]}/${columns[b]}=$pair"
			done
		done
	done
}

# set_aside KIB NUMBER - huge pages of that size, until the test ends
set_aside() {
	pool=/sys/kernel/mm/hugepages/hugepages-$1kB
	[ -w "$pool/nr_hugepages" ] || return 1
	undo+=("put_back $pool $(<"$pool/nr_hugepages")")
	echo $(($(<"$pool/nr_hugepages") + $2)) >"$pool/nr_hugepages" || return 1
	[ $(($(<"$pool/free_hugepages") - $(<"$pool/resv_hugepages"))) -ge "$2" ]
}

# shellcheck disable=SC2317 # called by what undoes all
put_back() {
	echo "$2" >"$1/nr_hugepages"
}

# backing PID - sets $kind, $page, $huge_kib and $flags: what is behind the largest mapping of that process, which is the guest's memory
backing() {
	read -r kind page huge_kib flags < <(awk '
		/^[0-9a-f]+-[0-9a-f]+ / { name = $6 == "" ? "private" : $6 }
		/^Size:/ { larger = $2 > largest; if (larger) { largest = $2; kind = name; huge = 0 } }
		/^KernelPageSize:/ && larger { page = $2 }
		/^(AnonHugePages|ShmemPmdMapped):/ && larger { huge += $2 }
		/^VmFlags:/ && larger { flags = $0 }
		END { print kind, page, huge, flags }
	' "/proc/$1/smaps")
}

# look NAME - at the process of that machine while its guest waits
look() {
	local given
	backing "$pid"
	case $pages in
	2M) equal "$1: size of pages" 2048 "$page" ;;
	thp) check "$1: huge pages are wanted" "$flags; $huge_kib KiB are" matches "$flags " '* hg *' ;;
	off) check "$1: no huge pages" "$flags; $huge_kib KiB are" [ "$page $huge_kib" = '4 0' ] ;;
	esac
	case $pages/$memory in
	*/shared) check "$1: memory is a file" "$kind" matches "$kind" '/memfd:*' ;;
	2M/private) check "$1: memory is private" "$kind" matches "$kind" '/anon_hugepage*' ;;
	*) check "$1: memory is private" "$kind" [ "$kind" = private ] ;;
	esac
	given=$(($(memory_of "$pid" VmHWM) + $(memory_of "$pid" HugetlbPages)))
	if [ "$when" = prefault ]; then
		check "$1: all memory was given" "$given KiB" [ $given -ge $((size * 1024)) ]
	else
		check "$1: not all memory was given" "$given KiB" [ $given -lt $((size * 1024)) ]
	fi
}

# said NAME - what vmm tells of the kernel
said() {
	local want=nothing got
	case $unpack/$cache in
	on/off) want='the kernel is unpacked' ;;
	on/on) want='the kernel is in the cache, unpacked' && [ -n "${kept[$flavour]-}" ] || want='the kernel is unpacked' && kept[$flavour]=yes ;;
	esac
	got=$(grep -oE 'the kernel is (unpacked|in the cache|left).*' "$tmp/$1.err" || echo nothing)
	equal "$1: vmm says" "$want" "$got"
}

# told NAME - what the guest tells
told() {
	equal "$1: CPUs" "$cpus" "$(value nproc)"
	check "$1: memory" "$(value memory) KiB" between "$(value memory)" $((size * 1024 * 80 / 100)) $((size * 1024))
	equal "$1: complaints" 0 "$(value complaints)"
	equal "$1: seed" '0x9 0' "$(value seed)"
	if [ "$kaslr" = on ]; then moved "$1"; else linked "$1"; fi
	if [ "$line" = built-in ]; then untested=1; else untested=0; fi
	equal "$1: ciphers without self-tests" $untested "$(value untested)"
}

declare -A kept=()
# shellcheck disable=SC2016 # for the guest
script=$tell_place'
	echo "nproc: $(nproc)"
	echo "memory: $(sed -n "s/MemTotal: *\([0-9]*\).*/\1/p" /proc/meminfo)"
	echo "untested: $(dmesg | grep -c "alg: self-tests disabled")"
	echo ready
	read -r line
'

# row FLAVOUR UNPACK CACHE KASLR PAGES WHEN MEMORY CPUS LINE
row() {
	local name options=()
	flavour=$1 unpack=$2 cache=$3 kaslr=$4 pages=$5 when=$6 memory=$7 cpus=$8 line=$9
	name="$*"
	options=(--unpack "$unpack" --kernel-cache "$cache" --kaslr "$kaslr" --cpus "$cpus" --memory "${size}M,hugepages=$pages")
	[ "$when" = later ] || options[-1]+=,prefault
	[ "$memory" = private ] || options[-1]+=,shared
	# A kernel that unpacks itself moves by itself.
	words=''
	[ "$unpack$kaslr" != offoff ] || words=nokaslr
	[ "$line" = built-in ] || words+=' cryptomgr.notests=0'
	start_gated "$name" "$script" "${options[@]}" --log-level debug --timeout 120
	if says "$name" '^ready'; then
		look "$name"
		let_go "$name"
	fi
	powers_off "$name"
	said "$name"
	told "$name"
}

missing=$(missing_pairs)
check 'every pair of options' "${missing:-is in a row}" [ -z "$missing" ]
if ! set_aside 2048 $((size / 2)); then
	note "this host sets no $size MiB of huge pages aside: rows with them have those that come and go"
	rows=${rows//2M/thp}
fi
while read -ra options; do
	[ ${#options[@]} = 0 ] || row cloud "${options[@]}"
done <<<"$rows"
while read -ra options; do
	[ ${#options[@]} = 0 ] || row cloud-6.12 "${options[@]}"
done < <(head -n 3 <<<"$rows")

if set_aside 1048576 1; then
	flavour=cloud words='' boot '1G' "${script%read*}" --memory 1G,hugepages=1G
	check '1G: memory' "$(value memory) KiB" between "$(value memory)" 950000 1048576
else
	note 'this host sets no GiB aside: that is refused, and nothing more'
	refused '1G' "vmm: cannot set * huge pages of 1024 MiB aside for the guest's memory: *" --memory 1G,hugepages=1G
fi
finish
