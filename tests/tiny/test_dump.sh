#!/usr/bin/env bash
# --dump-guest and Ctrl-A c: when a dump is written and when not, what is in it, what is refused, full disks.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
export NO_COLOR=1 # messages on a terminal are compared

cd "$tmp"
missing=
machine=(--log-level error --memory 64)
MIB=$((1 << 20))

# is_dump WHAT FILE VCPUS - an ELF core of 64 MiB with so many vCPUs, most of it holes
is_dump() {
	local size
	size=$(stat -c %s "$2")
	[ "$(head -c 4 "$2" | od -An -c | tr -d ' ')" = '177ELF' ] || fail "$1: no ELF file of $size bytes"
	[ "$size" -gt $((64 * MIB)) ] && [ "$size" -lt $((65 * MIB)) ] || fail "$1: $size bytes"
	[ "$(du -k "$2" | cut -f 1)" -lt 2000 ] || fail "$1: takes $(du -k "$2" | cut -f 1) KiB"
	[ "$(stat -c %a "$2")" = 600 ] || fail "$1: mode $(stat -c %a "$2")"
	readelf -lnW "$2" >elf 2>&1 || fail "$1: readelf says $(tail -n 3 elf)"
	[ "$(grep -c NT_PRSTATUS elf)" = "$3" ] || fail "$1: not $3 vCPUs: $(cat elf)"
	grep -Eq '^  LOAD +0x0*[1-9a-f]0*[0-9a-f]* 0x0{16} 0x0{16} 0x4000000 0x4000000 ' elf || fail "$1: no memory: $(cat elf)"
}

# ---- what is in it ----

expect 124 'a guest that hangs' "$vmm" --kernel "$guests/halt.bz64" "${machine[@]}" --cpus 2 --timeout 0.5 --dump-guest=core
is_dump 'a guest that hangs' core 2
# The kernel is at 16 MiB; it has stopped behind its hlt, which is there.
data=$((16#$(sed -n 's/^  LOAD *0x\([0-9a-f]*\) .*/\1/p' elf)))
[ "$(od -An -tx1 -j $((data + 16 * MIB + 0x200)) -N 4 core)" = ' fa f4 eb fd' ] ||
	fail "the kernel's code: $(od -An -tx1 -j $((data + 16 * MIB + 0x200)) -N 4 core)"
if command -v gdb >/dev/null; then
	# shellcheck disable=SC2016 # they are gdb's
	gdb -nx -q -batch -c core -ex 'info registers rip rsi' -ex 'x/2xb $pc' -ex 'thread 2' -ex 'p/x $pc' >gdb.out 2>&1 || true
	for text in 'rip  *0x1000202' 'rsi  *0x7000' '0x1000202:.0xeb.0xfd' ' = 0xfff0'; do
		grep -q "$text" gdb.out || fail "gdb: no '$text': $(cat gdb.out)"
	done
else
	missing=gdb
fi

# A guest without 64-bit mode, and memory above the hole.
expect 124 'a 32-bit guest' "$vmm" --kernel "$guests/halt.pvh" --log-level error --memory 3200M --timeout 0.5 --dump-guest big
readelf -lW big >elf
[ "$(grep -c '^  LOAD' elf)" = 2 ] && grep -q ' 0x0*100000000 0x0*100000000 0x8000000 0x8000000 ' elf || fail "memory above the hole: $(cat elf)"
rm big

# ---- when ----

expect 123 'a triple fault' "$vmm" --kernel "$guests/triple.bz64" "${machine[@]}" --dump-guest=crashed
is_dump 'a triple fault' crashed 1
echo old >kept
expect 0 'a good end' "$vmm" --kernel "$guests/poweroff.bz64" "${machine[@]}" --dump-guest=kept
[ "$(cat kept)" = old ] || fail 'a good end: the file is another'
expect 0 'a good end, a new file' "$vmm" --kernel "$guests/poweroff.bz64" "${machine[@]}" --dump-guest=empty
[ -e empty ] && [ ! -s empty ] || fail 'a good end, a new file: it is not empty'
"$vmm" --kernel "$guests/spin.bz64" "${machine[@]}" --dump-guest=kept </dev/null >/dev/null 2>&1 &
pid=$!
wait_until 10 runs_guest "$pid" || fail 'a signal: does not start'
kill -HUP "$pid"
wait "$pid" || true
[ "$(cat kept)" = old ] || fail 'a signal: the file is another'

# A crash of a large machine is told about at once: its kernel's log is looked for where memory exists.
TIMEFORMAT=%S
system=$({ time "$vmm" --kernel "$guests/triple.bz64" --log-level error --console none --memory 16G,hugepages=off </dev/null >/dev/null 2>err || status=$?; } 2>&1)
note "a crash of a machine with 16 GiB: $system s of system time; $(cat err)"
sanitized "$vmm" || [ "${system%[.,]*}" -lt 2 ] || fail "a large machine's crash takes $system s"

# ---- by a key ----

# The guest goes on: it answers, and ends by itself. A second dump replaces the first.
if command -v script >/dev/null; then
	{
		sleep 1
		printf '\001c'
		sleep 0.5
		printf '\001cend\004'
		sleep 2
	} | script -qec "$vmm --kernel $guests/echo.bz64 --memory 64 --timeout 20 --dump-guest key; echo status \$?" /dev/null >screen 2>&1
	[ "$(grep -c 'vmm: a dump of the guest was written' screen)" = 2 ] || fail "Ctrl-A c: says $(cat screen)"
	grep -aq end screen && grep -aq 'status 0' screen || fail "Ctrl-A c: the guest does not go on: $(cat screen)"
	is_dump 'Ctrl-A c' key 1
	# Looking for what is not there makes none of it: memory in a file, which reading alone would fill.
	{
		sleep 1
		printf '\001c'
		sleep 1
		grep RssShmem "/proc/$(cat pid)/status" >rss || true
		printf '\004'
		sleep 1
	} | script -qec "echo \$\$ >pid; exec $vmm --kernel $guests/echo.bz64 --memory 1000M,shared,hugepages=off --timeout 20 --dump-guest sparse" /dev/null >screen 2>&1
	grep -q 'vmm: a dump of the guest was written' screen || fail "shared memory: says $(cat screen)"
	[ "$(stat -c %s sparse)" -gt $((1000 * MIB)) ] && [ "$(du -k sparse | cut -f 1)" -lt 2000 ] || fail "shared memory: $(du -k sparse)"
	[ "$(tr -dc '0-9' <rss)" -lt 4000 ] || fail "shared memory: the dump has made it exist: $(cat rss)"
	rm -f sparse
	# Nor are pages that nobody has touched read where it is the process's own, for which the host would make tables.
	{
		sleep 1
		printf '\001c'
		sleep 2
		grep VmPTE "/proc/$(cat pid)/status" >tables || true
		printf '\004'
		sleep 1
	} | script -qec "echo \$\$ >pid; exec $vmm --kernel $guests/echo.bz64 --memory 1000M,hugepages=off --timeout 20 --dump-guest sparse" /dev/null >screen 2>&1
	grep -q 'vmm: a dump of the guest was written' screen || fail "private memory: says $(cat screen)"
	[ "$(stat -c %s sparse)" -gt $((1000 * MIB)) ] && [ "$(du -k sparse | cut -f 1)" -lt 2000 ] || fail "private memory: $(du -k sparse)"
	[ "$(tr -dc '0-9' <tables)" -lt 1000 ] || fail "private memory: the dump has made tables for it: $(cat tables)"
	rm -f sparse
	{
		sleep 1
		printf '\001c\004'
		sleep 1
	} | script -qec "$vmm --kernel $guests/echo.bz64 --timeout 20; echo status \$?" /dev/null >screen 2>&1
	grep -aq 'vmm: there is no file for a dump of the guest' screen && grep -aq 'status 0' screen ||
		fail "Ctrl-A c without a file: says $(cat screen)"
else
	note 'script(1) is missing: Ctrl-A c is not tested'
fi

# ---- what is refused ----

# refused WHAT MESSAGE OPTION... - and no file is made
refused() {
	expect 125 "$1" "$vmm" --kernel kernel "${machine[@]}" "${@:3}"
	grep -q "^vmm: $2\$" err || fail "$1: says $(cat err)"
}

cp "$guests/halt.bz64" kernel
cp kernel disk
mkfifo pipe
refused 'no directory' "cannot write a dump of the guest to 'no/core': No such file or directory" --dump-guest no/core
refused 'a directory' "cannot write a dump of the guest to '.': Is a directory" --dump-guest .
refused 'a pipe' "cannot write a dump of the guest to 'pipe': it is no regular file" --dump-guest pipe
refused 'a device' "cannot write a dump of the guest to '/dev/null': it is no regular file" --dump-guest /dev/null
refused 'the kernel' "cannot write a dump of the guest to './kernel': the machine is made of this file" --dump-guest ./kernel
truncate -s 1M image
printf '\x53\xef' | dd of=image bs=1 seek=1080 conv=notrunc status=none # as ext4 begins
refused 'the root' "cannot write a dump of the guest to './image': the machine is made of this file" --root image --dump-guest ./image -- true
refused 'a disk' "cannot write a dump of the guest to './disk': the machine is made of this file" --disk disk --dump-guest ./disk
refused 'the console' "cannot write a dump of the guest to './con': the console goes to this file" --console file=con --dump-guest ./con
refused 'no name' '--dump-guest needs the name of a file' --dump-guest ''
refused 'a machine that cannot be made' "cannot open disk 'none': No such file or directory" --disk none --dump-guest new
if [ "$(id -u)" = 0 ]; then
	echo theirs >theirs
	chmod 666 theirs
	chown 65534 theirs
	refused "another user's file" "cannot write a dump of the guest to 'theirs': it belongs to another user" --dump-guest theirs
	[ "$(cat theirs)" = theirs ] || fail "another user's file was changed"
else
	note "another user's file needs the rights of root"
fi
[ ! -e new ] && [ ! -e con ] || fail 'what was refused has left a file'
cmp kernel "$guests/halt.bz64" && cmp disk kernel || fail 'what was refused has changed a file'

# ---- no room ----

full() {
	grep -q "^vmm: cannot write the dump of the guest: $2\$" err && [ "$(wc -l <err)" = 1 ] || fail "$1: says $(cat err)"
	[ ! -s "$3" ] || fail "$1: half a dump is left"
}
echo old >kept
expect 123 'a limit of size' sh -c 'ulimit -f 8; exec "$@"' sh "$vmm" --kernel "$guests/triple.bz64" --log-level error --dump-guest kept
full 'a limit of size' 'File too large' kept
# What is written ends with the kernel, at 16 MiB.
echo old >kept
expect 123 'a limit within the hole at the end' sh -c 'ulimit -f 65536; exec "$@"' sh "$vmm" --kernel "$guests/triple.bz64" --log-level error --dump-guest kept
full 'a limit within the hole at the end' 'File too large' kept
mkdir small
if unshare -m mount -t tmpfs none small 2>/dev/null; then
	# shellcheck disable=SC2016
	expect 123 'a full disk' unshare -m sh -c 'mount -t tmpfs -o size=16k none small; "$@"; status=$?; [ ! -s small/core ] || echo half; exit $status' \
		sh "$vmm" --kernel "$guests/triple.bz64" --log-level error --dump-guest small/core
	full 'a full disk' 'No space left on device' small/core
	[ ! -s out ] || fail "a full disk: $(cat out)"
else
	note 'a full disk needs the rights of root'
fi
[ -z "$missing" ] || [ "$failures" != 0 ] || skip "$missing is missing: the dump was not opened by it; all else is well"
finish
