#!/usr/bin/env bash
# Users of a guest on a shared directory, where vmm is run by the root of a user namespace with users of its own (subuid(5)): they are those of the
# namespace, and so some of this host's that nobody else has.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
applets+=(chgrp chmod chown ln mkfifo mv rm su touch)

prepare_more() {
	command -v newuidmap >/dev/null || skip 'no newuidmap (package uidmap)'
}
enter_lab cloud
is_root || skip 'giving a user other users needs root rights'
begin_command

place=$(mktemp -d /var/tmp/share-XXXXXX)
undo+=("rm -rf $place")
mkdir "$place/share"
place_kernel cloud "$place"
options=(--kernel "$kernel" --boot-timeout $((100 * slower)) --sandbox "$strict" --memory 512M --root "$tmp/root,shared")
share=$place/share

# Our user has 65536 others, from 200000 on; this host's own lists stay as they are.
first=200000
echo 'someone:x:1000:1000::/:/bin/sh' >"$place/passwd"
echo 'someone:x:1000:' >"$place/group"
echo "someone:$first:65536" >"$place/subid"
# shellcheck disable=SC2016
in_namespace=(unshare --mount --propagation private bash -c '
	mount --bind "$0/passwd" /etc/passwd && mount --bind "$0/group" /etc/group && mount --bind "$0/subid" /etc/subuid &&
		mount --bind "$0/subid" /etc/subgid && export PATH=$PATH:/usr/bin:/bin &&
		exec setpriv --reuid=1000 --regid=1000 --clear-groups unshare --user --map-root-user --map-auto "$@"' "$place")
chmod 0755 "$place"
chown -R 1000:1000 "$share"
chmod 1777 "$share"
"${in_namespace[@]}" cat /proc/self/uid_map >"$place/map" 2>"$place/map.err" || skip "no such user namespace here: $(tr '\n' ' ' <"$place/map.err")"
user=("${in_namespace[@]}")

# outside ID - which user of this host that one of the namespace is
outside() {
	awk -v id="$1" '$1 <= id && id < $1 + $3 { print $2 + id - $1 }' "$place/map"
}
equal 'the namespace: root' 1000 "$(outside 0)"
check 'the namespace: 1000' "$(outside 1000)" [ "$(outside 1000)" -ge $first ]

# Somebody's file from before, and one of nobody whom the namespace knows.
echo before >"$share/before"
chown "$(outside 5):$(outside 6)" "$share/before"
echo closed >"$share/closed"
chmod 0600 "$share/closed"
cat >"$tmp/root/users.sh" <<'SCRIPT'
cd /s || exit
stat -c '%n %u %g' before closed
cat closed 2>/dev/null || echo 'closed stays so'
echo root >root
su guest -c 'umask 022; echo text >file; mkdir dir; ln -s file link; mkfifo pipe; echo in >dir/in; (echo x >>root) 2>/dev/null || echo not its own'
chown 33:34 root && stat -c '%n %u %g' root file dir link pipe
su guest -c 'mv file moved; chmod 600 moved; rm before 2>/dev/null || echo not its own either'
cat moved
chown 300000 moved 2>/dev/null || echo no such user
SCRIPT
echo 'guest:x:1000:1001::/:/bin/sh' >>"$tmp/root/etc/passwd"
run users --share "$share:/s,cache=never" -- sh /users.sh
equal 'status' 0 "$status"
equal 'errors' '' "$(text users.err)"
equal 'in the guest' "before 5 6 | closed 65534 65534 | closed stays so | not its own | root 33 34 | file 1000 1001 | dir 1000 1001 | link 1000 1001 | pipe 1000 1001 | not its own either | text | no such user" "$(text users.out)"
guest="$(outside 1000):$(outside 1001)"
for name in moved dir link pipe dir/in; do
	equal "here: $name" "$guest" "$(stat -c '%u:%g' "$share/$name")"
done
equal 'here: given away' "$(outside 33):$(outside 34)" "$(stat -c '%u:%g' "$share/root")"
equal 'here: from before' "$(outside 5):$(outside 6)" "$(stat -c '%u:%g' "$share/before")"
equal 'here: mode' 600 "$(stat -c %a "$share/moved")"

# What the guest makes as its root belongs to who runs it, and runs as nobody else.
run root --share "$share:/s" -- sh -c 'echo x >/s/new && chmod 4755 /s/new && stat -c "%u %a" /s/new'
equal "the guest's root" '0 4755' "$(text root.out)"
equal "here: the guest's root" '1000:1000' "$(stat -c '%u:%g' "$share/new")"

# With no other users in the namespace, all are who runs it.
# shellcheck disable=SC2016
user=(setpriv --reuid=1000 --regid=1000 --clear-groups unshare --user --map-root-user)
run alone --share "$share:/s" -- sh -c 'su guest -c "echo x >/s/alone" && chown 1000 /s/alone 2>/dev/null || echo no such user'
equal 'alone' 'no such user' "$(text alone.out)"
equal 'here: alone' '1000:1000' "$(stat -c '%u:%g' "$share/alone")"
nothing_left 'all'
finish
