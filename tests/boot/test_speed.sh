#!/usr/bin/env bash
# What a start costs, in counted instructions (a nanosecond each), and what memory vmm needs besides the guest's.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

most_ms=1500 # from exec of vmm to its exit, the stock 6.1 cloud kernel
most_kb=1500 # the static program, with a disk and a network card

prepare() {
	make_or_skip "$repo/guest-images/initramfs-min.sh"
	make_or_skip cmake -S "$repo" -B "$stage/static" -DVMM_STATIC=ON -DVMM_TESTS=OFF
	make_or_skip cmake --build "$stage/static" --target vmm
}

enter_lab cloud -- --icount

cp "$stage/static/bin/vmm" "$tmp/vmm.d/vmm-static"
cp "$VMM_IMAGES/initramfs-min.cpio" "$tmp/min"

# The libraries too, for opening them elsewhere would wait for the real machine, and that is counted.
mkdir "$tmp/lib"
ldd "$tmp/vmm.d/vmm" | awk '$2 == "=>" { print $3 }' | xargs -r cp -t "$tmp/lib"

# least NUMBER... - the count without what the emulator adds: tests/lab/run.sh tells of interrupts that it delivers twice
# with --icount, after which a guest may wait for seconds
least() {
	printf '%s\n' "$@" | sort -n | head -n 1
}

# boots TIMES COMMAND-LINE - sets $times to the microseconds that each has taken; nothing is started in between
boots() {
	local before after n
	times=()
	for ((n = 0; n < $1; n++)); do
		before=$EPOCHREALTIME
		LD_LIBRARY_PATH=$tmp/lib "$vmm" --kernel "$tmp/kernel-cloud" --initrd "$tmp/min" --cpus 1 --memory 256M --cmdline "$2" \
			</dev/null >"$tmp/speed.out" 2>&1 || fail 'boot' "status $?"
		after=$EPOCHREALTIME
		times+=($((${after/[.,]/} - ${before/[.,]/})))
	done
}

line='console=ttyS0 reboot=t panic=-1 quiet'
runs=5
for vmm in "$tmp/vmm.d/vmm-static" "$tmp/vmm.d/vmm"; do
	boots $runs "$line"
	took=$(least "${times[@]}")
	check "${vmm##*/}: stock cloud kernel" "$took us, of ${times[*]}; at most $most_ms ms" [ "$took" -le $((most_ms * 1000)) ]
	runs=5
	check "${vmm##*/}: init was reached" "$(grep -m 1 init "$tmp/speed.out")" grep -q 'init reached' "$tmp/speed.out"
done
boots 3 "$line cryptomgr.notests"
note "the same with cryptomgr.notests: $(least "${times[@]}") us, of ${times[*]}"

# ---- memory ----

# rss PID - KiB of all mappings but the guest's memory, which is the largest
rss() {
	awk '
		/^Size:/ { size = $2 }
		/^Rss:/ { total += $2; if (size > largest) { largest = size; guest = $2 } }
		END { print total - guest }
	' "/proc/$1/smaps"
}

ip tuntap add dev boot0 mode tap
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
