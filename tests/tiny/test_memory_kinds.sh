#!/usr/bin/env bash
# What backs the guest's memory: each kind starts, takes no more than it must, and what cannot be is refused.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

pool=/sys/kernel/mm/hugepages/hugepages-2048kB
had=$(cat "$pool/nr_hugepages" 2>/dev/null || true)
need=36 # pages of 2 MiB for the largest of the guests below, and some more

# restore - the pool is as it was
restore() {
	[ -z "$had" ] || [ ! -w "$pool/nr_hugepages" ] || echo "$had" >"$pool/nr_hugepages" || true
	cleanup
}
trap restore EXIT

starts() {
	expect 0 "--memory $1" "$vmm" --kernel "$guests/poweroff.bz64" --log-level error --memory "$1"
}

# refused WANT MEMORY - one line says so
refused() {
	expect 125 "--memory $2" "$vmm" --kernel "$guests/poweroff.bz64" --log-level error --memory "$2"
	[ "$(wc -l <"$tmp/err")" = 1 ] && grep -qE "^vmm: .*$1" "$tmp/err" || fail "--memory $2 says: $(cat "$tmp/err")"
}

# start MEMORY - sets $pid
start() {
	"$vmm" --kernel "$guests/idle.bz64" --log-level error --memory "$1" </dev/null >/dev/null &
	pid=$!
	wait_until 20 runs_guest "$pid" || fail "--memory $1 does not start"
	sleep 0.3
}

stop() {
	kill -HUP "$pid"
	wait "$pid" || true
}

# kib FIELD - of all of $pid's mappings; what hugetlb has is not in Rss
kib() {
	awk -v field="$1:" '$1 == field { print $2 }' "/proc/$pid/smaps_rollup"
}

for kind in thp off; do
	for more in '' ,prefault ,shared ,shared,prefault; do
		starts "64M,hugepages=$kind$more"
	done
done

# ---- nothing is touched that the guest does not touch ----

if ! sanitized "$vmm"; then
	for memory in 64M 16G 16G,hugepages=off 16G,shared; do
		start "$memory"
		all=$(kib Rss)
		note "$memory: $all KiB resident"
		# The tiny guest and its tables lie in two places, which get small pages whatever the host has.
		between "$memory: resident KiB" "$all" 100 4096
		stop
	done
fi
for memory in 64M,prefault 64M,prefault,hugepages=off 64M,prefault,shared; do
	start "$memory"
	between "$memory: resident KiB" "$(kib Rss)" 65536 $((65536 + 65536))
	stop
done
much=$(($(awk '/^(MemTotal|SwapTotal):/ {n += $2} END {print n}' /proc/meminfo) / 1024 * 2))
sanitized "$vmm" || # which reserves most addresses for itself
	refused "cannot prefault $much MiB of guest memory: Cannot allocate memory; the host has [0-9]+ MiB" "$much,prefault"
# What the kernel would not give is told apart from what there is not; here it is strace that refuses.
if command -v strace >/dev/null && ! sanitized "$vmm"; then
	expect 125 'memory that is refused' strace -f -qq -o "$tmp/trace" -e trace=madvise -e inject=madvise:error=EFAULT \
		"$vmm" --kernel "$guests/poweroff.bz64" --log-level error --memory 64M,prefault
	grep -qE '^vmm: cannot prefault 64 MiB of guest memory: Bad address; the host has [0-9]+ MiB available, but a control group or vm.overcommit_memory allows less$' "$tmp/err" ||
		fail "memory that is refused: says $(cat "$tmp/err")"
else
	note 'strace is missing: memory that is refused is not tried'
fi

# ---- shared memory is a file ----

start 64M,shared
file=$(find "/proc/$pid/fd" -lname '/memfd:vmm-memory*')
[ -n "$file" ] && [ "$(stat -Lc %s "$file")" = $((64 << 20)) ] || fail 'shared: no file of 64 MiB'
cmp -s -n 16 "$file" /dev/zero || note 'shared: the first bytes are used'
[ "$(tr -d '\0' <"$file" | head -c 1 | wc -c)" = 1 ] || fail 'shared: nothing of the guest is in the file'
stop
start 64M
[ -z "$(find "/proc/$pid/fd" -lname '/memfd:vmm-memory*')" ] || fail 'private memory is a file'
stop

# ---- huge pages that were set aside ----

refused 'must be a multiple of the huge pages.* size, 2 MiB' 65M,hugepages=2M
refused 'must be a multiple of the huge pages.* size, 1024 MiB' 1536M,hugepages=1G
# More than any host has.
refused "cannot set .* huge pages of 2 MiB aside for the guest's memory: .*(has [0-9]+ free; to make more|none of that size)" 8192G,hugepages=2M
refused "cannot set .* huge pages of 1024 MiB aside for the guest's memory: .*(has [0-9]+ free; to make more|none of that size)" \
	8192G,hugepages=1G

if [ -n "$had" ] && [ -w "$pool/nr_hugepages" ] && echo $((had + need)) >"$pool/nr_hugepages" &&
	[ "$(cat "$pool/nr_hugepages")" = $((had + need)) ]; then
	free=$(cat "$pool/free_hugepages")
	for more in '' ,prefault ,shared ,shared,prefault; do
		starts "64M,hugepages=2M$more"
		[ "$(cat "$pool/free_hugepages")" = "$free" ] || fail "64M,hugepages=2M$more keeps pages"
		start "64M,hugepages=2M$more"
		# All are this machine's, used or not.
		left=$(($(cat "$pool/free_hugepages") - $(cat "$pool/resv_hugepages")))
		[ $left -le $((free - 32)) ] || fail "64M,hugepages=2M$more: $left pages can be had by others, of $free"
		used=$(($(kib Private_Hugetlb) + $(kib Shared_Hugetlb)))
		case $more in
		*prefault) between "64M,hugepages=2M$more: used KiB" "$used" 65536 65536 ;;
		*) between "64M,hugepages=2M$more: used KiB" "$used" 2048 8192 ;;
		esac
		[ "$more" != '' ] || refused "cannot set 32 huge pages of 2 MiB aside .* has $left free; to make more" 64M,hugepages=2M
		stop
	done
else
	note 'huge pages of 2 MiB cannot be set aside here (root rights, free memory): their guests were not started'
fi
finish
