#!/usr/bin/env bash
# What a start that is refused leaves behind, what it tells --events, and how the limits of the system are told.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

place=$tmp/place
mkdir "$place"
cd "$place"
truncate -s 1M disk.img
echo old >events
before=$(cksum ./*)
good=(--kernel "$guests/poweroff.bz64")

# refused WHAT PATTERN ARGUMENT... - one line, and no file has come, gone or changed
refused() {
	local what=$1 pattern=$2
	expect 125 "$what" "$vmm" --log-level error "${@:3}"
	grep -qE -- "$pattern" "$tmp/err" || fail "$what: it says $(cat "$tmp/err")"
	[ "$(wc -l <"$tmp/err")" = 1 ] || fail "$what: it says more: $(cat "$tmp/err")"
	[ "$(cksum ./*)" = "$before" ] || fail "$what: leaves $(ls)"
}

refused 'an overlay for the console' "console to 'new': the machine is made of this file" "${good[@]}" --disk disk.img,overlay=new --console file=new
refused 'an overlay for the events' "events to 'new': the machine is made of this file" "${good[@]}" --disk disk.img,overlay=new --events new
refused 'one file for console and events' "events to 'new': the console goes to this file" "${good[@]}" --console file=new --events new
refused 'one file for a dump and events' "events to 'new': a dump goes to this file" "${good[@]}" --dump-guest new --events new
refused 'one file for two dumps' "tree 'new': a dump of the guest goes to this file" "${good[@]}" --dump-guest new --dump-dtb new
cp "$guests/poweroff.bz64" "$tmp/kernel"
ln "$tmp/kernel" "$tmp/other-name"
refused 'the kernel for a disk' "other-name' is the kernel too, and the guest could write" --kernel "$tmp/kernel" --disk "$tmp/other-name"
refused 'the initrd for a disk' "disk 'disk.img' is the initrd too" "${good[@]}" --initrd disk.img --disk disk.img
cmp "$tmp/kernel" "$guests/poweroff.bz64" || fail 'the kernel has changed'
expect 0 'the kernel for a disk that is only read' "$vmm" --kernel "$tmp/kernel" --disk "$tmp/kernel,readonly"
expect 0 'the kernel for a disk under an overlay' "$vmm" --kernel "$tmp/kernel" --disk "$tmp/kernel,overlay"
# Why is told however long a name is.
long=$(printf './%.0s' {1..1500})none
refused 'a kernel with a long name' "^vmm: .*kernel '(\./)+none': No such file or directory$" --kernel "$long"
refused 'a disk with a long name' "^vmm: cannot open disk '[./]+(\[\.\.\.\])?[./]+none': No such file or directory$" "${good[@]}" --disk "$long"
# What vmm opens itself is nobody's to name.
for fd in {3..30}; do
	[ ! -e "/proc/$$/fd/$fd" ] || continue
	refused "descriptor $fd" "^vmm: --net tap-fd=$fd: no such file descriptor is open$" "${good[@]}" --net "tap-fd=$fd"
done

status=0
"$vmm" "${good[@]}" --log-level error 1</dev/null 2>"$tmp/err" || status=$?
[ "$status" = 125 ] || fail "an output that is an input: status $status"
grep -q '^vmm: standard output, to which the console goes, is not open for writing$' "$tmp/err" || fail "an output that is an input: says $(cat "$tmp/err")"

# tells WHAT ARGUMENT... - a refused start ends the events with that, and nothing else is there
tells() {
	echo old >events
	expect 125 "$1" "$vmm" --log-level error --events events "${@:2}"
	grep -q '"event":"ended","reason":"failed","status":125}$' events || fail "$1: the events are $(cat events)"
	[ "$(wc -l <events)" = 1 ] || fail "$1: there are more events: $(cat events)"
	echo old >events
}
tells 'no place for the console' "${good[@]}" --console file=no/console
tells 'a console over a disk' "${good[@]}" --disk disk.img --console file=disk.img
[ "$(cksum ./*)" = "$before" ] || fail "refused with events: leaves $(ls)"

# What another machine has is left alone: its disk, and what is written for it.
"$vmm" --kernel "$guests/spin.bz64" --log-level error --disk disk.img --console file=console --events told --dump-guest dump </dev/null &
pid=$!
wait_until 20 grep -q first-instruction told || fail 'the other machine does not start'
before=$(cksum ./*)
for file in disk.img console told dump; do
	used="'$file'.*: it is in use \(locked\) by another program$"
	refused "events over $file of another machine" "$used" "${good[@]}" --events "$file"
	refused "a console over $file of another machine" "$used" "${good[@]}" --console "file=$file"
	refused "a dump over $file of another machine" "$used" "${good[@]}" --dump-guest "$file"
	refused "a device tree over $file of another machine" "$used" "${good[@]}" --dump-dtb "$file"
done
kill -HUP "$pid"
wait "$pid" || true
expect 0 'the same events, when the other machine has ended' "$vmm" "${good[@]}" --log-level error --events told
rm console told dump
before=$(cksum ./*)

# A link to what is not there yet.
ln -s target link
expect 0 'a console behind a link' "$vmm" --kernel "$guests/hello.bz64" --console file=link
[ "$(tr -d '\r' <target)" = hello ] || fail "a console behind a link: it has $(cat target)"
rm link target

# ---- limits ----

# As many disks as there can be, with as many queues. The soft limit of open files is no limit.
for i in {0..31}; do
	truncate -s 1M "many.$i"
	many+=(--disk "many.$i,queues=32")
done
# shellcheck disable=SC2016 # for the shell inside
expect 0 'the most disks with the most queues' sh -c 'ulimit -Sn 256; exec "$@"' sh "$vmm" --log-level error "${good[@]}" "${many[@]}"
rm many.*

# A file that may not grow is an error like any other. Through a pipe, as output is limited, too.
limited() {
	# shellcheck disable=SC2016 # for the shell inside
	status=$(timeout 60 bash -c '{ ulimit -f "$0"; "$@" 2>&1; echo "status $?"; } | cat' "$1" "$vmm" --log-level error "${good[@]}" "${@:3}" | tee "$tmp/said" |
		sed -n 's/^status //p')
	grep -q -e "$2: File too large" "$tmp/said" || fail "ulimit -f $1, ${*:3}: says $(cat "$tmp/said")"
}
limited 0 "device tree 'tree'" --dump-dtb tree
[ "$status" = 125 ] || fail "a tree that may not grow: status $status"
limited 0 "overlay 'over'" --disk disk.img,overlay=over
[ "$status" = 125 ] || fail "an overlay that may not grow: status $status"
limited 0 '--events' --events told
[ "$status" = 0 ] || fail "events that may not grow: status $status"
rm -f told
# The last line has room in part.
head -c 900 /dev/zero >told
limited 1 '--events' --events fd=7 7>>told
rm told
[ "$(cksum ./*)" = "$before" ] || fail "limits of files: leaves $(ls)"

# Recent kernels make a thread for a VM when that runs first; a vCPU that waits for it would wait for ever.
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null && ! sanitized "$vmm"; then
	ended=
	for processes in 2 3 4 5 6 7 8; do
		# shellcheck disable=SC2016 # for the shell inside
		run setpriv --reuid=65531 --regid=65531 --clear-groups --inh-caps=+dac_override --ambient-caps=+dac_override \
			bash -c 'ulimit -u "$0"; exec "$@"' "$processes" "$vmm" --kernel "$guests/hello.bz64" --log-level error --timeout 20
		case $status in
		0) ended+=0 ;;
		125) [ "$(wc -l <"$tmp/err")" = 1 ] || fail "$processes processes: says $(cat "$tmp/err")" ;;
		*) fail "$processes processes: status $status" ;;
		esac
	done
	[ -n "$ended" ] || fail 'no number of processes was enough'
else
	note 'limits of processes are not tried: that needs root rights, setpriv(1) and a vmm without sanitizers'
fi
finish
