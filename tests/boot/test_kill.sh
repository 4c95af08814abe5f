#!/usr/bin/env bash
# SIGKILL in the middle of writing loses nothing that the guest had synced, and leaves nothing that is in the way.
# KILL_ROUNDS=20 kills so often, at random moments.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud -- --timeout $((560 + ${KILL_ROUNDS-0} * 15))
words=cryptomgr.notests # which is half of a boot

records=$stage/records
cp "$records" "$tmp/bin/records"

# Writers at once: on the bare disk, in a file, in a file on an overlay that is kept, and on one that is not. Each tells of a
# record when it is synced. Nobody has checked or emptied a disk since the last kill, and the kept overlay shows what it
# has of then.
script() {
	cat <<-END
		mount /dev/vdc /mnt || exit
		mount /dev/vdd /root || exit
		rm -f /mnt/file$(($1 - 2)) /root/kept$(($1 - 2))
		echo "kept$(($1 - 1)) found: \$(records count /root/kept$(($1 - 1)) kept$(($1 - 1)))"
		records write /dev/vdb raw$1 &
		records write /mnt/file$1 file$1 &
		records write /root/kept$1 kept$1 &
		records write /dev/vde temporary$1 >/dev/null &
		wait
	END
}

# last_of NAME LABEL - the number of the last whole line "LABEL NUMBER"
last_of() {
	local label number last=0
	while read -r label number; do
		[ "$label" != "$2" ] || last=$number
	done <"$tmp/$1.out"
	echo "$last"
}

check_raw() {
	local told
	told=$(last_of "$1" "$2")
	check "$1: was writing" "$told records told" [ "$told" -ge "$3" ]
	check "$1: records on the disk" "$told told, $(records count "$tmp/raw" "$2") found" \
		records check "$tmp/raw" "$2" "$told"
}

check_file() {
	local told fsck=0
	told=$(last_of "$1" "$2")
	# 1: something was done, here the replay of the journal.
	e2fsck -fp "$tmp/files" >"$tmp/fsck" 2>&1 || fsck=$?
	check "$1: e2fsck" "status $fsck, $(tail -n 1 "$tmp/fsck")" [ "$fsck" -le 1 ]
	: >"$tmp/dumped"
	debugfs -R "dump $2 $tmp/dumped" "$tmp/files" >/dev/null 2>&1 || true
	check "$1: records in a file" "$told told, $(records count "$tmp/dumped" "$2") found" \
		records check "$tmp/dumped" "$2" "$told"
}

# check_kept OUTPUT-OF NAME TOLD - what a later machine found of the kept overlay's records
check_kept() {
	local found
	found=$(sed -n "s/^kept[0-9]* found: //p" "$tmp/$1.out" | head -n 1)
	check "$2: records on a kept overlay" "$3 told, ${found:-none} found" [ "${found:-0}" -ge "$3" ]
}

truncate -s 32M "$tmp/raw" "$tmp/files" "$tmp/base"
mke2fs -q -t ext4 "$tmp/files"
mke2fs -q -t ext4 "$tmp/base"
disks=(
	--disk "$tmp/raw" --disk "$tmp/files"
	--disk "$tmp/base,overlay=$tmp/kept" --disk "$tmp/base,overlay"
)
base_before=$(stat -c %y "$tmp/base")$(sha256sum <"$tmp/base")

# What each is killed after: a number of records told, and then some milliseconds.
moments=('1 0' '2 3' '20 11' '60 1' '150 7')
if [ -n "${KILL_ROUNDS-}" ]; then
	moments=()
	while [ ${#moments[@]} -lt "$KILL_ROUNDS" ]; do
		moments+=("$((1 + RANDOM % 150)) $((RANDOM % 20))")
	done
fi
number=0 told_kept=0
for moment in "${moments[@]}"; do
	number=$((number + 1))
	read -r told wait_ms <<<"$moment"
	start "kill$number" "$(script $number)" "${disks[@]}" --timeout 120
	says "kill$number" "^raw$number $told\$" 90 || true
	sleep "0.0$((wait_ms / 10))$((wait_ms % 10))"
	kill -KILL "$pid"
	await "kill$number"
	equal "kill$number: status" 137 "$status"
	nothing_left "kill$number"
	check_raw "kill$number" "raw$number" "$told"
	check_file "kill$number" "file$number"
	[ $number = 1 ] || check_kept "kill$number" "kill$((number - 1))" "$told_kept"
	told_kept=$(last_of "kill$number" "kept$number")
done 2>"$tmp/bash" # which tells of those killed
equal 'the base of overlays' "$base_before" "$(stat -c %y "$tmp/base")$(sha256sum <"$tmp/base")"
boot last "
	e2fsck -fp /dev/vdd >/tmp/fsck || [ \$? = 1 ] || echo \"fsck: \$(tail -n 1 /tmp/fsck)\"
	mount /dev/vdd /root
	echo \"kept$number found: \$(records count /root/kept$number kept$number)\"
" "${disks[@]}"
check_kept last "kill$number" "$told_kept"
equal 'e2fsck of the kept overlay' '' "$(value fsck)"
finish
