#!/usr/bin/env bash
# What a disk can do beside reading and writing, and what the guest sees when the host's storage cannot: with io_uring and
# without.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare() {
	compile no_uring -static
}

enter_lab cloud
files=$tmp/files
mount_ext4 "$files" 300M || skip 'mounting a file system needs root rights and a loop device'
declare -A engines=([with]=io_uring [without]=threads)
has_uring || note 'io_uring is not looked for here'

# text FILE MIB - a file of whole text, all of which takes room
text() {
	head -c $(($2 << 20)) < <(yes "${1##*/}") >"$1"
}

# holds FILE OFFSET MIB WORD - whether there is text of that word, or zeros, from that MiB on
holds() {
	local source=(yes "$4")
	[ "$4" != zeros ] || source=(cat /dev/zero)
	# Whole lines of the text begin at the file's start alone.
	cmp -s -n $(($3 << 20)) <(tail -c +$((($2 << 20) + 1)) "$1") <("${source[@]}" | tail -c +$((($2 << 20) + 1)))
}

blocks() {
	sync -f "$1" # those that wait to be written have no blocks yet
	stat -c %b "$1"
}

# ---- what the guest does ----

# Too long for a command line: a disk of its own, padded with blanks.
script='
	set -e
	exec 2>/tmp/err
	trap "cat /tmp/err" EXIT
	cd /sys/block
	words() { yes $1 | dd of=/dev/$1 bs=$2 count=$3 iflag=fullblock oflag=direct; }

	echo "queues: $(for d in vdb vdc vdd; do ls $d/mq | wc -l; done | xargs)"
	for d in vdb vdf; do
		echo "$d: $(cd $d/queue; cat logical_block_size physical_block_size minimum_io_size discard_granularity | xargs)"
	done
	blkdiscard -o 2M -l 4M /dev/vdb
	mount /dev/vdc /mnt; rm /mnt/text; sync; fstrim /mnt; umount /mnt
	blkdiscard -z -o 1M -l 2M /dev/vdd
	words vde 1M 4
	blkdiscard -o 1M -l 3M /dev/vde
	blkdiscard -z -o 5M -l 1M /dev/vde
	sync /dev/vde
	echo "overlay: $(tail -c +4194305 /dev/vde | sha256sum)"
	words vdf 64k 32
	words vdg 64k 32
	sync /dev/vdf /dev/vdg

	for d in vdk vdl vdm; do
		yes $d | dd of=/dev/$d bs=1M count=6 iflag=fullblock oflag=direct conv=fsync 2>/tmp/$d || true
		echo "$d: $(head -n 1 /tmp/$d)"
		yes $d | cmp -n 1048576 - /dev/$d && echo "$d read: right"
	done
	echo "again: $(sync /dev/vdm 2>&1)"

	echo ready
	read -r line
	until [ $(cat vdh/size) = 24576 ]; do sleep 0.1; done
	yes grown | dd of=/dev/vdh bs=1M seek=11 count=1 iflag=fullblock conv=fsync
	yes more | dd of=/dev/vdk bs=1M count=4 seek=8 iflag=fullblock oflag=direct conv=fsync && echo "room: used"
	# reach DISK UNIT NUMBER - waits for so many reads or sectors; sets n to how many they are, and before and after to the time
	reach() {
		while :; do
			read -r t rest </proc/uptime
			before=${t%.*}${t#*.}
			read -r reads merged sectors rest </sys/block/$1/stat
			n=$reads
			[ $2 = reads ] || n=$sectors
			[ $n -lt $3 ] || break
			sleep 0.02
		done
		read -r t rest </proc/uptime
		after=${t%.*}${t#*.}
	}
	# Several at once, so that what each takes by itself does not count; measured behind the burst. What the guest waits for between a look
	# at the clock and one at the disk makes it less, never more.
	rate() {
		for at in 0 1 2 3; do
			dd if=/dev/$1 of=/dev/null bs=$2 count=$3 skip=$((at * $3)) iflag=direct &
		done
		reach $1 $4 $5
		n0=$n from=$before
		reach $1 $4 $6
		echo "$1: $(((n - n0) * 100 / (after - from)))"
		wait
	}
	rate vdi 4k 100 reads 150 390 & rate vdj 64k 32 sectors 5500 15500 & wait
	records write /dev/vdn synced 20 >/tmp/records
	trap "" EXIT
'

# ---- the machines ----

# Files of the machine NAME lie in $files/NAME.
make_disks() {
	local dir=$files/$1 tree=$tmp/$1.tree file
	mkdir "$dir" "$tree"
	text "$dir/discard" 8
	text "$tree/text" 4
	mke2fs -q -t ext4 -d "$tree" "$tmp/trim" 16M >/dev/null
	cp --sparse=never "$tmp/trim" "$dir/trim"
	text "$dir/zeroes" 4
	text "$dir/base" 8
	cp "$dir/base" "$dir/base.zeros"
	dd if=/dev/zero of="$dir/base.zeros" bs=1M seek=5 count=1 conv=notrunc 2>/dev/null
	truncate -s 4M "$tmp/$1.large" "$dir/direct" "$dir/grow"
	truncate -s 16M "$dir/iops" "$dir/bps" "$dir/empty" "$dir/healthy"
	large=$(losetup -f --show -b 4096 "$tmp/$1.large")
	undo+=("losetup -d $large")
	printf '%-8192s' "$script" >"$dir/script"
}

# Full file systems for an overlay that is kept and for what has no name, and one whose own storage is full: there, writes end in
# the page cache and cannot leave it.
make_full_places() {
	local dir=$tmp/$1.full place
	mkdir -p "$dir"/{kept,temporary,below,broken}
	for place in kept temporary below; do
		mount -t tmpfs -o size=4M small "$dir/$place"
		undo+=("umount -l $dir/$place")
	done
	truncate -s 64M "$dir/below/image"
	mkfs.ext4 -q -O ^has_journal -E nodiscard,lazy_itable_init=1 "$dir/below/image"
	mount -o loop,errors=continue "$dir/below/image" "$dir/broken"
	undo+=("umount -l $dir/broken")
}

start_machine() {
	local dir=$files/$1 full=$tmp/$1.full file
	make_disks "$1"
	make_full_places "$1"
	for file in discard trim zeroes; do
		before[$file]=$(blocks "$dir/$file")
	done
	runner=(env "TMPDIR=$full/temporary" "${runner[@]}")
	start_gated "$1" '. /dev/vdo' --cpus 2 --io-threads 2 --timeout 150 \
		--disk "$dir/discard" --disk "$dir/trim,queues=1" --disk "$dir/zeroes,queues=4" \
		--disk "$dir/base,overlay=$dir/kept" --disk "$large" --disk "$dir/direct,direct" --disk "$dir/grow" \
		--disk "$dir/iops,iops=100,iops-burst=100" --disk "$dir/bps,bps=$((2 << 20)),bps-burst=$((2 << 20))" \
		--disk "$dir/empty,overlay=$full/kept/overlay" --disk "$dir/empty,overlay" \
		--disk "$dir/empty,overlay=$full/broken/overlay" --disk "$dir/healthy" --disk "$dir/script,readonly"
}

# ---- what became of it ----

# gave_back NAME FILE MIB - between that and one more, for the file system's own use
gave_back() {
	local now
	now=$(blocks "$2")
	check "$1" "${before[${2##*/}]} blocks, then $now" between $(((${before[${2##*/}]} - now) / 2048)) "$3" $(($3 + 1))
}

# leaves NAME FILE OFFSET MIB OFFSET MIB WORD
leaves() {
	check "$1" "$(($4 + $6)) MiB" holds_both "${@:2}"
}

holds_both() {
	holds "$1" "$2" "$3" "$6" && holds "$1" "$4" "$5" "$6"
}

check_storage() {
	local dir=$files/$1 io="$1 io_uring" fsck=0 used
	gave_back "$io: blkdiscard gives blocks back" "$dir/discard" 4
	leaves "$io: blkdiscard leaves the rest" "$dir/discard" 0 2 6 2 discard
	# The file, and all that was free before.
	used=$(blocks "$dir/trim")
	check "$io: fstrim gives blocks back" "${before[trim]} blocks, then $used" between "$used" 1 $((4 * 2048))
	e2fsck -fn "$dir/trim" >"$tmp/fsck" 2>&1 || fsck=$?
	check "$io: fstrim leaves the rest" "e2fsck: status $fsck" [ "$fsck" = 0 ]
	equal "$io: blkdiscard -z keeps blocks" "${before[zeroes]}" "$(blocks "$dir/zeroes")"
	check "$io: blkdiscard -z makes zeros" '2 MiB' holds "$dir/zeroes" 1 2 zeros
	leaves "$io: blkdiscard -z leaves the rest" "$dir/zeroes" 0 1 3 1 zeroes
	equal "$io: zeros on an overlay" "$(tail -c +$(((4 << 20) + 1)) "$dir/base.zeros" | sha256sum)" "$(value overlay)"
	used=$(blocks "$dir/kept")
	check "$io: discard on an overlay gives blocks back" "$used blocks" between "$used" 2048 4200
	check "$io: the base of an overlay" 'as it was' holds "$dir/base" 0 8 base
	check "$io: direct" '2 MiB' holds "$dir/direct" 0 2 vdg
	check "$io: the part that was added" '1 MiB' cmp -s -n 1048576 <(tail -c 1048576 "$dir/grow") <(yes grown)
}

check_guest() {
	local io="$1 io_uring"
	equal "$io: queues by CPUs, one, and as many as there are CPUs" '2 1 2' "$(value queues)"
	equal "$io: topology of a file" '512 512 512 512' "$(value vdb)"
	equal "$io: topology of a device with large blocks" '4096 4096 4096 4096' "$(value vdf)"
	check "$io: device with large blocks" "$large" holds "$tmp/$1.large" 0 2 vdf
	# Never more; and no less than a guest on a busy machine asks for. unit/test_virtio_disk_limit knows the limits exactly.
	check "$io: 100 requests a second" "$(value vdi) requests" between "$(value vdi)" "$(at_least 40)" 110
	check "$io: 2 MiB a second" "$(value vdj) sectors" between "$(value vdj)" "$(at_least $((4096 * 4 / 10)))" $((4096 * 11 / 10))
}

check_faults() {
	local io="$1 io_uring" disk text
	for disk in 'vdk kept' 'vdl temporary'; do
		text=$(value "${disk% *}")
		check "$io, full, ${disk#* }: an error for the guest" "$text" matches "$text" '*error writing*Input/output error*'
		equal "$io, full, ${disk#* }: what is there" right "$(value "${disk% *} read")"
	done
	equal "$io, full: goes on when there is room again" used "$(value room)"
	text=$(value vdm)
	check "$io, broken: an error for the guest" "$text" matches "$text" '*fsync failed*Input/output error*'
	check "$io, broken: every flush fails from then on" "$(value again)" matches "$(value again)" '*Input/output error*'
	text=$(grep -c failed "$tmp/$1.err" || true)
	check "$io, faults: told" "$text lines" grep -q 'flush failed' "$tmp/$1.err"
	equal "$io, faults: other disks live on" 20 "$("$stage/records" count "$files/$1/healthy" synced)"
}

declare -A before=()
for name in with without; do
	runner=()
	[ "$name" = with ] || runner=("$stage/no_uring")
	start_machine $name
	says $name '^ready' 180 || true
	! has_uring || equal "$name io_uring: engine" "${engines[$name]}" "$(engine_of $name)"
	mount -o remount,size=32M "$tmp/$name.full/kept"
	truncate -s 12M "$files/$name/grow"
	kill -USR1 "${pids[$name]}" || true
	let_go $name
	powers_off $name
	check_storage $name
	check_guest $name
	check_faults $name
	losetup -d "$large"
	rm -r "${files:?}/$name"
done
finish
