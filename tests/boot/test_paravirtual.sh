#!/usr/bin/env bash
# The small virtio devices with the drivers of real kernels: entropy, and memory that comes back.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/sanitizer.sh
. "$repo/tests/sanitizer.sh"

prepare() {
	local libs flags
	sanitizer_flags "$build/lib/libvmm.a"
	read -ra libs < <(sed -n 's/^Libs:.*-lvmm //p' "$build/lib/vmm.pc")
	make_or_skip gcc -std=gnu11 -O2 -Wall -Wextra "${flags[@]}" "-I$repo/vmm/api" -o "$stage/balloon" "$here/balloon.c" \
		"$build/lib/libvmm.a" "${libs[@]}"
}

enter_lab cloud

freed=1000 within=10 # MB that a guest allocates and frees, and the seconds until the host has them back

# ---- entropy ----

# shellcheck disable=SC2016
boot entropy '
	echo "current: $(cat /sys/class/misc/hw_random/rng_current)"
	dd if=/dev/hwrng of=/run/random bs=4096 count=100 iflag=fullblock 2>/dev/null
	echo "bytes: $(stat -c %s /run/random)"
	echo "kinds: $(od -An -v -tu1 -w1 /run/random | sort -u | wc -l)"
	echo "devices: $(cat /sys/bus/virtio/devices/*/device | sort | tr "\n" " ")"
'
equal 'the kernel uses it' virtio_rng.0 "$(value current)"
equal 'bytes read' 409600 "$(value bytes)"
equal 'values of a byte that occur' 256 "$(value kinds)"
equal 'disk, entropy source and balloon' '0x0002 0x0004 0x0005 ' "$(value devices) "

# shellcheck disable=SC2016
boot without 'echo "devices: $(cat /sys/bus/virtio/devices/*/device | tr "\n" " ")"' --rng off --balloon off
equal '--rng off --balloon off' '0x0002 ' "$(value devices) "

# ---- time ----

# A kernel that has no clock of KVM's, as one without CONFIG_KVM_GUEST: the frequency of the TSC is on its command line.
words=no-kvmclock
# shellcheck disable=SC2016
boot clock '
	echo "clock: $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
	echo "year: $(date +%Y)"
	before=$(cut -d " " -f 1 /proc/uptime); sleep 2; echo "slept: $before $(cut -d " " -f 1 /proc/uptime)"
' --cpus 2
words=''
# Where CPUs do not agree about it, as in the lab, its ticks are counted by the local APIC's timer, which was measured by it.
check "without KVM's clock: there is another" "$(value clock)" matches "$(value clock)" '[tr]*'
# It reads what is in the place of a PC's clock, at once.
equal "without KVM's clock: the year" 2000 "$(value year)"
read -r before after < <(value slept) || true
check "without KVM's clock: a sleep of 2 s" "$before to $after" \
	awk "BEGIN { s = ${after:-0} - ${before:-0}; exit !(s >= 1.9 && s < 4) }"

# ---- memory ----

mkfifo "$tmp/in"
exec 7<>"$tmp/in"
stdin=$tmp/in
start memory '
	mount -o remount,size=1100M /dev/shm
	echo ready; read -r line
	dd if=/dev/zero of=/dev/shm/file bs=1M count='"$freed"' 2>/dev/null
	echo filled; read -r line
	rm /dev/shm/file
	echo freed; read -r line
' --memory 1500M --timeout 200
stdin=/dev/null

# rss - MB
rss() {
	echo $(($(memory_of "$pid" VmRSS) / 1000))
}

if says memory '^ready'; then
	before=$(rss)
	echo >&7
	says memory '^filled' 100 || true
	full=$(rss)
	echo >&7
	says memory '^freed' || true
	since=$EPOCHREALTIME
	until now=$(rss) && [ "$now" -le $((before + freed / 20)) ] || [ "$(ms_since "$since")" -gt $((within * 1000)) ]; do
		sleep 0.1
	done
	took=$(ms_since "$since")
	check "$freed MB are allocated" "resident: $before MB, then $full" [ "$full" -ge $((before + freed * 9 / 10)) ]
	check "and are back within $within s" "$now MB after $took ms" [ "$now" -le $((before + freed / 20)) ]
	echo >&7
fi
powers_off memory

# balloon NAME MIB [SCRIPT] - a guest of 512 MiB; see balloon.c
balloon() {
	local got=0 line
	"$stage/balloon" "$tmp/kernel-cloud" "$tmp/initramfs-cloud" "$root" $(($2 << 20)) ${3+"$(base64 -w 0 <<<"$3")"} \
		>"$tmp/balloon.out" 2>"$tmp/balloon.err" </dev/null || got=$?
	while read -r line; do note "$line"; done <"$tmp/balloon.err"
	equal "$1" 0 "$got"
}
balloon 'a balloon of 200 MiB fills and empties' 200

# A file in memory cannot be pushed out: when more is wanted than is left, somebody must be killed, or the balloon must shrink.
# shellcheck disable=SC2016 # for the guest
balloon 'a balloon of 300 MiB shrinks when the guest needs memory' 300 '
	mount -o remount,size=400M /dev/shm
	read -r line
	echo "left: $(sed -n "s/^MemFree:[^0-9]*\([0-9]*\).*/\1/p" /proc/meminfo)"
	dd if=/dev/zero of=/dev/shm/file bs=1M count=260 2>/dev/null
	echo "filled: $? $(stat -c %s /dev/shm/file)"
	rm /dev/shm/file
	read -r line
	echo "killed: $(dmesg | grep -ciE "out of memory|oom-kill")"
'
output=$(tr -d '\0\r' <"$tmp/balloon.out")
check 'what was left is less than what was wanted' "$(value left) KiB" between "$(value left)" 10000 200000
equal 'what the guest wanted, it got' "0 $((260 << 20))" "$(value filled)"
equal 'nobody was killed' 0 "$(value killed)"

finish
