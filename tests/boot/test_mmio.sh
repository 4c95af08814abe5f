#!/usr/bin/env bash
# The same devices over MMIO, without PCI, found through ACPI.
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
finish
