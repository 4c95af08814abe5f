# What a start costs as the machine grows, as more start at once, and by the kernel's packing; counted. Sourced, not run.
# (Over virtual CPUs: starts.sh.)
# shellcheck shell=bash disable=SC2154,SC2034

curves_prepare() {
	local point sizes='256 512 1024 2048' disk_counts='0 1 2 4 8' copies='1 4 16' flavour without_acpi=qemu kernels=$flavours
	[ "$smallest" != small ] || without_acpi="qemu-noacpi"
	[ -z "$quick" ] || sizes='256 1024' disk_counts='' copies='' kernels=$smallest
	ways_of_kernel
	curve memory 'guest memory, MiB' "$sizes" vmm kvmtool "$without_acpi"
	curve disks 'disks' "$disk_counts" vmm kvmtool qemu
	curve starts 'machines started at once, each' "$copies" vmm kvmtool "$without_acpi"
	for flavour in $kernels; do
		describe "curve-kernel.$flavour" '10^9 instructions' lower "$(title_of "$flavour"), packed with $(codec "$flavour")"
		add_run "curve-kernel.$flavour" vmm "${ways[@]}"
	done
	# Disks that nobody uses, all of one size.
	for ((point = 0; point < 8; point++)); do
		truncate -s 4M "$place/disk$point"
	done
	warm_up vmm kvmtool qemu "$without_acpi"
	for flavour in $kernels; do
		[[ " ${ways[*]} " != *" vmm-cold "* ]] || boot_one vmm "$flavour" || true # into the cache
	done
}

# curve NAME LABEL POINTS PEER...
curve() {
	local point
	for point in $3; do
		describe "curve-$1.$point" '10^9 instructions' lower "$2: $point"
		add_run "curve-$1.$point" "${@:4}"
	done
}

# Sets $ways, as far as this vmm knows them: the kernel unpacked beforehand, or by itself; without the cache of unpacked
# kernels, and with one that is empty.
ways_of_kernel() {
	local help
	help=$("$place/vmm" --help)
	ways=(vmm-vmlinux)
	[[ $help != *" --unpack "* ]] || ways+=(vmm-guest)
	[[ $help != *" --kernel-cache "* ]] || ways+=(vmm-nocache vmm-cold)
}

# codec FLAVOUR - of the bzImage's payload (offset and length are in the setup header)
codec() {
	local image=$place/kernel-$1 sectors offset
	sectors=$(od -An -tu1 -j 497 -N 1 "$image")
	offset=$(od -An -tu4 -j 584 -N 4 "$image")
	case $(od -An -tx1 -j $(((sectors + 1) * 512 + offset)) -N 4 "$image") in
	' 1f 8b'*) echo gzip ;;
	' 02 21 4c 18') echo lz4 ;;
	' fd 37 7a 58') echo xz ;;
	' 28 b5 2f fd') echo zstd ;;
	' 5d 00 00'*) echo lzma ;;
	*) echo 'something else' ;;
	esac
}

curves_measure() {
	local point=${1#*.} copies=1 disks=() memory=256 words=$default_words first seen ended used
	local flavour=$smallest limit number
	case $1 in
	curve-memory.*) memory=$point ;;
	curve-disks.*) for ((number = 0; number < point; number++)); do disks+=("$place/disk$number"); done ;;
	curve-starts.*) copies=$point ;;
	curve-kernel.*) flavour=$point words+=' cryptomgr.notests' ;;
	esac
	limit=$((6 + 2 * copies))
	[[ $1 != curve-disks.* || $2 != kvmtool || $point -le 4 ]] || { why='takes four disks at most' && return 1; }
	if [ "$2" = vmm-cold ]; then
		cold_start "$flavour" || return 1
	else
		boot_one "$2" "$flavour" "$copies" || return 1
	fi
	record "$1" "$(million $((ended / 1000 / copies)))"
}

# cold_start FLAVOUR
cold_start() {
	local XDG_CACHE_HOME=$place/cold
	rm -rf "$place/cold"
	mkdir "$place/cold"
	export XDG_CACHE_HOME
	boot_one vmm "$1"
}
