#!/usr/bin/env bash
# vmm doctor where virtual machines run: it says so, and what Debian's kernels have is what they can do; and a kernel that is found
# without --kernel boots.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

enter_lab cloud cloud-6.12

# doctor NAME STATUS OPTION... - sets $found
doctor() {
	local got=0
	found=$("$vmm" doctor "${@:3}" 2>&1) || got=$?
	equal "$1: status" "$2" "$got"
}

# finds NAME PATTERN
finds() {
	local line
	line=$(grep -m 1 -E -- "$2" <<<"$found" || true)
	check "$1" "${line:-no /$2/ in: $found}" [ -n "$line" ]
}

# place_kernel FLAVOUR - a kernel as packages have it: beside it its configuration, and its modules; sets $place and $release
place_kernel() {
	place=$tmp/$1 release=$(<"$VMM_IMAGES/kernel-$1/version")
	mkdir -p "$place/boot" "$place/lib/modules"
	ln -sf "$tmp/kernel-$1" "$place/boot/vmlinuz-$release"
	ln -sfn "$VMM_IMAGES/kernel-$1/modules" "$place/lib/modules/$release"
	ln -sf "$VMM_IMAGES/kernel-$1/config" "$place/boot/config-$release"
}

# The emulated machine has no kernel of its own to give to guests.
place_kernel cloud
own=(--kernel "$place/boot/vmlinuz-$release")
doctor 'this machine' 0 "${own[@]}"
finds 'this machine: KVM' '^ok    kvm: '
finds 'this machine: the CPU' '^ok    cpu: .*virtualization'
finds 'this machine: starts' '^(ok  |warn)  start: an empty VM is made in [0-9]+\.[0-9] ms'
finds 'this machine: vhost-net' '^ok    vhost-net: '
finds 'this machine: TAP' '^ok    tap: '
# What it says about cgroups is true: what it tells to type makes it say so no more.
if grep -q 'joins the cgroup' <<<"$found" && [ -n "$emulated" ]; then
	finds 'cgroups: what to type' '^      type: sudo mount -o remount,favordynmods /sys/fs/cgroup$'
	mount -o remount,favordynmods /sys/fs/cgroup
	doctor 'other cgroups' 0 "${own[@]}"
	finds 'other cgroups' '^(ok  |warn)  start: an empty VM is made in'
	check 'other cgroups: no more of them' "$(grep -c 'joins the cgroup' <<<"$found" || true)" \
		[ "$(grep -c 'joins the cgroup' <<<"$found" || true)" = 0 ]
fi
doctor 'as JSON' 0 --json "${own[@]}"
finds 'as JSON: all is well' '^\], "well": true\}$'

# Debian's kernels.
for flavour in cloud cloud-6.12; do
	place_kernel $flavour
	doctor "$flavour" 0 --kernel "$place/boot/vmlinuz-$release"
	finds "$flavour: release" "^ok    kernel: .*: Linux ${release//+/\\+}; configuration: .*/config-6.*; modules: .*/lib/modules/6[^ ]*\$"
	equal "$flavour: lacks" '' "$(grep 'it lacks' <<<"$found" || true)"
	rm "$place/lib/modules/$release"
	doctor "$flavour without modules" 1 --kernel "$place/boot/vmlinuz-$release"
	finds "$flavour without modules" '^warn  kernel: it lacks virtio disk \(CONFIG_VIRTIO_BLK\)$'
	finds "$flavour without modules: no command runs" '^fail  kernel: it lacks virtio sockets \(CONFIG_VIRTIO_VSOCKETS\), without which no command runs in it$'
done

# The kernel that was just built.
flavour=cloud
mkdir -p "$tmp/tree/arch/x86/boot"
ln -s "$tmp/kernel-cloud" "$tmp/tree/arch/x86/boot/bzImage"
touch "$tmp/tree/Makefile" "$tmp/tree/Kconfig"
cd "$tmp/tree"
status=0
"$vmm" --initrd "$tmp/initramfs-cloud" --log-level info --timeout 60 --append 'quiet root=/dev/vda ro vmm.run=dHJ1ZQ==' \
	--disk "$root,readonly" </dev/null >"$tmp/tree.out" 2>"$tmp/tree.err" || status=$?
cd /
equal 'a source tree: status' 0 "$status"
check 'a source tree: which kernel' "$(<"$tmp/tree.err")" \
	grep -q "kernel 'arch/x86/boot/bzImage', just built in this source tree" "$tmp/tree.err"
finish
