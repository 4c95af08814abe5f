#!/usr/bin/env bash
# Directories of the host as the guest's root: this host's own without an option, and others with --root DIRECTORY,shared.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
enter_lab cloud
begin_command

place=$tmp/place
place_kernel cloud "$place"
options=(--kernel "$kernel" --boot-timeout 100)

# ---- this host's own root ----

# A tree of what is hard to show: names, links, holes, times, modes, many files, a large one.
place_of_tree=$(mktemp -d /var/tmp/share-XXXXXX) # not in /dev/shm, which is the guest's own
trap 'rm -rf "$place_of_tree"' EXIT
chmod 0755 "$place_of_tree"
tree=$place_of_tree/tree
mkdir -p "$tree/many" "$tree/deep/$(seq -s / 1 60)" "$tree/closed"
printf 'text\n' >"$tree/file"
printf 'x' >"$tree/$(printf 'n%.0s' {1..255})"
printf 'x' >"$tree/ a name;\$(with) *words*"$'\n'and
ln "$tree/file" "$tree/deep/second name"
ln -s ../file "$tree/deep/link"
ln -s /nowhere/at/all "$tree/broken"
mkfifo "$tree/pipe"
truncate -s 5G "$tree/large"
printf 'end' | dd of="$tree/large" bs=1 seek=5G conv=notrunc status=none
(cd "$tree/many" && seq -f 'file-%g' 1 2000 | xargs touch -d '2001-02-03 04:05:06.789')
chmod 4755 "$tree/file"
printf 'secret\n' >"$tree/closed/secret"
chmod 0 "$tree/closed/secret"
look=$place_of_tree/look
cat >"$look" <<'SCRIPT'
cd "$1" || exit
find . -printf '%p|%y|%s|%m|%n|%T@|%l\n' | LC_ALL=C sort
find . -type f ! -name large ! -name secret -exec sha256sum {} + | LC_ALL=C sort
tail -c 3 large
cat many/none 2>&1
readlink -f deep/link
stat -c %d many deep | uniq | wc -l
SCRIPT

cd "$tree"
run root --sandbox "$strict" --log-level info --memory 512M -- sh -c "pwd; uname -r; id -u; PATH=/usr/bin bash '$look' '$tree'"
cd /
(cd "$tree" && echo "$tree" && echo "$release" && echo 0 && PATH=/usr/bin bash "$look" "$tree") >"$tmp/want"
equal 'the host root: status' 0 "$status"
same=different
! diff "$tmp/want" "$tmp/root.out" >&2 || same=same
equal 'a tree, name by name' same "$same"
check 'the sandbox' "$(text root.err)" matches "$(text root.err)" "*sandbox: *an empty root*Landlock*$filters*"

# What the guest writes is its own, and what its user may not read stays closed.
run home -- sh -c 'echo "$HOME"; cat ~/.none 2>&1; mkdir -p ~/.cache/x && echo made; stat -c %a /tmp'
equal 'a home' "/root made 1777" "$(grep -v none "$tmp/home.out" | tr '\n' ' ' | sed 's/ $//')"
check 'a home: what is not there' "$(text home.out)" grep -q 'No such file' "$tmp/home.out"
run writes -- sh -c "echo new >'$tree/deep/link' && cat '$tree/file' && rm '$tree/pipe' && echo n >'$tree/new' && mkdir /etc/d && ls '$tree' | wc -l; cat '$tree/closed/secret'; ls /proc/1/root/vmm 2>&1"
equal 'a write is seen in the guest' 'new' "$(head -n 1 "$tmp/writes.out")"
equal 'and not here' "text pipe" "$(cat "$tree/file") $(cd "$tree" && echo pipe*)"
check 'nor there' "$(ls -A "$tree")" [ ! -e "$tree/new" ]
if is_root; then
	check 'a file of another' "$(text writes.err)" matches "$(text writes.err)" '*secret: Permission denied*'
fi

# This host's kernel cannot be looked into through it.
run kernel -- sh -c 'mkdir /mnt/x && mount --bind / /mnt/x && ls -A /mnt/x/proc /mnt/x/sys | grep -v :; echo end'
equal 'proc and sys below' ' end' "$(tr '\n' ' ' <"$tmp/kernel.out" | tr -s ' ' | sed 's/ $//')"

# With few descriptors every file is found all the same.
status=0
(ulimit -n 200 && vmm_ --memory 1G -- sh -c 'find /usr -xdev | head -n 5000 | wc -l') >"$tmp/few.out" 2>"$tmp/few.err" </dev/null || status=$?
equal 'few descriptors: errors' '' "$(text few.err)"
equal 'few descriptors: status' 0 "$status"
equal 'few descriptors' "$(find /usr -xdev 2>/dev/null | head -n 5000 | wc -l)" "$(text few.out | tr -d ' |')"

# A directory that is not there, or is the guest's own, is told.
mkdir -p /run/of-the-host
(cd /run/of-the-host && vmm_ -- pwd) </dev/null >"$tmp/run.out" 2>"$tmp/run.err" || true
equal 'below /run: where it runs' / "$(text run.out)"
equal 'below /run: says' 'vmm: in the guest: the command runs in /, as it cannot run in /run/of-the-host: No such file or directory ' "$(text run.err) "

# ---- a directory ----

ln -s /etc/hostname "$tmp/root/out"
printf 'outside\n' >"$tmp/canary"
ln -s "$tmp/canary" "$tmp/root/canary"
ln -s ../../../../../../../../../../../etc/passwd "$tmp/root/up"
run dir --root "$tmp/root,shared" -- sh -c 'echo dir; cat /out /canary /up; cd /.. && ls -d /root /boot; echo w >/bin/w && cat /bin/w'
equal 'a directory' 'dir | /root | w' "$(text dir.out)"
check 'links out of it' "$(text dir.err)" matches "$(text dir.err)" "*/out'*No such file*/canary'*No such file*/up'*No such file*"
check 'it stays as it was' "$(ls "$tmp/root/bin")" [ ! -e "$tmp/root/bin/w" ]
run mmio --root "$tmp/root,shared" --transport mmio -- cat /bin/busybox
equal 'by MMIO' "$(sha256sum <"$tmp/root/bin/busybox")" "$(sha256sum <"$tmp/mmio.out")"

# Without overlayfs it can be read alone, which is told: beforehand where it is known, else by the guest.
if [ -d "$VMM_IMAGES/kernel-cloud/modules/kernel/fs/overlayfs" ]; then
	mkdir -p "$tmp/less/boot" "$tmp/less/lib/modules"
	ln -s "$tmp/kernel-cloud" "$tmp/less/boot/vmlinuz-$release"
	cp -as "$VMM_IMAGES/kernel-cloud/modules" "$tmp/less/lib/modules/$release"
	sed -i '/overlayfs/d' "$tmp/less/lib/modules/$release/modules.dep"
	options=(--kernel "$tmp/less/boot/vmlinuz-$release" --boot-timeout 100)
	run less --root "$tmp/root,shared" -- sh -c 'echo reads; echo w >/new'
	equal 'no overlayfs: what it can do' 'reads' "$(text less.out)"
	check 'no overlayfs: says' "$(text less.err)" matches "$(text less.err)" "vmm: kernel '*' lacks overlayfs (CONFIG_OVERLAY_FS): the command cannot write to its root*"
	equal 'no overlayfs: says so once' 1 "$(grep -c 'vmm: ' "$tmp/less.err")"
	rm "$tmp/less/lib/modules/$release/modules.builtin"
	run unknown --root "$tmp/root,shared" -- true
	equal 'overlayfs unknown: says' "vmm: in the guest: the root cannot be written: its kernel has no overlayfs (CONFIG_OVERLAY_FS), or it does not work: No such device" "$(text unknown.err | sed 's/ $//')"
else
	note 'no overlayfs: it is no module of this kernel'
fi

# ---- what cannot be ----

mkdir -p "$tmp/bare/boot"
ln -s "$tmp/kernel-cloud" "$tmp/bare/boot/vmlinuz-$release"
ln -s "$VMM_IMAGES/kernel-cloud/config" "$tmp/bare/boot/config-$release"
options=(--kernel "$tmp/bare/boot/vmlinuz-$release")
run lacks -- true
equal 'a kernel that lacks it: status' 125 "$status"
check 'a kernel that lacks it' "$(text lacks.err)" matches "$(text lacks.err)" \
	"*lacks *shared directories (CONFIG_VIRTIO_FS)*--root DIRECTORY,packed*"
options=(--kernel "$place/boot/vmlinuz-$release")
run proc --root /proc,shared -- true
equal 'a view into the kernel: status' 125 "$status"
check 'a view into the kernel' "$(text proc.err)" matches "$(text proc.err)" "*cannot share directory '/proc': it is a view into this host's kernel*"
finish
