#!/usr/bin/env bash
# SIGKILL in the middle of writing loses nothing that the guest had synced, and leaves nothing that is in the way.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

records=$stage/records
cp "$records" "$tmp/bin/records"

# Two writers at once, one on the bare disk and one in a file, each telling of a record when it is synced. The host
# has checked and emptied neither disk since the last kill.
script() {
	cat <<-END
		mount /dev/vdc /mnt || exit
		records write /dev/vdb raw$1 &
		records write /mnt/file$1 file$1 &
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

truncate -s 32M "$tmp/raw"
truncate -s 32M "$tmp/files"
mke2fs -q -t ext4 "$tmp/files"

# What each is killed after: a number of records told, and then some milliseconds.
number=0
for moment in '1 0' '2 3' '20 11' '60 1' '150 7' '300 0'; do
	number=$((number + 1))
	read -r told wait_ms <<<"$moment"
	start "kill$number" "$(script $number)" --disk "$tmp/raw" --disk "$tmp/files" --timeout 120
	says "kill$number" "^raw$number $told\$" 90 || true
	sleep "0.0$((wait_ms / 10))$((wait_ms % 10))"
	kill -KILL "$pid"
	await "kill$number"
	equal "kill$number: status" 137 "$status"
	nothing_left "kill$number"
	check_raw "kill$number" "raw$number" "$told"
	check_file "kill$number" "file$number"
done 2>"$tmp/bash" # which tells of those killed
finish
