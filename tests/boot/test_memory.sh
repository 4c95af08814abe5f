#!/usr/bin/env bash
# What memory vmm needs besides the guest's, with a disk and a network card.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

most_kb=1500 # the static program

prepare() {
	make_or_skip cmake -S "$repo" -B "$stage/static" -DVMM_STATIC=ON -DVMM_TESTS=OFF
	make_or_skip cmake --build "$stage/static" --target vmm
}

enter_lab cloud
is_root || skip 'a network card needs root rights'
cp "$stage/static/bin/vmm" "$tmp/vmm.d/vmm-static"

# rss PID - KiB of all mappings but the guest's memory, which is the largest
rss() {
	awk '
		/^Size:/ { size = $2 }
		/^Rss:/ { total += $2; if (size > largest) { largest = size; guest = $2 } }
		END { print total - guest }
	' "/proc/$1/smaps"
}

ip tuntap add dev boot0 mode tap
undo+=('ip link del boot0')
for vmm in "$tmp/vmm.d/vmm" "$tmp/vmm.d/vmm-static"; do
	name=${vmm##*/}
	start "$name" 'echo ready; sleep 1000' --net tap=boot0 --timeout 100
	used=0
	says "$name" '^ready' 90 && used=$(rss "$pid")
	if [ "$name" = vmm-static ]; then
		check "$name: memory besides the guest's" "$used KiB, at most $most_kb" between "$used" 100 "$most_kb"
	else
		note "$name: memory besides the guest's: $used KiB"
	fi
	kill -KILL "$pid"
	await "$name" 2>/dev/null
done
finish
