#!/usr/bin/env bash
# Guests that attack a network card on a TAP interface, which vmm serves, and one that the host's kernel serves (vhost-net). In a
# network namespace, so that no frame of theirs goes anywhere.
set -euo pipefail
if [ -z "${HOSTILE_NET-}" ]; then
	[ "$(id -u)" = 0 ] || { echo 'skipped: making a TAP interface needs root rights' && exit 77; }
	[ -c /dev/net/tun ] || { echo 'skipped: this host has no /dev/net/tun' && exit 77; }
	HOSTILE_NET=yes exec unshare --net "$0" "$@"
fi
# shellcheck source=tests/hostile/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ip tuntap add dev hostile0 mode tap || skip 'no TAP interface can be made here'
ip address add 10.7.0.1/24 dev hostile0
ip link set hostile0 mtu 65521 up
# No guest answers to ARP; all take what is for all.
ip neighbour add 10.7.0.2 lladdr ff:ff:ff:ff:ff:ff dev hostile0 nud permanent
make_programs "$build/lib/libvmm.a"
"$tmp/bin/passt" udp 10.7.0.2 &

export HOSTILE_TAP=hostile0
themes=(queues chains race net flood wild)
attack pci
themes=(chains net)
attack mmio
if [ -c /dev/vhost-net ]; then
	export HOSTILE_VHOST=yes
	# What a ring may hold is for the kernel to say.
	themes=(msix queues race net flood wild)
	attack pci
	themes=(race net)
	attack mmio
else
	echo 'note: this host has no /dev/vhost-net; vhost was not tried'
fi
finish
