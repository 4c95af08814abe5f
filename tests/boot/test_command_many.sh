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

many=()
for ((i = 1; i <= side_by_side; i++)); do
	"${user[@]}" "$vmm" "${options[@]}" --root "$tmp/root" -- sh -c "cat; exit $i" <<<"$i" >"$tmp/many.$i" 2>&1 &
	children[$!]=many
	many+=($!)
done
right=0
for ((i = 1; i <= side_by_side; i++)); do
	got=0
	wait "${many[i - 1]}" || got=$?
	unset "children[${many[i - 1]}]"
	[ "$got $(<"$tmp/many.$i")" != "$i $i" ] && echo "number $i: status $got, $(text "many.$i")" || right=$((right + 1))
done
equal 'side by side: right statuses and outputs' "$side_by_side" "$right"
nothing_left 'side by side'
finish
