#!/usr/bin/env bash
# What a command costs from typing it to its first output, in counted instructions: a nanosecond each.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

# The stock 6.1 cloud kernel, unpacked before, with its own modules as Debian has them, and with a root of busybox.
most_ms=650
# The same root, shared: three more modules are most of what it costs.
shared_ms=150

prepare_more() {
	stage_modules plain xz
}
enter_lab cloud -- --icount
begin_command
export XDG_CACHE_HOME=$tmp/own-cache # that is the user's, who is root here
mkdir "$XDG_CACHE_HOME"

# All in memory, the libraries too: what waits for the real machine is counted.
release=$(<"$VMM_IMAGES/kernel-cloud/version")
for kind in plain xz; do
	mkdir -p "$tmp/$kind/boot" "$tmp/$kind/lib/modules"
	mv "$tmp/kernel-cloud" "$tmp/$kind/boot/vmlinuz-$release" 2>/dev/null || ln "$tmp/plain/boot/vmlinuz-$release" "$tmp/$kind/boot/"
	cp "$VMM_IMAGES/kernel-cloud/config" "$tmp/$kind/boot/config-$release"
	cp -r "$stage/modules-$kind" "$tmp/$kind/lib/modules/$release"
done
mkdir "$tmp/lib"
ldd "$tmp/vmm.d/vmm" | awk '$2 == "=>" { print $3 }' | xargs -r cp -t "$tmp/lib"
for library in lzma zstd; do # which vmm loads when it needs them
	cp /usr/lib/x86_64-linux-gnu/lib$library.so.? "$tmp/lib/" 2>/dev/null || true
done

# runs KIND [packed|shared] - sets $least to the fewest microseconds of five, after one that fills the cache: what
# waits for the host's files is counted wherever the clock leaps. With --icount the emulator delivers
# some interrupts twice (tests/lab/run.sh), and a guest then waits for long, or for ever: such a one is passed over, but not the
# fourth.
hung=0
runs() {
	local before after line times=()
	while [ ${#times[@]} -lt 6 ]; do
		line=''
		before=$EPOCHREALTIME
		read -r line < <(LD_LIBRARY_PATH=$tmp/lib exec "$vmm" --kernel "$tmp/$1/boot/vmlinuz-$release" --root "$tmp/root,${2-packed}" --timeout 5 \
			-- echo it runs </dev/null 2>"$tmp/speed.err") || true
		after=$EPOCHREALTIME
		wait $! || true
		if grep -q -- --timeout "$tmp/speed.err"; then
			hung=$((hung + 1))
			note "modules that are $1: a guest hung"
			[ $hung -lt 4 ] || { fail "modules that are $1" "the guest hung $hung times" && finish; }
			continue
		fi
		times+=($((${after/[.,]/} - ${before/[.,]/})))
		equal "modules that are $1: output" 'it runs' "$line$(text speed.err)"
	done
	note "modules that are $1: ${times[*]} us"
	least=$(printf '%s\n' "${times[@]:1}" | sort -n | head -n 1)
}

runs plain
check 'the first output' "$least us; at most $most_ms ms" [ "$least" -le $((most_ms * 1000)) ]
plain=$least
runs plain shared
check 'the first output, shared' "$((least - plain)) us more; at most $shared_ms ms" [ $((least - plain)) -le $((shared_ms * 1000)) ]
runs xz
note "packed modules cost $((least - plain)) us more"
finish
