#!/usr/bin/env bash
# Images that stay as they are: overlays, thrown away and kept, several on one image at once, and qcow2 as qemu-img makes it.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

images=$stage/qcow2
qcow2=(small packed zstd large old snapshot extended on_raw on_qcow2)

# convert NAME OPTION... - $images/NAME of the content, and what qemu-img says it reads as
convert() {
	qemu-img convert -q -O qcow2 "${@:2}" "$images/content" "$images/$1"
	sum "$1"
}

sum() {
	qemu-img convert -q -f qcow2 -O raw "$images/$1" "$images/raw"
	sha256sum <"$images/raw" >"$images/$1.sum"
}

# change NAME - some clusters of the image, with other content
change() {
	qemu-io -f qcow2 -c 'write -q -P 7 100k 300k' -c 'write -q -P 9 3000k 1k' -c 'write -z -q 1M 200k' "$images/$1" >/dev/null
}

# 4 MiB: noise, text, nothing, and noise that begins within a cluster.
make_content() {
	truncate -s 4M "$images/content"
	dd if=/dev/urandom of="$images/content" bs=1k count=700 conv=notrunc status=none
	dd of="$images/content" bs=1k count=800 seek=900 iflag=fullblock conv=notrunc status=none < <(yes 'text, which can be packed')
	dd if=/dev/urandom of="$images/content" bs=1k count=333 seek=3333 conv=notrunc status=none
}

make_images() {
	rm -rf "$images"
	mkdir "$images"
	make_content
	convert small -o cluster_size=512
	convert packed -c -o cluster_size=4k
	convert zstd -c -o compression_type=zstd
	convert large -o cluster_size=2M
	convert old -c -o compat=0.10
	convert extended -o extended_l2=on
	convert snapshot -o cluster_size=16k
	qemu-img snapshot -c before "$images/snapshot"
	change snapshot
	sum snapshot
	qemu-img create -q -f qcow2 -F raw -b content "$images/on_raw"
	qemu-img create -q -f qcow2 -F qcow2 -b packed "$images/on_qcow2" 5M
	for name in on_raw on_qcow2; do
		change $name
		sum $name
	done
	qemu-img convert -q -O qcow2 -c "$VMM_IMAGES/root.ext4" "$images/root"
	rm "$images/raw"
	touch "$images/made"
}

prepare() {
	command -v qemu-img qemu-io >/dev/null || skip 'qemu-img and qemu-io are missing (package qemu-utils)'
	if [ "$here/test_images.sh" -nt "$images/made" ] || [ "$VMM_IMAGES/root.ext4" -nt "$images/made" ]; then
		make_images
	fi
}

enter_lab cloud
if ! grep -q -- -lzstd "$build/lib/vmm.pc" && ! grep -qF libzstd.so "$vmm"; then
	note 'vmm is built without zstd'
	qcow2=("${qcow2[@]/zstd/packed}")
fi

# seen FILE - all that must not change
seen() {
	echo "$(stat -c '%s %y' "$1") $(sha256sum <"$1")"
}

cp -r "$images" "$tmp/qcow2"
truncate -s 48M "$tmp/base"
mke2fs -q -t ext4 -L base "$tmp/base"
declare -A before=()
for file in base qcow2/root qcow2/packed; do
	before[$file]=$(seen "$tmp/$file")
done
find "$tmp/vmm.d" >"$tmp/before"

# ---- two machines on the same images at once ----

# Each root is the same packed image, under an overlay that ends with the machine.
root=$tmp/qcow2/root,format=qcow2,overlay root_mode=rw
machine() {
	start_gated "$1" "
		set -e
		for d in vdb vdc; do
			mount /dev/\$d /mnt
			yes $1 | head -c 3000000 >/mnt/$1
			echo \"\$d: \$(ls /mnt)\" | xargs
			umount /mnt
		done
		dd if=/dev/urandom of=/dev/vdc bs=1k count=1 seek=40k conv=notrunc,fsync 2>/tmp/err
		echo $1 >/root/$1
		sync
		echo \"sum: \$(sha256sum </dev/vdc)\"
		echo ready
		read -r line
		echo \"root: \$(ls /root)\"
		$2
	" --disk "$tmp/base,overlay" --disk "$tmp/base,overlay=$tmp/$1.kept" "${@:3}" --timeout 120
}

# One of them reads all the other images too.
disks=() n=0 letters=(d e f g h i j k l)
for name in "${qcow2[@]}"; do
	disk=$tmp/qcow2/$name,format=qcow2,readonly
	[ "$name" != on_raw ] || disk+=,backing=$tmp/qcow2/content
	[ "$name" != on_qcow2 ] || disk+=,backing=$tmp/qcow2/packed,backing-format=qcow2
	disks+=(--disk "$disk")
done
# shellcheck disable=SC2016 # for the guest
machine one 'for d in /dev/vd[d-z]; do echo "$d: $(sha256sum <$d)"; done' "${disks[@]}"
machine two true
for name in one two; do
	says $name ready || true
done
refused 'an overlay in use' "vmm: *overlay '*one.kept'*in use*" --disk "$tmp/base,overlay=$tmp/one.kept"
refused 'an image under overlays, for writing' "vmm: *base'*in use (locked)*" --disk "$tmp/base"
for name in one two; do
	let_go $name
done
powers_off one
equal 'one: the changes of two are not there' 'lost+found one' "$(value vdb)"
equal 'one: nor in the kept overlay' 'lost+found one' "$(value vdc)"
equal 'one: nor on the root disk' one "$(value root)"
sum_one=$(value sum)
for name in "${qcow2[@]}"; do
	equal "qcow2 $name: content" "$(<"$tmp/qcow2/$name.sum")" "$(value "/dev/vd${letters[n]}")"
	n=$((n + 1))
done
powers_off two
equal 'two: the changes of one are not there' 'lost+found two' "$(value vdc)"
sum_two=$(value sum)
for file in "${!before[@]}"; do
	equal "$file: untouched" "${before[$file]}" "$(seen "$tmp/$file")"
done
equal 'temporary overlays: nothing is left' "$(<"$tmp/before")" "$(find "$tmp/vmm.d")"

# ---- what was kept is there again ----

boot again '
	echo "one: $(sha256sum </dev/vdb)"
	echo "two: $(sha256sum </dev/vdc)"
	for d in vdb vdc; do
		e2fsck -fn /dev/$d >/tmp/fsck || echo "fsck: $d $(tail -n 1 /tmp/fsck)"
		mount /dev/$d /mnt
		echo "$d: $(ls /mnt | xargs) $(yes $(ls /mnt | tail -n 1) | cmp -n 3000000 - /mnt/[ot]*[eo] && echo whole)"
		umount /mnt
	done
	echo "root: $(ls /root)"
' --disk "$tmp/base,overlay=$tmp/one.kept" --disk "$tmp/base,overlay=$tmp/two.kept"
equal 'again: one' "$sum_one" "$(value one)"
equal 'again: two' "$sum_two" "$(value two)"
equal 'again: file systems are clean' '' "$(value fsck)"
equal 'again: the file of one' 'lost+found one whole' "$(value vdb)"
equal 'again: the file of two' 'lost+found two whole' "$(value vdc)"
equal 'again: the root disk forgets' '' "$(value root)"

# ---- an image that is not what the overlay was made over ----

kept="overlay=$tmp/one.kept"
cp -p "$tmp/base" "$tmp/moved"
accepted 'a copy with its time' --disk "$tmp/moved,$kept"
touch "$tmp/moved"
refused 'a base with another time' "vmm: *one.kept'*was written since*touch -d @*" --disk "$tmp/moved,$kept"
printf x | dd of="$tmp/moved" bs=1 seek=1100 conv=notrunc 2>/dev/null
touch -r "$tmp/base" "$tmp/moved"
refused 'a base with another content' "vmm: *one.kept'*content of*was changed*" --disk "$tmp/moved,$kept"
truncate -s 49M "$tmp/moved"
refused 'a base of another size' "vmm: *one.kept'*50331648 bytes*51380224*" --disk "$tmp/moved,$kept"
head -c 4096 /dev/zero >"$tmp/other"
refused 'a file that is no overlay' "vmm: *other'*not an overlay*" --disk "$tmp/base,overlay=$tmp/other"
refused 'qcow2 for writing' "vmm: *never written*overlay*" --disk "$tmp/qcow2/packed,format=qcow2"
refused 'a backing file that is not named' "vmm: *content*backing=*" --disk "$tmp/qcow2/on_raw,format=qcow2,readonly"
accepted 'the base itself' --disk "$tmp/base,$kept"
finish
