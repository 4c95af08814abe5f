#!/usr/bin/env bash
# The root of a command: a directory with everything that can be in one, and images of three file systems.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

# Images of the root, as far as there are programs to make them.
prepare_more() {
	local root=$command_root
	echo 'in the image' >"$root/etc/mark"
	make_or_skip mkfs.ext4 -q -F -d "$root" "$stage/command.ext4" 16M
	rm -f "$stage/command.squashfs" "$stage/command.erofs"
	if command -v mksquashfs >/dev/null; then
		make_or_skip mksquashfs "$root" "$stage/command.squashfs" -all-root -quiet -no-progress
	fi
	if command -v mkfs.erofs >/dev/null; then
		make_or_skip mkfs.erofs "$stage/command.erofs" "$root"
	fi
}
enter_lab cloud
begin_command

# ---- a directory ----

# list - what is there: kind, modes, ids, links, size, time, name and where it points to; devices by their numbers
list='cd "$1" && busybox find . -mindepth 1 \( -path ./dev -o -path ./proc -o -path ./run -o -path ./sys -o -path ./tmp \) -prune -o -mindepth 1 -print |
	busybox sort | while IFS= read -r name; do
	busybox stat -c "%n|%F|%a|%u:%g|%h|%t:%T|%Y" "$name"
	[ -d "$name" ] || busybox stat -c "%s" "$name"
	[ -L "$name" ] || [ ! -f "$name" ] || busybox sha256sum <"$name"
	[ ! -L "$name" ] || busybox readlink "$name"
done'

mkdir -p "$tmp/root/a/deep/tree/of directories" "$tmp/root/mode" "$tmp/root/vmm"
echo theirs >"$tmp/root/vmm/init"
for mode in 0000 0400 0644 0755 1777 2755 4755 6711; do
	echo "$mode" >"$tmp/root/mode/$mode"
	chmod "$mode" "$tmp/root/mode/$mode"
done
mkdir -m 1777 "$tmp/root/mode/sticky"
head -c 100000 /dev/urandom >"$tmp/root/a/random"
ln "$tmp/root/a/random" "$tmp/root/a/deep/second name"
ln "$tmp/root/a/random" "$tmp/root/third"
ln -s ../nowhere "$tmp/root/a/dangling"
ln -s "$(printf 'x%.0s' {1..1000})" "$tmp/root/a/long"
: >"$tmp/root/a/empty"
echo x >"$tmp/root/a/-name 'with\"every\\thing ü"
touch -d @1234567890 "$tmp/root/a/empty" "$tmp/root/a/deep"
mkfifo "$tmp/root/a/fifo"
if is_root; then
	mknod "$tmp/root/a/null" c 1 3
	mknod "$tmp/root/a/block" b 259 300000
	chown 12345:54321 "$tmp/root/a/random" "$tmp/root/a/deep"
	chown -h 7:8 "$tmp/root/a/dangling"
	mkdir "$tmp/root/mounted"
	mount -t tmpfs -o mode=755 tmpfs "$tmp/root/mounted"
	undo+=("umount $tmp/root/mounted")
	echo hidden >"$tmp/root/mounted/file"
fi
user_before=("${user[@]}")
user=()
run directory --root "$tmp/root,packed" -- sh -c "$list" sh /
if is_root; then umount "$tmp/root/mounted"; fi
bash -c "$list" sh "$tmp/root" >"$tmp/expected"
# A mount point shows the times of what is mounted.
grep -v '^./mounted|' "$tmp/expected" >"$tmp/wanted"
grep -v '^./mounted|' "$tmp/directory.out" >"$tmp/seen" || true
check 'a directory: all of it' "$(wc -l <"$tmp/wanted") lines" cmp "$tmp/wanted" "$tmp/seen"
cmp -s "$tmp/wanted" "$tmp/seen" || busybox diff "$tmp/wanted" "$tmp/seen" | head -n 20 || true
equal 'a directory: errors' '' "$(text directory.err)"
if is_root; then
	mount -t tmpfs -o mode=755 tmpfs "$tmp/root/mounted"
	echo hidden >"$tmp/root/mounted/file"
	run mounts --root "$tmp/root,mounts" -- cat /mounted/file
	equal 'what is mounted below, asked for' hidden "$(text mounts.out)"
	run nomounts --root "$tmp/root,packed" -- ls -A /mounted
	equal 'what is mounted below' '0 ' "$status $(text nomounts.out)"
	# What an ordinary user may not read.
	user=("${user_before[@]}")
	run unreadable --root "$tmp/root,packed" -- ls /mode
	equal 'unreadable: status' 0 "$status"
	check 'unreadable: message' "$(text unreadable.err)" \
		matches "$(<"$tmp/unreadable.err")" "vmm: you may not read '$tmp/root/mode/*', so the guest does not have it"$'\n'"vmm: nor 2 other files*"
	check 'unreadable: the others' "$(text unreadable.out)" grep -q 4755 "$tmp/unreadable.out"
fi
user=("${user_before[@]}")

# ---- images ----

for type in ext4 squashfs erofs; do
	if [ ! -e "$stage/command.$type" ]; then
		note "no program here makes $type"
		continue
	fi
	cp "$stage/command.$type" "$tmp/image"
	chmod 444 "$tmp/image"
	sum=$(sha256sum <"$tmp/image")
	run "$type" --root "$tmp/image" -- sh -c 'cat /etc/mark; echo new >/etc/new && cat /etc/new; echo t >/tmp/t; while read -r d p t r; do [ $p != / ] || echo $t; done </proc/mounts'
	equal "$type: status" 0 "$status"
	[ $type = ext4 ] && want=ext4 || want=overlay
	equal "$type: what is there and what is written" "in the image | new | $want" "$(text "$type.out")"
	equal "$type: errors" '' "$(text "$type.err")"
	equal "$type: the image" "$sum" "$(sha256sum <"$tmp/image")"
	rm -f "$tmp/image"
done

cp "$stage/command.ext4" "$tmp/kept"
! is_root || chown 1000 "$tmp/kept"
run kept --root "$tmp/kept,rw" --disk "$root,readonly" -- sh -c 'echo kept >/etc/kept; ls /dev/vd?'
equal 'kept: status' 0 "$status"
equal 'kept: disks' '/dev/vda | /dev/vdb' "$(text kept.out)"
equal 'kept: what was written' kept "$(debugfs -R 'cat /etc/kept' "$tmp/kept" 2>/dev/null)"
check 'kept: the file system is clean' "$(dumpe2fs -h "$tmp/kept" 2>/dev/null | grep state)" \
	grep -q 'state: *clean$' <(dumpe2fs -h "$tmp/kept" 2>/dev/null)
check 'kept: nothing to recover' 'no' [ -z "$(dumpe2fs -h "$tmp/kept" 2>/dev/null | grep -o needs_recovery)" ]

# Another disk's file system, which the guest does not take apart; the command's end makes it stable.
cp "$stage/command.ext4" "$tmp/other"
! is_root || chown 1000 "$tmp/other"
run other --root "$stage/command.ext4" --disk "$tmp/other" -- sh -c 'mount /dev/vdb /root && echo lasts >/root/lasts'
equal 'another disk: status' 0 "$status"
e2fsck -fy "$tmp/other" >/dev/null 2>&1 || true
equal 'another disk: what was written' lasts "$(debugfs -R 'cat /lasts' "$tmp/other" 2>/dev/null)"

# The user's own socket device goes together with ours.
run sockets --root "$stage/command.ext4" --vsock "cid=77,socket=$tmp/vmm.d/v" -- cat /sys/class/misc/vsock/dev
equal 'a socket device of the user: status' 0 "$status"
nothing_left 'all of these'
finish
