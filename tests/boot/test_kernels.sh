#!/usr/bin/env bash
# Debian's own kernels boot from a disk to a shell, find every device at once, and power off.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud cloud-6.12 full rt

# What no kernel may say of this machine. That about XSAVE is the emulator's own, which leaves out the part of PKRU.
complaints='WARNING:|BUG:|Oops|cut here|Call Trace|stall|nobody cared|unchecked MSR|soft lockup|APIC error|APIC calibration'
complaints+="|Firmware Bug|ACPI.*(Error|Exception|Warning)|can't claim|conflicts with|Probing ports directly|read CTR"
complaints+='|virtio.*(fail|error)|I/O error|timed out'
known='^(.*XSAVE consistency problem|.*at arch/x86/kernel/fpu/xstate.c.*)'

# without_known FILE - the log, less the one warning that is known, from "cut here" to "end trace"
without_known() {
	awk -v known="$known" '
		/cut here/ { block = ""; inside = 1 }
		inside { block = block $0 "\n"; if ($0 ~ known) fine = 1 }
		!inside { print }
		/end trace/ { if (inside && !fine) printf "%s", block; inside = 0; fine = 0 }
		END { if (inside) printf "%s", block }
	' "$1"
}

# The guest writes its log to a disk: the console would take seconds.
script='
	dmesg >/dev/vdb
	echo "release: $(uname -r)"
	echo "command line: $(cat /proc/cmdline)"
	for d in /sys/block/vd*; do s="$s ${d##*/}=$(cat $d/size)"; done
	echo "disks:$s"
	for n in /sys/class/net/e*; do t="$t ${n##*/}=$(cat $n/address)"; done
	echo "cards:$t"
	echo "serial: $(grep ttyS0 /proc/interrupts)"
	echo "root: $(grep " / " /proc/mounts)"
'

nets=''
if is_root; then
	for tap in boot{0..3}; do
		ip tuntap add dev $tap mode tap
		undo+=("ip tuntap del dev $tap mode tap")
	done
	nets=yes
else
	note 'no network cards: making a TAP needs root rights'
fi

# start_flavour NUMBER - starts $flavour with the two TAPs from NUMBER on
start_flavour() {
	local cards=()
	[ -z "$nets" ] || cards=(--net "tap=boot$1,mac=52:54:00:00:00:10" --net "tap=boot$(($1 + 1)),mac=52:54:00:00:00:11")
	truncate -s 1M "$tmp/$flavour.log"
	truncate -s 3M "$tmp/$flavour.other"
	start "$flavour" "$script" --disk "$tmp/$flavour.log" --disk "$tmp/$flavour.other" "${cards[@]}" --timeout 120
}

check_devices() {
	local found irq number count
	equal "$flavour: disks" "vda=$root_sectors vdb=2048 vdc=6144" "$(value disks)"
	equal "$flavour: root" '/dev/vda / ext4' "$(value root | awk '{ print $1, $2, $3 }')"
	[ -z "$nets" ] ||
		equal "$flavour: cards" 'eth0=52:54:00:00:00:10 eth1=52:54:00:00:00:11' "$(value cards)"
	found=$(grep -E 'ttyS[0-9].* is a ' "$tmp/dmesg" || true)
	check "$flavour: serial port found once" "${found#*] }" matches "$found" \
		'\[*\] 00:00: ttyS0 at I/O 0x3f8 (irq = [1-9]*, base_baud = 115200) is a 16550A'
	irq=${found#*irq = } irq=${irq%%,*}
	read -r number count _ < <(value serial)
	check "$flavour: serial port interrupts" "IRQ $number $count" [ "${number%:}" = "$irq" -a "$count" -gt 0 ]
}

check_machine() {
	local line lines bad
	powers_off "$flavour"
	tr -d '\0' <"$tmp/$flavour.log" >"$tmp/dmesg"
	equal "$flavour: release" "$(<"$VMM_IMAGES/kernel-$flavour/version")" "$(value release)"
	line=$(value 'command line')
	check "$flavour: command line" "${line%vmm.run=*}" \
		matches "$line" 'console=ttyS0 panic=-1 reboot=panic_warm random.trust_cpu=on tsc_early_khz=[1-9]* cryptomgr.notests pci=noearly quiet root=/dev/vda ro *'
	check_devices
	lines=$(wc -l <"$tmp/dmesg")
	bad=$(without_known "$tmp/dmesg" | grep -nE "$complaints" | grep -v 'WARNING: See https' || true)
	check "$flavour: no complaints" "$lines lines of log${bad:+, with: $bad}" [ "$lines" -gt 150 -a -z "$bad" ]
}

for pair in 'cloud full' 'cloud-6.12 rt'; do
	tap=0
	for flavour in $pair; do
		start_flavour $tap
		tap=$((tap + 2))
	done
	for flavour in $pair; do
		check_machine
	done
done
finish
