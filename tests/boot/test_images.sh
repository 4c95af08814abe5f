#!/usr/bin/env bash
# Disks of every format, and what guests do with them beside reading and writing: overlays, qcow2, discard, queues, sizes.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare() {
	command -v qemu-img >/dev/null || skip 'no qemu-img (package qemu-utils)'
	[ "$stage/root.qcow2" -nt "$stage/root.tar" ] ||
		make_or_skip qemu-img convert -c -O qcow2 "$VMM_IMAGES/root.ext4" "$stage/root.qcow2"
	[ "$stage/root.raw.sum" -nt "$stage/root.qcow2" ] ||
		sha256sum <"$VMM_IMAGES/root.ext4" >"$stage/root.raw.sum"
}

enter_lab cloud

# ---- overlays: the image stays as it is, two machines share it, and what is kept is there again ----

head -c 1000000 /dev/urandom >"$tmp/piece"
for _ in {1..33}; do cat "$tmp/piece"; done | head -c 32M >"$tmp/data"
sum=$(sha256sum <"$tmp/data")
# shellcheck disable=SC2016
script='
	echo "before: $(sha256sum </dev/vdb)"
	dd if=/dev/urandom of=/tmp/new bs=1000 count=3000 2>/dev/null
	dd if=/tmp/new of=/dev/vdb bs=7k seek=100 2>/dev/null; sync /dev/vdb
	echo 3 >/proc/sys/vm/drop_caches
	echo "new: $(sha256sum </tmp/new)"
	echo "read: $(dd if=/dev/vdb bs=7k skip=100 2>/dev/null | head -c 3000000 | sha256sum)"
	echo "after: $(sha256sum </dev/vdb)"
'
start one "$script" --disk "$tmp/data,overlay" --timeout 120
start two "$script" --disk "$tmp/data,overlay=$tmp/kept" --timeout 120
for name in one two; do
	powers_off $name
	equal "$name: the image below" "$sum" "$(value before)"
	equal "$name: what was written" "$(value new)" "$(value read)"
	after=$(value after)
done
equal 'the image is as it was' "$sum" "$(sha256sum <"$tmp/data")"
check 'a kept overlay is a file' "$(stat -c '%s bytes, %b blocks' "$tmp/kept")" test -s "$tmp/kept"

# shellcheck disable=SC2016
boot 'the kept overlay again' 'echo "sum: $(sha256sum </dev/vdb)"' --disk "$tmp/data,overlay=$tmp/kept"
equal 'the kept overlay again' "$after" "$(value sum)"

printf x | dd of="$tmp/data" bs=1 seek=5 conv=notrunc 2>/dev/null
start changed true --disk "$tmp/data,overlay=$tmp/kept"
await changed
equal 'an image that has changed below its overlay: status' 125 "$status"
check 'an image that has changed below its overlay' "$(<"$tmp/changed.err")" \
	matches "$(<"$tmp/changed.err")" "vmm: *'$tmp/kept'*"

# ---- qcow2 ----

cp "$stage/root.qcow2" "$tmp/root.qcow2"
# shellcheck disable=SC2016
boot qcow2 'echo "sum: $(sha256sum </dev/vdb)"; mount /dev/vdc /mnt && echo "there: $(ls /mnt/sbin/init)"; echo x >/mnt/x && sync && echo "written: $(cat /mnt/x)"' \
	--disk "$tmp/root.qcow2,format=qcow2,readonly" --disk "$tmp/root.qcow2,format=qcow2,overlay"
equal 'a compressed image reads as the one it was made from' "$(<"$stage/root.raw.sum")" "$(value sum)"
equal 'its file system' /mnt/sbin/init "$(value there)"
equal 'an overlay on it takes writes' x "$(value written)"

# ---- discard, queues, and another size ----

cp "$tmp/data" "$tmp/thin"
mkfifo "$tmp/in"
exec 7<>"$tmp/in"
stdin=$tmp/in
# shellcheck disable=SC2016
start thin '
	echo "queues: $(ls /sys/block/vdb/mq | wc -l)"
	echo "zeroes: $(cat /sys/block/vdb/queue/write_zeroes_max_bytes)"
	blkdiscard -o 1048576 -l 16777216 /dev/vdb; sync /dev/vdb
	echo "hole: $(dd if=/dev/vdb bs=1M skip=1 count=16 2>/dev/null | tr -d "\0" | wc -c)"
	echo ready; read -r line
	until grep -q 131072 /sys/block/vdb/size; do sleep 0.1; done
	echo "size: $(cat /sys/block/vdb/size)"
	echo new | dd of=/dev/vdb bs=1M seek=63 2>/dev/null; sync /dev/vdb
' --cpus 2 --disk "$tmp/thin,queues=2" --timeout 60
stdin=/dev/null
before=$(stat -c %b "$tmp/data")
says thin '^ready' || true
check 'discarded space is given back' "$before blocks, then $(stat -c %b "$tmp/thin")" \
	[ "$(stat -c %b "$tmp/thin")" -le $((before - 30000)) ]
truncate -s 64M "$tmp/thin"
kill -USR1 "$pid"
echo >&7
powers_off thin
equal 'queues' 2 "$(value queues)"
check 'write zeroes is offered' "$(value zeroes) bytes" [ "$(value zeroes)" -gt 0 ]
equal 'discarded space reads as zeros' 0 "$(value hole)"
equal 'the guest sees the new size' 131072 "$(value size)"
equal 'and writes there' new "$(dd if="$tmp/thin" bs=1M skip=63 count=1 2>/dev/null | head -n 1 | tr -d '\0')"
finish
