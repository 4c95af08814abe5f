#!/usr/bin/env bash
# What fio writes it reads again, with its own checksums: random offsets and sizes, one request at a time and many, on a disk
# of each kind. FIO_LOOPS=12 does all of it so often.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

loops=${FIO_LOOPS:-1}
part_kib=5000
image=$stage/fio.ext4 base=$stage/fio.qcow2

# A disk of fio and its libraries, which are large: no other test shall copy them.
make_image() {
	local tree=$stage/fio
	rm -rf "$tree"
	mkdir "$tree"
	ldd "$(command -v fio)" | grep -o '/[^ ]*' | xargs cp -L "$(command -v fio)" -t "$tree"
	truncate -s 160M "$image.new"
	mke2fs -q -t ext4 -d "$tree" "$image.new"
	rm -r "$tree"
	mv "$image.new" "$image"
}

# Packed clusters, all of which are there.
make_base() {
	head -c $((32 << 20)) < <(base64 /dev/urandom) >"$base.raw"
	qemu-img convert -q -O qcow2 -c "$base.raw" "$base"
	rm "$base.raw"
}

prepare() {
	command -v fio >/dev/null || skip 'fio is missing (package fio)'
	command -v qemu-img >/dev/null || skip 'qemu-img is missing (package qemu-utils)'
	[ "$image" -nt "$(command -v fio)" ] || make_or_skip make_image
	[ "$base" -nt "$here/test_fio.sh" ] || make_or_skip make_base
}

enter_lab cloud -- --timeout $((560 + loops * 30))
files=$tmp/files
mount_ext4 "$files" 250M || skip 'mounting a file system needs root rights and a loop device'
truncate -s 32M "$files"/{raw,direct,base} "$tmp/memory"
cp "$base" "$files/qcow2"

# Each kind of disk has three jobs at once, one for each part of it.
kinds=(raw direct overlay qcow2 memory) letters=(d e f g h)
jobs_file() {
	local number part depths=(1 7 32)
	cat <<-END_OF_GLOBAL
		[global]
		ioengine=libaio
		direct=1
		thread
		rw=randwrite
		bsrange=512-128k
		serialize_overlap=1
		verify=crc32c
		verify_backlog=50
		verify_fatal=1
		verify_state_save=0
		loops=$loops
		size=${part_kib}k
		randseed=$RANDOM
	END_OF_GLOBAL
	for number in 0 1 2 3 4; do
		for part in 0 1 2; do
			printf '[%s-%s]\nfilename=/dev/vd%s\noffset=%sm\niodepth=%s\n' \
				"${kinds[number]}" "${depths[part]}" "${letters[number]}" $((part * 11)) "${depths[part]}"
		done
	done
}
jobs_file >"$tmp/jobs"
note "$(grep randseed "$tmp/jobs")"
truncate -s 64K "$tmp/jobs"
# fio's terse output, version 3: name, error, KiB read and KiB written are fields 3, 5, 6 and 47
# shellcheck disable=SC2016 # for the guest
start fio '
	mount -o ro /dev/vdb /mnt
	tr -d "\\0" </dev/vdc >/tmp/jobs
	LD_LIBRARY_PATH=/mnt /mnt/fio --minimal --terse-version=3 /tmp/jobs >/tmp/told 2>&1
	echo "fio: $?"
	grep -v "^3;" /tmp/told | head -n 20
	sed -n "s/^3;//p" /tmp/told | cut -d ";" -f 2,4,5,46 | tr ";" " " | sed "s/^/job: /"
' --cpus 2 --io-threads 2 --memory 512M --timeout $((150 + loops * 30)) \
	--disk "$image,readonly" --disk "$tmp/jobs,readonly" --disk "$files/raw" --disk "$files/direct,direct" \
	--disk "$files/base,overlay" --disk "$files/qcow2,format=qcow2,overlay" \
	--disk "$tmp/memory"
powers_off fio
[ "$(value fio)" = 0 ] || cat "$tmp/fio.out"
equal 'fio: status' 0 "$(value fio)"
equal 'fio: jobs' 15 "$(grep -c '^job:' <<<"$output" || true)"
while read -r _ name error read written; do
	check "$name" "error $error, $written KiB written, $read KiB verified" \
		[ "$error $written $read" = "0 $((part_kib * loops)) $((part_kib * loops))" ]
done < <(grep '^job:' <<<"$output" || true)
finish
