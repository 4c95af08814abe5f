# The cases of fs/, on a directory here and through a share; sourced after lib_command.sh by tests of one kernel each.
# shellcheck shell=bash disable=SC2154,SC2034
#
# They run on one file system, by an ordinary user here, and there by root, whom the share takes for that user. What is different and may be is in
# fs/allowed, one by one; what is there and does not differ is a failure too.

prepare_more() {
	local program=$command_root/bin/fs_cases
	make_or_skip gcc -std=gnu11 -O2 -s -static -Wall -Wextra -o "$program" "$here"/fs/*.c
}

# There: the cases here. Both on one file system, that directories are listed in one order.
begin_cases() {
	local count
	begin_command
	strict=yes
	if ! mount_ext4 "$tmp/files" 256M; then
		note 'no ext4 of its own, which needs root rights: what is allowed to differ need not'
		mkdir "$tmp/files"
		strict=
	fi
	mkdir "$tmp/files/here" "$tmp/files/share"
	[ ${#user[@]} = 0 ] || chown 1000:1000 "$tmp/files"/*
	(cd / && "${user[@]}" "$tmp/root/bin/fs_cases" "$tmp/files/here") >"$tmp/here.out"
	count=$(sed -n 's/^cases: //p' "$tmp/here.out")
	check 'cases' "$count" [ "${count:-0}" -ge 500 ]
}

# compare FLAVOUR CACHE [-THEME] - the cases in a guest, but for those of a theme; "allowed" has "NAME | WHEN | WHY", where WHEN is all, or words of which one is this kernel or cache
compare() {
	local name=$1-$2
	place_kernel "$1" "$tmp/place"
	options=(--kernel "$kernel" --boot-timeout $((100 * slower)))
	run "$name" --memory 512M --root "$tmp/root" --share "$tmp/files/share:/share,cache=$2" -- /bin/fs_cases /share "${@:3}"
	grep -v '^cases: ' "$tmp/here.out" | if [ $# = 3 ]; then grep -v "^${3#-}/"; else cat; fi >"$tmp/$name.here"
	sed -i '/^cases: /d' "$tmp/$name.out"
	equal "$name: status" 0 "$status"
	check "$name: errors" "$(text "$name.err")" [ ! -s "$tmp/$name.err" ]
	awk -v strict="$strict" -v when="$1 $2" -v allowed="$here/fs/allowed" -f "$here/fs/compare.awk" "$tmp/$name.here" "$tmp/$name.out" >"$tmp/$name.diff" || true
	cat "$tmp/$name.diff"
	equal "$name: differences" '0' "$(grep -c '^FAIL' "$tmp/$name.diff" || true)"
	equal "$name: nothing is left" '' "$(ls -A "$tmp/files/share")"
}
