#!/usr/bin/env bash
# What a start costs, in counted instructions: a nanosecond each.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

most_ms=1500 # from exec of vmm to its exit, the stock 6.1 cloud kernel

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

# boots TIMES COMMAND-LINE - sets $times to the microseconds that each has taken; nothing is started in between. With
# --icount the emulator delivers some interrupts twice (tests/lab/run.sh), and a guest then waits for long, or for ever. So
# the most of them must end well, not all, and the least time counts.
boots() {
	local before after n
	times=()
	for ((n = 0; n < $1; n++)); do
		before=$EPOCHREALTIME
		if LD_LIBRARY_PATH=$tmp/lib "$vmm" --kernel "$tmp/kernel-cloud" --initrd "$tmp/min" --cpus 1 --memory 256M --cmdline "$2" \
			--timeout 6 </dev/null >"$tmp/speed.out" 2>&1; then
			after=$EPOCHREALTIME
			times+=($((${after/[.,]/} - ${before/[.,]/})))
			check "${vmm##*/}: init was reached" "$(grep -m 1 init "$tmp/speed.out")" grep -q 'init reached' "$tmp/speed.out"
		else
			note "${vmm##*/}: a boot ended with status $?"
		fi
	done
	check "${vmm##*/}: boots that end well" "${#times[@]} of $1" [ ${#times[@]} -gt $(($1 / 2)) ]
	[ ${#times[@]} -gt 0 ] || finish
}

line='console=ttyS0 reboot=t panic=-1 quiet'
for vmm in "$tmp/vmm.d/vmm-static" "$tmp/vmm.d/vmm"; do
	boots 5 "$line"
	took=$(least "${times[@]}")
	check "${vmm##*/}: stock cloud kernel" "$took us, of ${times[*]}; at most $most_ms ms" [ "$took" -le $((most_ms * 1000)) ]
done
boots 3 "$line cryptomgr.notests"
note "the same with cryptomgr.notests: $(least "${times[@]}") us, of ${times[*]}"
finish
