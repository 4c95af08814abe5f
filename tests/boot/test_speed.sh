#!/usr/bin/env bash
# What a start costs, in counted instructions: a nanosecond each.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# From exec of vmm to its exit, the stock 6.1 cloud kernel with the built-in words, unpacked before: what was counted, 2 % by which
# its random addresses move that, and 2 %.
declare -A most_ms=([vmm-static]=449 [vmm]=469)

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

# least NUMBER... - the count without what the emulator adds
least() {
	printf '%s\n' "$@" | sort -n | head -n 1
}

# boots COMMAND-LINE - sets $times to the microseconds that each of three has taken; nothing is started in between. With
# --icount the emulator delivers some interrupts twice (tests/lab/run.sh), and a guest then waits for long, or for ever: two
# that do end the test, as one that cannot be made here. Other tests boot the same kernels without counting.
hung=0
boots() {
	local before after status
	times=()
	while [ ${#times[@]} -lt 3 ]; do
		before=$EPOCHREALTIME status=0
		LD_LIBRARY_PATH=$tmp/lib "$vmm" --kernel "$tmp/kernel-cloud" --initrd "$tmp/min" --cpus 1 --memory 256M --cmdline "$1" \
			--timeout 3 </dev/null >"$tmp/speed.out" 2>&1 || status=$?
		after=$EPOCHREALTIME
		if [ $status = 124 ]; then
			hung=$((hung + 1))
			[ $hung -lt 2 ] || [ "$failures" = 0 ] || finish
			[ $hung -lt 2 ] || skip 'the emulated guest hung twice, as it may with --icount'
			continue
		fi
		times+=($((${after/[.,]/} - ${before/[.,]/})))
		check "${vmm##*/}: a boot" "status $status, $(grep -m 1 init "$tmp/speed.out")" grep -q 'init reached' "$tmp/speed.out"
		equal "${vmm##*/}: its status" 0 $status
	done
}

line='console=ttyS0 reboot=t panic=-1 quiet cryptomgr.notests'
for vmm in "$tmp/vmm.d/vmm-static" "$tmp/vmm.d/vmm"; do
	boots "$line"
	took=$(least "${times[@]}")
	most=${most_ms[${vmm##*/}]}
	check "${vmm##*/}: stock cloud kernel" "$took us, of ${times[*]}; at most $most ms" [ "$took" -le $((most * 1000)) ]
done
boots "$line cryptomgr.notests=0"
note "the same with the self-tests of cryptography: $(least "${times[@]}") us, of ${times[*]}"
finish
