#!/usr/bin/env bash
# Guests that do not come as far as the command, or end in the middle: at once, with the right status, and in words.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

prepare_more() {
	make_or_skip "$repo/guest-images/tiny/build.sh" "$stage/tiny"
}
enter_lab cloud
begin_command

# says_error NAME PATTERN... - its messages have a line with each
says_error() {
	local pattern
	for pattern in "${@:2}"; do
		check "$1: says" "$(grep -m 1 -- "$pattern" "$tmp/$1.err" || tail -n 3 "$tmp/$1.err")" \
			grep -q -- "$pattern" "$tmp/$1.err"
	done
}

# fails NAME STATUS PATTERN... - the run before did
fails() {
	equal "$1: status" "$2" "$status"
	equal "$1: output" "${expected_output-}" "$(text "$1.out")"
	says_error "$1" "${@:3}"
}

# ---- before the command ----

run panic --root "$tmp/root" --append rdinit=/none --events "$tmp/events" -- true
fails panic 123 "^vmm: the guest's kernel crashed before its init reached vmm$" \
	'^vmm: vCPU 0 was at 0xffffffff[0-9a-f]* (--kaslr off: as in vmlinux)$' \
	'^vmm: console: .*Kernel panic - not syncing: VFS: Unable to mount root fs'
equal 'panic: the end' '"reason":"crash","status":123}' "$(tail -n 1 "$tmp/events" | grep -o '"reason.*')"

mkdir "$tmp/noinit"
echo text >"$tmp/noinit/x"
run 'no init' --root "$tmp/noinit" --append rdinit=/x -- true
fails 'no init' 123 "^vmm: the guest's kernel crashed before its init reached vmm$" '^vmm: console: .*No working init found'

truncate -s 4M "$tmp/broken.ext4"
printf '\x53\xef' | dd of="$tmp/broken.ext4" bs=1 seek=1080 conv=notrunc 2>/dev/null
run 'no root' --root "$tmp/broken.ext4" --events "$tmp/events" -- true
fails 'no root' 123 '^vmm: the guest cannot mount the root (/dev/vda) as ext4: Invalid argument$' '^vmm: console: .*EXT4-fs'
equal 'no root: the end' '"reason":"init-failed","status":123}' "$(tail -n 1 "$tmp/events" | grep -o '"reason.*')"

initrd=("${options[@]}")
options=("${options[0]}" "${options[1]}" "${options[@]:4}")
run 'no driver' --root "$tmp/root" -- true
fails 'no driver' 123 '^vmm: the guest ended before its init reached vmm$' \
	"^vmm: console: vmm: the guest's init: cannot reach the host: the guest's kernel has no AF_VSOCK"
options=("${initrd[@]}")

# What ends a guest that has not come as far, and is not silent, says as much.
run 'early' --root "$tmp/root" --kaslr off --append 'rdinit=/none panic=0' --timeout 20 -- true
fails 'early' 124 '^vmm: the machine was ended after 20.000 s (--timeout)$' '^vmm: vCPU 0 was at 0xffffffff[0-9a-f]*$' \
	'^vmm: console: .*Kernel panic - not syncing: VFS: Unable to mount root fs'

# Words behind "--" are for the guest's init, which ours has no use for.
run 'words' --root "$tmp/root" --cmdline 'console=ttyS0 panic=-1 -- single' -- sh -c 'cat /proc/cmdline'
equal 'words: status' 0 "$status"
equal 'words: the command line' 'rdinit=/.vmm/init console=ttyS0 panic=-1 -- single' "$(text words.out)"

# Guests that write nothing, and what one has written.
for guest in spin idle; do
	options=(--kernel "$stage/tiny/$guest.bz64")
	run $guest --boot-timeout 1.5 --root "$tmp/root" --events "$tmp/events" -- true
	options=("${initrd[@]}")
	fails $guest 124 '^vmm: the guest was silent for 1.500 s and has not started the command (--boot-timeout)$' \
		'^vmm: vCPU 0 was at 0x' "^vmm: the guest's console was silent"
	equal "$guest: the end" '"reason":"boot-timeout","status":124}' "$(tail -n 1 "$tmp/events" | grep -o '"reason.*')"
done

# ---- while it runs ----

expected_output=up
run crash --root "$tmp/root" -- sh -c 'echo up; sleep 0.5; echo c >/proc/sysrq-trigger'
fails crash 123 "^vmm: the guest's kernel crashed while the command ran$" '^vmm: console: .*Kernel panic - not syncing: sysrq' \
	'^vmm: console: .*Call Trace' '^vmm: console: .*sysrq_handle_crash'
# An oops is reported at length before it becomes a panic.
# shellcheck disable=SC2016
run cause --root "$tmp/root" -- sh -c 'echo up; echo "<1>BUG: the cause" >/dev/kmsg
	for i in $(seq 60); do echo "<1>register $i" >/dev/kmsg; done; echo c >/proc/sysrq-trigger'
fails cause 123 '^vmm: console: .*BUG: the cause' '^vmm: console: .*register 7' '^vmm: console: .*Kernel panic - not syncing: sysrq'
run 'power off' --root "$tmp/root" -- sh -c "echo up; sleep 0.$slower; busybox poweroff -f"
fails 'power off' 123 '^vmm: the guest ended while the command ran$'

# What waits for a file system that does not answer cannot be killed, and holds nobody up.
run 'stuck' --root "$root" -- /bin/busybox sh -c 'echo up; (sleep 1; echo x >/x; echo not here) & busybox fsfreeze --freeze / && sleep 3; exit 7'
fails 'stuck' 7

# A guest that stood because vmm did is not stuck: here its watchdog takes 8 s for that.
: >"$tmp/stood.out"
run stood --root "$tmp/root" -- sh -c 'echo 4 >/proc/sys/kernel/watchdog_thresh; echo up; busybox timeout 17 busybox yes >/dev/null; exit 7' &
stood=$!
children[$stood]=stood
for ((i = 0; i < 600 * slower; i++)); do
	[ ! -s "$tmp/stood.out" ] || break
	sleep 0.1
done
sleep 3
pid=''
for process in /proc/[0-9]*; do
	[ ! "$process/exe" -ef "$vmm" ] || pid=${process##*/}
done
kill -STOP "$pid"
sleep 12
kill -CONT "$pid"
wait "$stood" || true
unset "children[$stood]"
equal 'stood: output' up "$(text stood.out)"
equal 'stood: its kernel says nothing' '' "$(grep '^vmm:' "$tmp/stood.err" || true)"
expected_output=

# What the kernel of a guest that lives on says of it.
run oom --memory 128M --root "$tmp/root" -- busybox tail /dev/zero
fails oom 137 '^vmm: guest kernel: .*Out of memory: Killed process [0-9]* (busybox)'
equal 'oom: says no more' 1 "$(wc -l <"$tmp/oom.err")"
run oops --root "$tmp/root" -- sh -c 'echo "<1>BUG: an oops" >/dev/kmsg; echo "<2>no fault" >/dev/kmsg; exit 3'
fails oops 3 '^vmm: guest kernel: .*BUG: an oops$'
equal 'oops: says no more' 1 "$(wc -l <"$tmp/oops.err")"
run hangs --root "$tmp/root" --timeout $((20 * slower)) -- sh -c 'echo "<2>it hangs" >/dev/kmsg; sleep 1000'
fails hangs 124 '^vmm: the machine was ended after .* (--timeout)$' '^vmm: console: .*it hangs$'
equal 'hangs: says no more' 2 "$(wc -l <"$tmp/hangs.err")"

# With a console of its own vmm does not know the last lines.
run 'console' --console "file=$tmp/console" --append rdinit=/none --root "$tmp/root" -- true
fails 'console' 123 '^vmm: see the guest.s console, which is elsewhere (--console)$'
fails 'console' 123 "^vmm: the guest's kernel crashed before"
check "console: what is in it" "$(grep -c . "$tmp/console") lines" grep -q 'Linux version' "$tmp/console"

# It may be slow, if it is heard of; and else that is as without a console.
options=(--kernel "$stage/tiny/flood.bz64")
run 'talks' --console "file=$tmp/talks" --boot-timeout 1.5 --timeout 6 --root "$tmp/root" -- true
fails 'talks' 124 '^vmm: the machine was ended after 6.000 s (--timeout)$'
check 'talks: it did' "$(head -c 40 "$tmp/talks")" [ -s "$tmp/talks" ]
options=(--kernel "$stage/tiny/spin.bz64")
run 'silent file' --console "file=$tmp/silent" --boot-timeout 1.5 --root "$tmp/root" -- true
fails 'silent file' 124 '^vmm: the guest was silent for 1.500 s'
options=("${initrd[@]}")

# ---- nothing is started ----

mkdir -p "$tmp/named/.vmm"
truncate -s 80M "$tmp/root/big"
run 'too large' --root "$tmp/root,packed" -- true
fails 'too large' 125 "^vmm: directory '$tmp/root' is too large to be packed into the guest: its 8[0-9] MiB need about 3[0-9]* MiB of guest memory, it has 256 MiB"
rm "$tmp/root/big"
run 'our name' --root "$tmp/named" -- true
fails 'our name' 125 "^vmm: cannot pack '$tmp/named' for the guest: it has a '.vmm', where vmm's own files go\$"
nothing_left 'all of these'
finish
