#!/usr/bin/env bash
# The console passes on what is pasted and printed, whole, whatever the pace of the two sides.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

# Every byte is two exits or more, which cost 50 to 100 microseconds each in the emulated machine.
pasted=200000 printed=1000000
[ -z "$emulated" ] || pasted=20000 printed=90000

# ---- a reader that is slow, and stops altogether for a while ----

head -c "$pasted" /dev/urandom >"$tmp/pasted"
head -c "$printed" /dev/urandom >"$tmp/printed"
truncate -s $(((printed + 511) / 512 * 512)) "$tmp/printed"
printed=$(stat -c %s "$tmp/printed")
truncate -s 512M "$tmp/records"
mkfifo "$tmp/in" "$tmp/out"
exec 7<>"$tmp/in"

# A pipe of one page, so that a reader that stops is noticed soon. Opening its two ends needs both sides.
stdin=$tmp/in stdout=$tmp/out
# shellcheck disable=SC2016
runner=(perl -e 'fcntl(STDOUT, 1031, 4096); exec @ARGV')
start slow '
	stty raw -echo
	echo ready
	echo "sum: $(head -c '"$pasted"' | sha256sum)"
	records write /dev/vdc synced >/dev/null &
	echo writing; read -r line
	echo printing
	cat /dev/vdb
	kill $!
' --disk "$tmp/printed,readonly" --disk "$tmp/records" --timeout 240
runner=() stdin=/dev/null stdout=''

# read_slowly - what there is, then a pause
read_slowly() {
	while dd bs=8192 count=1 2>/dev/null >"$tmp/piece" && [ -s "$tmp/piece" ]; do
		cat "$tmp/piece"
		[ ! -e "$tmp/slowly" ] || sleep 0.2
	done
}
read_slowly <"$tmp/out" >"$tmp/slow.out" &
reader=$!
children[$reader]=reader

# written_in SECONDS - sets $written to the number of records that the guest writes meanwhile
written_in() {
	local before
	before=$("$stage/records" count "$tmp/records" synced)
	sleep "$1"
	written=$(($("$stage/records" count "$tmp/records" synced) - before))
}

if says slow '^ready' 60; then
	since=$EPOCHREALTIME
	cat "$tmp/pasted" >&7
	says slow '^writing' 120 || true
	note "pasting $pasted bytes took $(ms_since "$since") ms"
	written_in 3
	free=$written
	echo >&7
	says slow '^printing' || true
	kill -STOP "$reader"
	size=$(stat -c %s "$tmp/slow.out")
	# While the guest can print it does little else: here a byte costs as much as thousands of instructions. When vmm's
	# buffer is full it has time again.
	since=$EPOCHREALTIME
	until written_in 3 && [ "$written" -gt $((free / 3)) ] || [ "$(ms_since "$since")" -gt 100000 ]; do :; done
	note "the console blocks, and the guest has time, after $(ms_since "$since") ms"
	check 'disk writes while the reader has stopped' "$written records in 3 s, $free before" [ "$written" -gt $((free / 3)) ]
	equal 'what was read meanwhile' "$size" "$(stat -c %s "$tmp/slow.out")"
	: >"$tmp/slowly"
	since=$EPOCHREALTIME
	kill -CONT "$reader"
fi
wait "$reader" || true
unset "children[$reader]"
note "printing $printed bytes took $(ms_since "$since") ms"
await slow
said=$(<"$tmp/slow.err")
equal 'slow: status' 0 "$status"
[ "$status" = 0 ] || tail -n 20 "$tmp/slow.out"
equal "$pasted bytes pasted" "sum: $(sha256sum <"$tmp/pasted")" "$(grep -a '^sum' "$tmp/slow.out" || true)"

# What follows the line "printing"; busybox has no use for bytes that are not text.
PATH=/usr/bin:/bin LC_ALL=C sed '1,/^printing$/d' "$tmp/slow.out" >"$tmp/got"
check "$printed bytes printed" "$(stat -c %s "$tmp/got") bytes came${said:+; $said}" cmp -n "$printed" "$tmp/printed" "$tmp/got"

# ---- bursts ----

mkfifo "$tmp/in2"
exec 8<>"$tmp/in2"
stdin=$tmp/in2
start bursts 'echo ready; read -r line; head -c 20000 /dev/zero | tr "\\0" x; echo; echo done; read -r line' --timeout 120
# calls - the system calls by which vmm has written anything until now, its own wake-ups included
calls() {
	sed -n 's/^syscw: //p' "/proc/$pid/io"
}
says bursts '^ready' || true
before=$(calls) since=$EPOCHREALTIME
echo >&8
says bursts '^done' || true
calls=$(($(calls) - before)) took=$(ms_since "$since")
echo >&8
powers_off bursts
# The FIFO is filled 1250 times, and each by itself would take a wake-up and a write. What a guest writes gathers for 2 ms: a slow one
# fills it hardly more than once in that time.
measured 'output in bursts' "20000 bytes in $calls system calls and $took ms" [ "$calls" -lt $((took > 1250 ? took : 1250)) ]

# ---- the virtio console ----

# Lines, for each of which Linux hands over two buffers and waits for them busily, by this console and by the serial port.
# Both come to the same place, whole.
# shellcheck disable=SC2016
boot hvc '
	now() { read -r up rest </proc/uptime; echo "${up%.*}${up#*.}"; }
	line="a line of text that is as long as lines of text are, on the average, if"
	i=0; while [ $i -lt 1000 ]; do echo "$line"; i=$((i + 1)); done >/run/lines
	head -n 100 /run/lines >/run/some
	stty -F /dev/hvc0 onlcr
	a=$(now); cat /run/lines; b=$(now)
	cat /run/some >/dev/ttyS0; c=$(now)
	stty -F /dev/hvc0 -onlcr
	echo; echo "hvc0: $((b - a))"; echo "ttyS0: $((c - b))"
' --console virtio
hvc=$(value hvc0) serial=$(value ttyS0)
note "1000 lines by hvc0: ${hvc}0 ms; 100 by the serial port: ${serial}0 ms"
measured 'hvc0 is three times as fast as the serial port' "${hvc:-no} and ${serial:-no} hundredths of a second" \
	[ "$((${hvc:-9999} * 3))" -le "$((${serial:-0} * 10))" ]
equal 'messages of a kernel that is to be quiet' '' "$(grep -a 'Linux version' "$tmp/hvc.out")"
equal 'lines that arrived' 1100 "$(tr -d '\r' <"$tmp/hvc.out" | grep -cx 'a line of text .* if')"
finish
