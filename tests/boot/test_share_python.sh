#!/usr/bin/env bash
# A part of Python's own tests, those of files, passes on a shared directory as it does here. Debian's package libpython3-testsuite has them.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

/usr/bin/python3 -c 'import test.test_shutil' 2>/dev/null || skip "Python's own tests are missing (package libpython3-testsuite)"
enter_lab cloud -- --timeout 580
begin_command

place_kernel cloud "$tmp/place"
options=(--kernel "$kernel" --boot-timeout $((100 * slower)))
tests=(test_shutil test_tempfile test_mmap test_fcntl test_fileio test_glob test_stat test_filecmp test_dbm_dumb test_file test_genericpath)

# A file system as disks have it: one in memory differs in holes and more.
mount_ext4 "$tmp/files" 512M || mkdir "$tmp/files"
mkdir "$tmp/files/here" "$tmp/files/share"
[ ${#user[@]} = 0 ] || chown 1000:1000 "$tmp/files"/*

# in_words FILE - "TEST OUTCOME" a line
in_words() {
	sed -n 's/^\(test[A-Za-z0-9_]* ([^)]*)\).*\.\.\. \(ok\|FAIL\|ERROR\|skipped\).*/\1 \2/p' "$1" | LC_ALL=C sort -u
}

(cd "$tmp/files/here" && HOME=$PWD TMPDIR=$PWD "${user[@]}" /usr/bin/python3 -m test -v "${tests[@]}") >"$tmp/here.out" 2>&1 || true
run share --memory 1G --share "$tmp/files/share:/share" -- \
	sh -c "mount -t tmpfs tmpfs /dev/shm; cd /share && HOME=/share TMPDIR=/share exec /usr/bin/python3 -m test -v ${tests[*]}"
in_words "$tmp/here.out" >"$tmp/here"
in_words "$tmp/share.out" >"$tmp/share"

passed=$(grep -c ' ok$' "$tmp/here" || true)
[ "$passed" -ge 300 ] || tail -n 20 "$tmp/here.out"
check 'tests that pass here' "$passed" [ "$passed" -ge 300 ]
# A guest's root is left out of some tests, and may be in others. test_disk_usage looks at the file system of Python itself, which is
# the throwaway layer there.
awk 'FNR == NR { here[$1 " " $2] = $3; next } { share[$1 " " $2] = $3 }
	END { for (test in here) if (here[test] == "ok" && share[test] != "ok" && share[test] != "skipped" && test !~ /^test_disk_usage /)
		print test ": " (test in share ? share[test] : "was not run") }' "$tmp/here" "$tmp/share" >"$tmp/worse"
equal 'tests that pass here, and not on a share' '' "$(tr "\n" " " <"$tmp/worse")"
[ ! -s "$tmp/worse" ] || { grep -aA 25 -E '^(FAIL|ERROR): ' "$tmp/share.out" || tail -n 30 "$tmp/share.out"; } | head -n 200
note "$passed pass here, $(grep -c ' ok$' "$tmp/share" || true) on a share"
finish
