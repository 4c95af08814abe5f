#!/usr/bin/env bash
# Fifty commands side by side on two CPUs, each with its own input, output and status. MANY=N for more or fewer.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

prepare_more() {
	stage_modules plain
}
enter_lab cloud -- --cpus 2 --memory 5120 --timeout 550
begin_command
# A sanitizer takes several times the memory.
side_by_side=${MANY:-${VMM_TEST_SANITIZER:+12}}
side_by_side=${side_by_side:-50}

# What a kernel needs comes from beside it, which is less than all the modules that are there.
release=$(<"$VMM_IMAGES/kernel-cloud/version")
mkdir -p "$tmp/many/lib/modules" "$tmp/many/boot"
cp -r "$stage/modules-plain" "$tmp/many/lib/modules/$release"
mv "$tmp/kernel-cloud" "$tmp/many/boot/vmlinuz-$release"
options=(--kernel "$tmp/many/boot/vmlinuz-$release" --boot-timeout 100 --memory 80)

# launch_number I - command I in the background; sets $pid
launch_number() {
	"${user[@]}" "$vmm" "${options[@]}" --root "$tmp/root" -- sh -c "cat; exit $1" <<<"$1" >"$tmp/many.$1" 2>&1 &
	pid=$!
	children[$pid]=many
}

# await_number I PID - whether it ended as it should
await_number() {
	local got=0
	wait "$2" || got=$?
	unset "children[$2]"
	[ "$got $(<"$tmp/many.$1")" != "$1 $1" ] || return 0
	echo "number $1: status $got, $(text "many.$1")"
	return 1
}

# spins_alone I - whether the only CPU of that guest waited for a spin lock, so that it held it: after an interrupt where interrupts
# are off, which QEMU delivers at times (emulator_failed in lib.sh). Where the kernel spins, another guest says.
spins_alone() {
	local at first next
	at=$(sed -n 's/^vmm: vCPU 0 was at 0x\([0-9a-f]*\).*/0x\1/p' "$tmp/many.$1")
	[ -n "$emulated" ] && [ -n "$at" ] || return 1
	read -r first next < <("${user[@]}" "$vmm" "${options[@]}" --root "$tmp/root" -- \
		grep -A 1 -w native_queued_spin_lock_slowpath /proc/kallsyms | awk '{ printf "0x%s ", $1 }')
	# A random base keeps what is below 2 MiB.
	[ $(((at - first) & 0x1fffff)) -lt $((next - first)) ]
}

many=()
for ((i = 1; i <= side_by_side; i++)); do
	launch_number "$i"
	many+=("$pid")
done
right=0 again=0
for ((i = 1; i <= side_by_side; i++)); do
	if await_number "$i" "${many[i - 1]}"; then
		right=$((right + 1))
	elif [ "$again" = 0 ] && spins_alone "$i"; then
		note "the emulator failed; number $i is run once more"
		again=1
		launch_number "$i"
		await_number "$i" "$pid" && right=$((right + 1))
	fi
done
equal 'side by side: right statuses and outputs' "$side_by_side" "$right"
nothing_left 'side by side'
finish
