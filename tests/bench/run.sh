#!/usr/bin/env bash
# Measures vmm against every other program of its kind that is installed, and writes a page with tables and pictures.
#
#   tests/bench/run.sh [--quick] [--docs] [--report] [--patience N] [GROUP...]
#     --quick    3 minutes instead of 20: fewer rounds and points, for a first look
#     --docs     the page is docs/performance.md, and results go to docs/performance/; else both go to build/bench/
#     --report   measures nothing, and makes the page of the results that are there
#     --patience N  lets everything take N times as long, where other work slows this machine down
#
# GROUP is what to measure, all of it without one; what is not measured keeps its earlier results:
#     boot    from exec to exit, counted instructions, by kernel
#     curves  the same over memory, disks, starts at once, and the kernel's packing
#     disk    a disk under load, counted instructions
#     net     a network card under load, counted instructions
#     share   a shared directory under load, counted instructions
#     starts  start and end of a guest of a few instructions, by memory and virtual CPUs, in time, on this machine's /dev/kvm
#             whatever its kind
#     load    disk and network card, in time, with two CPUs
#
# Counted groups run in the lab (tests/lab/run.sh --icount), load where KVM is real, in the lab if it is not here. A group that
# takes too long is cut off and has fewer rounds. Others than vmm are found on PATH: qemu-system-x86_64, lkvm (kvmtool),
# firecracker, cloud-hypervisor. Kernels are made by guest-images/; a small one, build/images/kernel-small, is used if it is
# there (guest-images/kernel.sh small makes it, in some minutes).
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/bench/peers.sh
. "$bench/peers.sh"

all_groups=(boot curves disk net share starts load)
# Rounds, and seconds after which it is cut off: all at once are below 20 minutes, the quick ones below 3.
declare -A rounds=([boot]=2 [curves]=2 [disk]=2 [net]=2 [share]=1 [starts]=200 [load]=6)
declare -A seconds=([boot]=390 [curves]=240 [disk]=90 [net]=60 [share]=900 [starts]=60 [load]=300)
declare -A quick_rounds=([boot]=1 [curves]=1 [disk]=1 [net]=1 [share]=1 [starts]=30 [load]=1)
declare -A quick_seconds=([boot]=65 [curves]=30 [disk]=25 [net]=20 [share]=300 [starts]=10 [load]=25)

usage() {
	die "usage: run.sh [--quick] [--docs] [--report] [--patience N] [boot|curves|disk|net|share|starts|load]..."
}

parse_options() {
	quick='' page=$repo/build/bench/performance.md report_only='' patience=1
	groups=()
	command_line="tests/bench/run.sh${*:+ $*}"
	while [ $# -gt 0 ]; do
		case $1 in
		--quick) quick=yes ;;
		--docs) page=$repo/docs/performance.md ;;
		--report) report_only=yes ;;
		--patience)
			patience=${2-}
			[[ $patience = [1-9] ]] || usage
			shift
			;;
		-*) usage ;;
		*)
			[ -n "${rounds[$1]-}" ] || usage
			groups+=("$1")
			;;
		esac
		shift
	done
	[ ${#groups[@]} -gt 0 ] || groups=("${all_groups[@]}")
	data=${page%.md}
}

# ---- what is needed ----

build_vmm() {
	build=$repo/build
	need "${build_tools[@]}" "${image_tools[@]}"
	{ cmake -S "$repo" -B "$build" && cmake --build "$build" --target vmm; } >"$work/log" 2>&1 ||
		{ cat "$work/log" >&2 && die 'vmm does not build'; }
}

# Sets $flavours, the kernels that are measured; the smallest is the last.
make_images() {
	local flavour
	flavours='cloud'
	[ -n "$quick" ] || flavours='cloud-6.12 cloud'
	[ ! -e "$images/kernel-small/version" ] || flavours+=' small'
	for flavour in $flavours; do
		"$guest_images/vmlinux.sh" "$flavour"
	done
	"$guest_images/initramfs-min.sh"
}

compile() {
	gcc -std=gnu11 -O2 -s -static -Wall -Wextra -o "$@"
}

# What goes to the machine where it is measured, all in one directory.
make_stage() {
	local tree=$work/tree flavour=${flavours##* }
	mkdir -p "$stage" "$tree"
	compile "$stage/stopwatch" "$bench/stopwatch.c"
	compile "$stage/floor" "$bench/floor.c"
	compile "$stage/load" "$bench"/load*.c
	cp "$images/initramfs-min.cpio" "$stage/min.cpio"
	# The first process is ours where no modules are needed, else the one that loads them and then runs ours.
	cp "$stage/load" "$tree/bench"
	if [ "$flavour" = small ]; then
		ln -s bench "$tree/init"
		make_cpio "$tree" >"$stage/load-small.cpio"
	else
		"$guest_images/initramfs.sh" "$flavour"
		make_cpio "$tree" | cat "$images/initramfs-$flavour.cpio" - >"$stage/load-$flavour.cpio"
	fi
	make_share_stage
	gcc -c -DPVH -DBEHAVIOUR=say_and_end "-I$guest_images/tiny" -o "$work/guest.o" "$bench/guest.S"
	ld -n -T "$guest_images/tiny/pvh.lds" -z noexecstack -o "$stage/tiny.pvh" "$work/guest.o"
	gcc -c -DBZIMAGE64 -DBEHAVIOUR=say_and_end "-I$guest_images/tiny" -o "$work/guest.o" "$bench/guest.S"
	ld -Ttext=0 -e 0 --oformat binary -z noexecstack -o "$stage/tiny.bz64" "$work/guest.o"
}

# What a guest needs for a shared directory: modules, and the programs that are run there.
make_share_stage() {
	local tree=$work/share scratch=$work/scratch file
	[[ " ${groups[*]} " = *' share '* ]] || return 0
	"$guest_images/source-tree.sh" || return 0
	mkdir -p "$tree"/{bin,dev,proc,sys,root,etc} "$scratch"
	kernel_of cloud
	copy_modules "$tree" virtio_pci virtiofs
	build_init "$tree"
	cp "$stage/load" "$tree/bench"
	cp "$(command -v git)" "$(command -v busybox)" "$tree/bin/"
	while read -r file; do
		mkdir -p "$tree${file%/*}"
		cp -L "$file" "$tree$file"
	done < <(ldd "$(command -v git)" | grep -o '/[^ ]*')
	make_cpio "$tree" >"$stage/share.cpio"
}

# ---- measuring ----

# describe_machine - what a reader has to know about where the results come from, and no more of this machine
describe_machine() {
	local peer
	note fact command "$command_line"
	note fact cpu "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs$(kvm_is_real ||
		echo ', without VT-x and AMD-V')"
	note fact kernel "Linux $(uname -r | grep -o '^[0-9.]*[0-9]')"
	note fact load "$(cut -d ' ' -f 1 /proc/loadavg)"
	for peer in vmm kvmtool qemu firecracker cloud-hypervisor; do
		if installed "$peer"; then
			note fact "$peer" "$(version_of "$(program_of "$peer")")"
		else
			note missing "$peer" 'not installed'
		fi
	done
}

# where_is GROUP SECONDS - sets $runner, and $counted and $place_name for it
where_is() {
	local emulator
	emulator="emulated by $(qemu-system-x86_64 --version 2>/dev/null | head -n 1 || true)"
	counted='' runner=("$repo/tests/lab/run.sh" --timeout "$2" --write "$data")
	case $1 in
	starts)
		runner=(timeout --foreground -k 5 "$2")
		place_name="this machine's /dev/kvm"
		;;
	load)
		runner+=(--cpus 2 --)
		place_name='this machine, KVM'
		kvm_is_real || place_name="a machine with AMD-V and two CPUs, $emulator"
		;;
	*)
		runner+=(--icount --)
		counted=yes
		place_name="a machine with AMD-V and one CPU, $emulator; its clock counts instructions"
		;;
	esac
}

# measure GROUP - earlier results are replaced once there are new ones
measure() {
	local number limit status=0 began=$SECONDS
	group=$1
	number=${rounds[$1]} limit=${seconds[$1]}
	[ -z "$quick" ] || number=${quick_rounds[$1]} limit=${quick_seconds[$1]}
	limit=$((limit * patience))
	if [ "$1" = starts ] && ! (: <>/dev/kvm) 2>/dev/null; then
		say "$1: /dev/kvm cannot be opened here"
		return
	fi
	rm -rf "$work/results"
	mkdir "$work/results"
	data=$work/results
	run_group "$number" || status=$?
	describe_machine
	note fact place "$place_name"
	note fact rounds "$number"
	[ $status = 0 ] || note fact cut "$(why_cut $status)"
	say "$1: $((SECONDS - began)) s$([ $status = 0 ] || echo ", cut off (status $status)")"
	if grep -q '^run' "$data/$1.tsv"; then
		grep -v '^begin' "$data/$1.tsv" >"${page%.md}/$1.tsv"
	else
		say "$1: no results"
	fi
	data=${page%.md}
}

# run_group ROUNDS - a machine whose clock counts may hang for ever at what it runs (tests/lab/run.sh says why): another one then
# goes on with what comes after that.
run_group() {
	local status last end=$((SECONDS + limit)) longest=$((60 + 15 * patience))
	while :; do
		status=0
		where_is "$group" $((end - SECONDS))
		local -x BENCH_BUILD=$build BENCH_STAGE=$stage BENCH_DATA=$data BENCH_FLAVOURS=$flavours BENCH_QUICK=$quick \
			BENCH_COUNTED=$counted
		if [ -z "$counted" ]; then
			"${runner[@]}" "$bench/inside.sh" "$group" "$1" </dev/null
			return
		fi
		"${runner[@]}" "$bench/inside.sh" "$group" "$1" </dev/null &
		child=$!
		if moves_on "$longest"; then
			wait "$child" || status=$?
			child=''
			return $status
		fi
		end_child
		last=$(grep -E '^(begin|run|fail)' "$data/$group.tsv" | tail -n 1)
		[[ $last != begin* ]] || note fail "${last#*$'\t'}" "nothing for $longest s; this or the emulated machine hung"
		[ $((end - SECONDS)) -gt 30 ] || return 124
	done
}

# moves_on SECONDS - until $child has ended; not where nothing new came from it for so long
moves_on() {
	local size before='' since=$SECONDS
	while kill -0 "$child" 2>/dev/null; do
		sleep 1
		size=$(stat -c %s "$data/$group.tsv" 2>/dev/null || true)
		[ "$size" = "$before" ] || since=$SECONDS
		before=$size
		[ -z "$size" ] || [ $((SECONDS - since)) -lt "$1" ] || return 1
	done
}

end_child() {
	[ -n "$child" ] || return 0
	kill "$child" 2>/dev/null || true
	wait "$child" || true
	child=''
}

why_cut() {
	case $1 in
	77 | 124) echo "cut off after $limit s" ;;
	*) echo "ended early, with status $1" ;;
	esac
}

parse_options "$@"
mkdir -p "$repo/build/bench" "$data"
work=$(mktemp -d "$repo/build/bench/run-XXXXXX")
child=''
trap 'end_child; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
stage=$work/stage
if [ -z "$report_only" ]; then
	build_vmm
	make_images
	make_stage
	for name in "${groups[@]}"; do
		measure "$name"
	done
fi
"$bench/report.sh" "$data" "$page"
say "$page"
