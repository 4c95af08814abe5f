#!/usr/bin/env bash
# Directories that a guest writes to: --share DIRECTORY:PATH, and --root DIRECTORY,rw, by an ordinary user in the whole sandbox.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
applets+=(chmod chown ln mkfifo mknod mv rm rmdir touch truncate)

prepare_more() {
	make_or_skip gcc -std=gnu11 -O2 -s -static -Wall -Wextra -o "$stage/witness" "$repo/tests/hostile/witness.c"
}
enter_lab cloud
begin_command
place_kernel cloud "$tmp/place"
options=(--kernel "$kernel" --boot-timeout $((100 * slower)))
options+=(--sandbox "$strict" --memory 512M)
rootless=("${options[@]}")
options+=(--root "$tmp/root,shared")

# The shared directory lies on a disk's file system beside what must stay as it is.
place=$(mktemp -d /var/tmp/share-XXXXXX)
undo+=("rm -rf $place")
mkdir "$place/share" "$place/outside"
printf 'canary\n' >"$place/outside/canary"
ln -s "$place/outside/canary" "$place/share/out"
ln -s ../outside/canary "$place/share/up"
printf 'old\n' >"$place/share/old"
mkdir "$place/share/dir"
if is_root; then chown -R 1000:1000 "$place"; fi
chmod 0755 "$place"
state_outside() {
	find "$place/outside" -printf '%p|%y|%s|%m|%n|%T@|%C@\n' | LC_ALL=C sort
}
state_outside >"$tmp/outside"
share=$place/share

# watch - from now on it is told who opens, reads or changes what is outside
watch() {
	: >"$tmp/seen"
	"$stage/witness" "$place/outside" "$place" >"$tmp/seen" &
	witness=$!
	children[$witness]=witness
	until [ -s "$tmp/seen" ]; do
		kill -0 "$witness" || { fail 'the witness' 'has ended' && finish; }
		sleep 0.05
	done
}

# unwatch - leaves in $seen what was told
unwatch() {
	kill "$witness"
	wait "$witness" || fail "the witness" "status $?"
	unset "children[$witness]"
	seen=$(tail -n +2 "$tmp/seen" | tr '\n' ' ')
}

# holds PID FILE... - how many of a process's descriptors lead to one of these files, those included that the witness is not told of (O_PATH)
holds() {
	stat -L -c %d:%i /proc/"$1"/fd/* 2>/dev/null | grep -Fxc -f <(stat -c %d:%i "${@:2}") || true
}

watch
ls "$place" >/dev/null && cat "$share/up" >/dev/null
unwatch
check 'who looks outside is seen' "$seen" matches "$seen" "*access* $place *open*access* $place/outside/canary *"
watch

# ---- written ----

cat >"$tmp/root/write.sh" <<'SCRIPT'
cd /mnt/share || exit
echo new >new && echo more >>new && cat new old
mkdir -p a/b && mv new a/b/moved && ln a/b/moved second && ln -s second link && mkfifo pipe
mknod device c 1 3 2>/dev/null || echo no device
chmod 640 second && chown 0:0 second && touch -d '2001-02-03 04:05:06' second
chown 2000 second 2>/dev/null || echo no other owner
stat -c '%a %u %g %h %s' second
exec 3>gone && rm gone && echo text >&3 && cat /proc/self/fd/3 && exec 3>&-
truncate -s 5G large && echo end >>large && stat -c %s large
mkdir full && (cd full && seq 1 1000 | while read -r n; do : >"file-$n"; done; ls | wc -l)
(echo x >out) 2>/dev/null || echo no way out
(echo x >up) 2>/dev/null || echo no way up
(echo x >../outside/canary) 2>/dev/null || echo nor by its path
rm old && rmdir dir && echo gone
umask 077 && echo x >masked && mv masked "$(seq -s n 100 | dd bs=255 count=1 2>/dev/null)"
sync
SCRIPT
run write --log-level info --share "$share:/mnt/share" -- sh /write.sh
equal 'written: errors' '' "$(grep -v '^vmm: ' "$tmp/write.err" || true)"
equal 'written: status' 0 "$status"
equal 'written' "new | more | old | no device | no other owner | 640 0 0 2 9 | text | 5368709124 | 1000 | no way out | no way up | nor by its path | gone" "$(text write.out)"
# With a thread of a sanitizer's there are no namespaces.
layers='*sandbox: *without a way up*an empty root*Landlock*filters*'
[ -z "$VMM_TEST_SANITIZER" ] || layers='*sandbox: *Landlock*'
check 'the sandbox' "$(text write.err)" matches "$(text write.err)" "$layers"
me=$(id -u):$(id -g)
if is_root; then me=1000:1000; fi
equal 'here: a file' "$me 640 2 9 981173106" "$(stat -c '%u:%g %a %h %s %Y' "$share/second")"
equal 'here: its other name' "new more" "$(tr '\n' ' ' <"$share/a/b/moved" | sed 's/ $//')"
equal 'here: a link' second "$(readlink "$share/link")"
equal 'here: a large one' 'end' "$(tail -c 4 "$share/large")"
equal 'here: a pipe' fifo "$(stat -c %F "$share/pipe")"
equal 'here: many' 1000 "$(find "$share/full" -type f | wc -l)"
equal 'here: a long name' "255 600" "$(find "$share" -maxdepth 1 -name '1n2n*' -printf '%f %m' | awk '{print length($1), $2}')"
check 'here: what was removed' "$(ls "$share")" [ ! -e "$share/old" ]
check 'here: a directory' "$(ls "$share")" [ ! -e "$share/dir" ]
unwatch
equal 'nobody has touched what is beside it' '' "$seen"
state_outside | cmp -s - "$tmp/outside" && same=same || same=different
equal 'what is beside it' same "$same"
watch

# ---- read-only, and by a tag ----

cat >"$tmp/root/refused.sh" <<'SCRIPT'
cd /deep/place || exit
cat second
for try in 'echo x >new' 'echo x >>second' 'rm second' 'mkdir d' 'mv second third' 'ln second third' 'chmod 600 second' 'touch second' 'truncate -s 0 second'; do
	sh -c "$try" 2>/dev/null && echo "done: $try"
done
mount -o remount,rw /deep/place && (: >new) 2>&1
SCRIPT
run refused --share "$share:/deep/place:ro" -- sh /refused.sh
check 'read-only' "$(text refused.out)" matches "$(text refused.out)" 'new | more | *new*Read-only file system'
check 'read-only: nothing' "$(ls "$share")" [ ! -e "$share/new" ]

# ---- kept in mind, and not ----

cat >"$tmp/root/cache.sh" <<'SCRIPT'
for i in 1 2 3 4 5 6 7 8; do echo $i; done >/s/lines
dd if=/dev/zero of=/s/zeros bs=100000 count=50 2>/dev/null && cat /s/lines | wc -l
(cd /s && echo a >x && echo b >>x && mv x y && cat y)
SCRIPT
for cache in auto always never; do
	run "cache-$cache" --share "$share:/s,cache=$cache" -- sh /cache.sh
	equal "cache=$cache" "8 | a | b" "$(text "cache-$cache.out")"
	equal "cache=$cache: here" "8 5000000 ab" "$(wc -l <"$share/lines") $(stat -c %s "$share/zeros") $(tr -d '\n' <"$share/y")"
	rm -f "$share"/{lines,zeros,y}
done

# ---- the root itself ----

if is_root; then chown -R 1000:1000 "$tmp/root"; fi
shared=("${options[@]}") options=("${rootless[@]}")
# Where there is no place for a share, and none may be made.
chmod a-w "$tmp/root"
status=0
vmm_ --root "$tmp/root,rw" --share "$share:/new" -- true </dev/null >"$tmp/noplace.out" 2>"$tmp/noplace.err" || status=$?
chmod u+w "$tmp/root"
equal 'no place for a share: status' 123 "$status"
check 'no place for a share' "$(text noplace.err)" grep -q '^vmm: the guest cannot make the place of the shared directory /new: Permission denied$' "$tmp/noplace.err"
run root --root "$tmp/root,rw" -- sh -c 'echo kept >/etc/new && mkdir -p /var/x && mv /bin/wc /var/x/wc && ls /bin/wc 2>/dev/null; cat /etc/new'
options=("${shared[@]}")
equal 'the root: errors' '' "$(text root.err)"
equal 'the root' kept "$(text root.out)"
check 'the root: here' "$(ls "$tmp/root/etc" "$tmp/root/var")" [ "$(cat "$tmp/root/etc/new")" = kept ]
check 'the root: moved' '' [ -L "$tmp/root/var/x/wc" ]

# ---- what the host does meanwhile ----

mkdir "$share/moving"
printf 'here\n' >"$share/moving/file"
if is_root; then chown -R 1000 "$share/moving"; fi
cat >"$tmp/root/meanwhile.sh" <<'SCRIPT'
cat /t/up /t/out /t/up/.. 2>/dev/null
ls -lR /t >/dev/null
cd /s/moving && exec 3<file
echo ready
read -r line
cat <&3
cat file 2>/dev/null || echo no file
(: >new) 2>/dev/null || echo nothing new
ls / >/dev/null && echo alive
SCRIPT
mkfifo "$tmp/go"
exec 4<>"$tmp/go"

vmm_ --share "$share:/s,cache=never" --share "$share:/t:ro,cache=always" -- sh /meanwhile.sh <"$tmp/go" >"$tmp/meanwhile.out" 2>"$tmp/meanwhile.err" &
pid=$!
for _ in $(seq 600); do
	! grep -q ready "$tmp/meanwhile.out" 2>/dev/null || break
	sleep 0.5
done
vmm_pid=$(pgrep -P "$pid" || echo "$pid")
if is_root; then
	check 'links are held themselves' "$(ls -l "/proc/$vmm_pid/fd")" [ "$(holds "$vmm_pid" "$share/up" "$share/out")" = 2 ]
	equal 'what they lead to is not' 0 "$(holds "$vmm_pid" "$place" "$place/outside" "$place/outside/canary")"
else
	note 'whose descriptors vmm has is seen by root alone'
fi
rm -r "$share/moving"
mv "$share" "$place/elsewhere"
echo go >&4
status=0
wait "$pid" || status=$?
equal 'emptied and moved: status' 0 "$status"
equal 'emptied and moved' "ready | here | no file | nothing new | alive" "$(text meanwhile.out)"
# A directory becomes a link that leads out, and a directory again, all the time.
mkdir "$place/race" "$place/race/dir" "$place/race/aside"
if is_root; then chown -R 1000 "$place/race"; fi
ln -s ../outside "$place/race/link"
(
	cd "$place/race"
	while [ ! -e over ]; do
		mv dir aside && mv link dir && mv dir link && mv aside/dir dir
	done
) &
pid=$!
run race --share "$place/race:/s,cache=never" -- sh -c 'for i in $(seq 200); do echo x >/s/dir/canary; rm /s/dir/canary; cat /s/dir/canary; done 2>/dev/null; echo end'
: >"$place/race/over"
wait "$pid"
# What it has written itself it may read.
equal 'links that come and go' end "$(grep -v '^x$' "$tmp/race.out")"
if is_root; then
	mkdir "$place/small"
	mount -t tmpfs -o size=256k,uid=1000 none "$place/small"
	run small --share "$place/small:/s" -- sh -c 'dd if=/dev/zero of=/s/x bs=4096 count=1000 2>&1 | grep -o "No space left on device"; rm /s/x && echo y >/s/y && cat /s/y'
	umount "$place/small"
	equal 'a full disk' 'No space left on device | y' "$(text small.out)"
fi
unwatch
equal 'at the end, nobody has opened what is beside it to read or write' '' "$seen"
state_outside | cmp -s - "$tmp/outside" && same=same || same=different
equal 'at the end, what is beside it' same "$same"
finish
