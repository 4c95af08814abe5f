#!/usr/bin/env bash
# The same devices over MMIO, without PCI, found through ACPI, and told of by a device tree.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

is_root || skip 'making a TAP needs root rights'
ip tuntap add dev boot0 mode tap
undo+=("ip tuntap del dev boot0 mode tap")
ip address add 10.9.0.1/24 dev boot0
ip link set boot0 up
truncate -s 32M "$tmp/data"
truncate -s 1M "$tmp/small"
many=()
for number in {1..29}; do
	many+=(--disk "$tmp/small,readonly,serial=small$number")
done

# ---- through ACPI: two CPUs, 34 devices ----

words=vmm.ip=10.9.0.2/24
boot acpi '
	echo "buses: $(ls /sys/bus/virtio/devices | wc -l) $(ls /sys/bus/pci/devices | wc -l) $(ls -d /sys/bus/acpi/devices/LNRO0005:* | wc -l)"
	echo "cpus: $(nproc)"
	echo "last: $(cat /sys/block/vdae/serial)"
	dd if=/dev/urandom bs=1M count=32 of=/tmp/random
	dd if=/tmp/random of=/dev/vdb bs=64k oflag=direct
	sync /dev/vdb
	echo "sum: $(sha256sum </tmp/random)"
	echo "ping: $(ping -q -c 5 -W 5 10.9.0.1 | grep -o "[0-9]* packets received")"
	echo "edges: $(grep -c "IO-APIC.*edge.*virtio" /proc/interrupts)"
	cd /sys/bus/virtio/drivers/virtio_blk
	echo virtio1 >unbind; echo virtio1 >bind
	echo "again: $(sha256sum </dev/vdb)"
	echo "warnings: $(dmesg | grep -E "nobody cared|virtio.*(WARN|failed|error)" | tr "\n" ";")"
' --transport mmio --cpus 2 --disk "$tmp/data" "${many[@]}" --net tap=boot0
equal 'devices on virtio, on PCI, in ACPI' '34 0 34' "$(value buses)"
equal 'CPUs' 2 "$(value cpus)"
equal 'the last of 31 disks' small29 "$(value last)"
equal 'a second disk is written' "$(sha256sum <"$tmp/data")" "$(value sum)"
equal 'ping' '5 packets received' "$(value ping)"
equal 'interrupts of all 34, which have drivers' 34 "$(value edges)"
equal 'a driver that begins anew' "$(sha256sum <"$tmp/data")" "$(value again)"
equal 'complaints of the kernel' '' "$(value warnings)"

# ---- what a device tree tells of is what Linux finds through ACPI ----

# by_acpi - of $output, one fact a line
by_acpi() {
	local line range='([0-9a-f]+)-([0-9a-f]+)'
	local -a base=()
	while read -r line; do
		if [[ $line =~ ^$range\ :\ LNRO0005:..$ ]]; then
			base+=("$((16#${BASH_REMATCH[1]})) $((16#${BASH_REMATCH[2]} - 16#${BASH_REMATCH[1]} + 1))")
		elif [[ $line =~ ^$range\ :\ (serial|Local\ APIC)$ ]]; then
			echo "${BASH_REMATCH[3]} $((16#${BASH_REMATCH[1]})) $((16#${BASH_REMATCH[2]} - 16#${BASH_REMATCH[1]} + 1))"
		elif [[ $line =~ IO-APIC\ +([0-9]+)-edge\ +ttyS0$ ]]; then
			echo "serial pin ${BASH_REMATCH[1]}"
		elif [[ $line =~ IO-APIC\ +([0-9]+)-edge\ +virtio([0-9]+)$ ]]; then
			echo "virtio ${base[BASH_REMATCH[2]]} ${BASH_REMATCH[1]}"
		elif [[ $line =~ IOAPIC.*\ address\ (0x[0-9a-f]+), ]]; then
			echo "IOAPIC $((BASH_REMATCH[1]))"
		elif [[ $line =~ BIOS-e820:\ .mem\ (0x[0-9a-f]+)-(0x[0-9a-f]+)]\ usable ]]; then
			echo "RAM $((BASH_REMATCH[1])) $((BASH_REMATCH[2] - BASH_REMATCH[1] + 1))"
		elif [[ $line == processor* ]]; then
			echo CPU
		fi
	done <<<"$output"
}

# by_tree DTS - the same
by_tree() {
	local line node='' at='' reg='' i
	local -a cells
	while read -r line; do
		read -ra cells <<<"${line//[^0-9a-fx ]/ }"
		case $line in
		*'{') node=${line%%[@ ]*} at=${line#*@} at=${at%% *} ;;
		'device_type = "cpu";') echo CPU ;;
		'interrupts = <'*'0x00>;')
			case $node in
			virtio) echo "virtio $reg $((cells[-2]))" ;;
			serial) echo "serial pin $((cells[-2]))" ;;
			esac
			;;
		'reg = <'*)
			cells=("${cells[@]:1}") reg=''
			case $node in
			virtio) reg="$((cells[1])) $((cells[3]))" ;;
			serial) echo "serial $((cells[1])) $((cells[2]))" ;;
			interrupt-controller)
				[ "$at" != fee00000 ] || echo "Local APIC $((cells[1])) $((cells[3]))"
				[ "$at" != fec00000 ] || echo "IOAPIC $((cells[1]))"
				;;
			memory)
				for ((i = 0; i < ${#cells[@]}; i += 4)); do
					echo "RAM $((cells[i] << 32 | cells[i + 1])) $((cells[i + 2] << 32 | cells[i + 3]))"
				done
				;;
			esac
			;;
		esac
	done <"$1"
}

if type -P dtc >/dev/null; then
	machine=(--transport mmio --cpus 3 --memory 5G --disk "$tmp/small")
	boot facts '
		cat /proc/iomem /proc/ioports /proc/interrupts
		dmesg | grep -E "BIOS-e820|IOAPIC"
		grep ^processor /proc/cpuinfo
	' "${machine[@]}"
	"$vmm" --kernel "$tmp/kernel-cloud" --disk "$root,readonly" "${machine[@]}" --log-level error --dump-dtb "$tmp/tree"
	dtc -I dtb -O dts -o "$tmp/dts" "$tmp/tree"
	equal 'facts of four devices, three CPUs, three ranges of RAM and four more' 14 "$(by_acpi | wc -l)"
	equal 'the device tree tells' "$(by_acpi | sort | tr '\n' ';')" "$(by_tree "$tmp/dts" | sort | tr '\n' ';')"
else
	note 'the device tree: not compared, dtc is missing (Debian: device-tree-compiler)'
fi
finish
