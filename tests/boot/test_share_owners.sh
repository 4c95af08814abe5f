#!/usr/bin/env bash
# Owners, groups and modes on a shared directory, where vmm is run by root and stays so: what a guest's root and users make there is as if this host's
# had made it. One script runs here and in a guest, and what it sees is compared.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
applets+=(chgrp chmod chown ln mkfifo mv rm su touch truncate)
enter_lab cloud
is_root || skip 'owners need root rights'
[ -n "$filters" ] || skip 'files keep the owners only under the filters of system calls, which a sanitizer does not live with'
begin_command
place_kernel cloud "$tmp/place"
user=()
options=(--kernel "$kernel" --boot-timeout $((100 * slower)) --sandbox "$strict" --memory 512M --root "$tmp/root,shared")
echo 'guest:x:1000:1001::/:/bin/sh' >"$tmp/root/etc/passwd"
cat >"$tmp/root/owners.sh" <<'SCRIPT'
cd "$1" || exit
see() { echo "$1"; stat -c '%n %a %u:%g' $2; }
umask 022

mkdir ours && chgrp 34 ours && chmod 2777 ours
see 'a directory with a group of its own' ours
su guest -c 'umask 022; cd ours; echo x >file; mkdir dir; mkdir dir/dir; ln -s x link; mkfifo pipe; touch dir/file'
echo x >ours/root && mkdir ours/rootdir
see 'what is made there' "ours/* ours/dir/*"
chmod 2770 ours/dir && chmod g-s ours/rootdir
see 'modes of directories' ours/*dir
chown 5:6 ours/dir && su guest -c 'mkdir own; chmod 777 own' 2>/dev/null || echo not there
see 'owners of directories' ours/dir

mkdir -m 2755 made && chown 1000:34 made
see 'the owner is not of the group' made
su guest -c 'chmod 2775 made; umask 0; mkdir -m 2777 made/in; mkdir made/out; chmod 2700 made/out'
see 'and loses it' 'made made/*'
chmod 2775 made
see 'root does not' made
mv ours/dir made/ && mv made/in ours/
see 'moved' 'made/* ours/in'

echo x >file && chown 1000:1001 file && chmod 0660 file
su guest -c 'chgrp 1001 file; chmod 0640 file; (chgrp 34 file || chown 5 file) 2>/dev/null || echo not its own to give'
see 'a file' file
cd marked
su guest -c 'echo y >>appended; : >emptied; truncate -s 1 cut; dd if=/dev/zero of=written bs=1 count=1 conv=notrunc 2>/dev/null; chgrp 1001 given'
chown 5:6 owned
see 'what runs as its owner, and is changed' '*'
SCRIPT

# make DIRECTORY - the files from before
make() {
	local name
	mkdir -p "$1/marked"
	chmod 0777 "$1/marked"
	for name in appended emptied cut written given owned left; do
		echo text >"$1/marked/$name"
		chown 1000:1001 "$1/marked/$name"
		chmod 6755 "$1/marked/$name"
	done
}

make "$tmp/files/share"
make "$tmp/files/here"
mkdir "$tmp/root/here"
mount --bind "$tmp/files/here" "$tmp/root/here"
undo+=("umount $tmp/root/here")
mount --bind /dev "$tmp/root/dev"
undo+=("umount $tmp/root/dev")
chroot "$tmp/root" sh /owners.sh /here >"$tmp/here.out" 2>&1
umount "$tmp/root/here" "$tmp/root/dev"
check 'here' "$(text here.out)" matches "$(text here.out)" '*ours 2777 0:34*ours/file 644 1000:34*left 6755 1000:1001*'
for cache in never always; do
	run "$cache" --share "$tmp/files/share:/s,cache=$cache" -- sh /owners.sh /s
	equal "$cache: status" 0 "$status"
	equal "$cache: errors" '' "$(text "$cache.err")"
	equal "$cache: as here" '' "$(diff "$tmp/here.out" "$tmp/$cache.out" || true)"
	rm -rf "$tmp/files/share"
	make "$tmp/files/share"
done
nothing_left 'all'
finish
