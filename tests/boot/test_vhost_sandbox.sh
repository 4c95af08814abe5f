#!/usr/bin/env bash
# vhost-net on a kernel where its workers are threads of the process that asks for them (Linux 6.4): an ordinary user's machine
# has all layers of the sandbox nevertheless.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud-6.12 -- --kernel full-6.12

is_root || skip 'making a TAP needs root rights'
[ -c /dev/vhost-net ] || skip 'this host has no /dev/vhost-net'
flavour=cloud-6.12
ip tuntap add dev boot9 mode tap user 65534
undo+=("ip tuntap del dev boot9 mode tap")
ip address add 10.9.9.1/24 dev boot9
ip link set boot9 up
chmod 755 "$tmp" "$tmp/vmm.d"
chmod a+r "$tmp"/*

# As one who has no rights but for these devices.
# shellcheck disable=SC2016 # for the inner shell
ordinary=(unshare --mount bash -c '
	for node in kvm vhost-net net/tun; do
		[ -e "$0/${node#*/}" ] || { mknod "$0/${node#*/}" c $(stat -c "0x%t 0x%T" "/dev/$node") && chmod 666 "$0/${node#*/}"; }
		mount --bind "$0/${node#*/}" "/dev/$node"
	done
	exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all -- "$@"' "$tmp")
"${ordinary[@]}" unshare -U true 2>/dev/null || skip 'this host lets users have no namespaces'

# What the kernel's threads are limited by.
cgroup=/sys/fs/cgroup/vmm-boot-$$
if mkdir "$cgroup" 2>/dev/null; then
	undo+=("rmdir $cgroup")
	# shellcheck disable=SC2016
	ordinary=(bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$cgroup" "${ordinary[@]}")
else
	cgroup=
fi

# worker PID - its thread of the kernel
worker() {
	local comm name
	for comm in /proc/"$1"/task/*/comm; do
		read -r name <"$comm"
		[ "$name" != "vhost-$1" ] || echo "${comm%/comm}"
	done
}

# layers NAME - those of $pid
layers() {
	local ns task
	for ns in mnt ipc uts user; do
		check "$1: its own namespace" "$ns" \
			[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink "/proc/self/ns/$ns")" ]
	done
	check "$1: the root" "$(echo "/proc/$pid/root/"*)" [ -z "$(find "/proc/$pid/root/" -mindepth 1)" ]
	[ "$strict" = strict ] || return 0
	for task in "/proc/$pid/task"/*; do
		[ "$(<"$task/comm")" != "vhost-$pid" ] || continue
		check "$1: a filter" "$(<"$task/comm")" grep -q '^Seccomp:.*2$' "$task/status"
	done
}

mkfifo "$tmp/in"
exec 7<>"$tmp/in"

# strict NAME OPTION...
strict() {
	local task got name=$1
	stdin=$tmp/in words=vmm.ip=10.9.9.2/24 runner=("${ordinary[@]}")
	start "$name" 'echo ready; read -r x; ping -q -c 3 -W 5 10.9.9.1 | grep received' --sandbox "$strict" \
		--log-level info --timeout 90 --net tap=boot9,vhost=on "${@:2}"
	says "$name" '^ready' 80 || finish
	got=$(ping -q -c 3 -W 5 10.9.9.2 2>&1) || true
	check "$name: ping from the host" "$(grep received <<<"$got")" matches "$got" "* 3 received*"
	task=$(worker "$pid")
	if [ -n "$emulated" ]; then
		check "$name: a thread of the kernel" "${task:-none}" [ -n "$task" ]
	elif [ -z "$task" ]; then
		note "the kernel's threads are no threads of the process here"
	fi
	[ -z "$task" ] || [ -z "$cgroup" ] ||
		check "$name: the thread's cgroup" "$(<"$task/cgroup")" matches "$(<"$task/cgroup")" "*${cgroup##*/}"
	layers "$name"
	echo >&7
	powers_off "$name"
	equal "$name: ping from the guest" '3 packets transmitted, 3 packets received, 0% packet loss' \
		"$(grep received, <<<"$output" || true)"
	check "$name: the line that tells" "$(grep sandbox: "$tmp/$name.err")" \
		grep -q "sandbox: namespaces, an empty root, .*limits$filters\$" "$tmp/$name.err"
	nothing_left "$name"
}

strict pci
strict mmio --transport mmio --cpus 2

finish
