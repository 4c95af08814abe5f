#!/usr/bin/env bash
# What a guest writes is what the host has; what goes wrong with an image is the guest's I/O error, or refused.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

# ---- a guest that writes ----

truncate -s 64M "$tmp/data" "$tmp/parts" "$tmp/whole"
start writer '
	echo "serial: $(cat /sys/block/vdb/serial)"
	set -e
	exec 2>/tmp/err
	dd if=/dev/urandom bs=1M count=64 of=/tmp/random
	cat /tmp/random >/dev/vdb
	sync /dev/vdb
	echo "sum: $(sha256sum </tmp/random)"
	rm /tmp/random
	echo "2048,,L" | sfdisk -q /dev/vdc
	for d in vdc1 vdd; do
		mkfs.ext4 -q /dev/$d
		mkdir /tmp/$d
		mount /dev/$d /tmp/$d
		dd if=/dev/urandom of=/tmp/$d/a bs=4k count=150 oflag=dsync
		for i in 1 2 3 4 5 6 7 8 9 10; do
			busybox dd if=/dev/urandom of=/tmp/$d/f$i bs=3000 count=2 conv=fsync
			rm -f /tmp/$d/f$((i - 4))
		done
		echo "$d: $(sha256sum </tmp/$d/a)"
		umount /tmp/$d
	done
' --disk "$tmp/data,serial=a serial of 20 byt" --disk "$tmp/parts" --disk "$tmp/whole" --timeout 200

# Meanwhile its images are in use.
says writer 'vmm-run: start' || true
refused 'an image of another machine' "vmm: *data'*in use (locked)*" --disk "$tmp/data"
refused 'an image that another machine writes, for reading' "vmm: *data'*in use (locked)*" --disk "$tmp/data,readonly"
refused 'an image that another machine reads, for writing' "vmm: *root*in use (locked)*" --disk "$root"
accepted 'readers share an image' --disk "$root,readonly"

powers_off writer
equal 'serial' 'a serial of 20 byt' "$(value serial)"
equal '64 MiB of random bytes' "$(sha256sum <"$tmp/data")" "$(value sum)"
accepted 'an image that is free again' --disk "$tmp/data"

# check_file_system NAME IMAGE SUM - clean, and with the file that the guest has written
check_file_system() {
	local fsck=0
	e2fsck -fn "$2" >"$tmp/fsck" 2>&1 || fsck=$?
	check "$1: e2fsck -fn" "status $fsck, $(tail -n 1 "$tmp/fsck")" [ "$fsck" = 0 ]
	debugfs -R "dump a $tmp/dumped" "$2" >/dev/null 2>&1 || true
	equal "$1: synced writes" "$3" "$(sha256sum <"$tmp/dumped")"
}

check_file_system 'whole disk' "$tmp/whole" "$(value vdd)"
check_file_system 'partition' "$tmp/parts?offset=1048576" "$(value vdc1)"

# ---- images that are not as they might be ----

printf '%-1000s' 'do not touch' >"$tmp/readonly"
truncate -s 64K "$tmp/readonly"
cp "$tmp/readonly" "$tmp/readonly.before"
truncate -s $((512 * 1000 + 100)) "$tmp/odd"
truncate -s 1M "$tmp/healthy"
full=$tmp/healthy device=$tmp/healthy
disks=(--disk "$tmp/readonly,readonly" --disk "$tmp/odd" --disk "$tmp/healthy")
if is_root && mkdir "$tmp/small" && mount -t tmpfs -o size=4M small "$tmp/small"; then
	undo+=("umount -l $tmp/small")
	full=$tmp/small/image
	truncate -s 64M "$full"
	disks+=(--disk "$full")
else
	note 'no full file system: mounting one needs root rights'
fi
truncate -s 8M "$tmp/looped"
modprobe loop 2>/dev/null || true
if is_root && device=$(losetup -f --show "$tmp/looped" 2>/dev/null); then
	undo+=("losetup -d $device")
	[ "$full" != "$tmp/healthy" ] && disks+=(--disk "$device") || device=
else
	device=
	note 'no block device: this machine has no loop devices to give'
fi
# A static vmm cannot have anything preloaded.
if ldd "$vmm" >/dev/null 2>&1; then
	runner=(env "LD_PRELOAD=$stage/count_syncs" "COUNT_SYNCS=$tmp/syncs")
else
	note 'vmm is static: syncs are not counted'
fi
boot odd '
	echo "readonly: $(cat /sys/block/vdb/ro) $(cat /sys/block/vdc/ro)"
	echo "readonly text: $(head -c 12 /dev/vdb)"
	echo oops 2>/tmp/err >/dev/vdb && echo "readonly write: succeeded" || echo "readonly write: refused"
	echo "odd: $(cat /sys/block/vdc/size)"
	dd if=/dev/zero bs=512 count=1 seek=1000 of=/dev/vdc conv=fsync 2>/tmp/err || echo "odd end: $(tail -n 1 /tmp/err)"
	[ ! -e /dev/vde ] || {
		echo "full: $(dd if=/dev/urandom of=/dev/vde bs=1M count=16 conv=fsync 2>&1 | head -n 1)"
		echo "full log: $(dmesg | grep -c "I/O error, dev vde")"
		echo "full read: $(head -c 1048576 /dev/vde | wc -c)"
	}
	[ ! -e /dev/vdf ] || {
		echo "device: $(cat /sys/block/vdf/size)"
		yes device | head -c 1048576 >/dev/vdf
		sync /dev/vdf
	}
	records write /dev/vdd synced 20 >/tmp/err
' "${disks[@]}"
equal 'readonly: shown' '1 0' "$(value readonly)"
equal 'readonly: read' 'do not touch' "$(value 'readonly text')"
equal 'readonly: write' refused "$(value 'readonly write')"
check 'readonly: image unchanged' "$(stat -c '%s bytes' "$tmp/readonly")" cmp "$tmp/readonly" "$tmp/readonly.before"
equal 'odd size: sectors' 1000 "$(value odd)"
check 'odd size: no write behind the end' "$(value 'odd end')" matches "$(value 'odd end')" '?*'
check 'odd size: warned' "$(head -n 1 "$tmp/odd.err")" matches "$(<"$tmp/odd.err")" "vmm: *odd'*512*"
equal 'odd size: the file keeps its own' $((512 * 1000 + 100)) "$(stat -c %s "$tmp/odd")"
if [ "$full" != "$tmp/healthy" ]; then
	check 'full host disk: an error for the guest' "$(value full)" matches "$(value full)" '*error*'
	check 'full host disk: failed requests' "$(value 'full log')" [ "$(value 'full log')" -gt 0 ]
	equal 'full host disk: can be read' 1048576 "$(value 'full read')"
fi
equal 'other disks live on' 20 "$("$stage/records" count "$tmp/healthy" synced)"
if [ ${#runner[@]} -gt 0 ]; then
	syncs=$(wc -l <"$tmp/syncs" || echo 0)
	check 'every flush reaches the host' "$syncs syncs for 20 records and more" [ "$syncs" -ge 20 ]
fi
if [ -n "$device" ]; then
	equal 'block device: sectors' 16384 "$(value device)"
	check 'block device: written' "$device" cmp -n 1048576 "$tmp/looped" <(yes device)
fi
finish
