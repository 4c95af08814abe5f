#!/usr/bin/env bash
# Datagrams that the kernel cuts as late as it can (USO) cross the wire uncut, both ways, with vhost-net and without.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud-6.12 -- --kernel full-6.12

is_root || skip 'making a TAP needs root rights'
IFS=. read -r major minor _ < <(uname -r)
[ $((major * 1000 + minor)) -ge 6002 ] || skip "TAPs carry uncut datagrams from Linux 6.2 on; this is $(uname -r)"
vhost=on
if [ ! -c /dev/vhost-net ]; then
	note 'this host has no /dev/vhost-net'
	vhost=off
fi
for number in 0 1; do
	ip tuntap add dev boot$number mode tap
	undo+=("ip tuntap del dev boot$number mode tap")
	ip address add 10.9.$number.1/24 dev boot$number
	ip link set boot$number up
done
bursts=200 datagrams=4200 # see udp.c

# passed NUMBER DIRECTION - packets, as that TAP counts them: rx from the guest, tx to it
passed() {
	cat "/sys/class/net/boot$1/statistics/$2_packets"
}

# crossed NAME NUMBER DIRECTION BEFORE TEXT - the TAP may have had a few packets of others
crossed() {
	local packets
	packets=$(($(passed "$2" "$3") - $4))
	check "$1" "$5" matches "$5" "$datagrams of $datagrams datagrams came*"
	check "$1: uncut" "$packets packets" between "$packets" "$bursts" $((bursts + 50))
}

# wait_for NAME TEXT PID - in what that program of ours writes
wait_for() {
	until grep -q -- "$2" "$tmp/received"; do
		[ -e "/proc/$3/exe" ] || { fail "$1" "$(cat "$tmp/received")" && return 1; }
		sleep 0.05
	done
}

flavour=cloud-6.12
# Linux has it off at first, unlike the segmentation of TCP.
# shellcheck disable=SC2016 # for the guest
start_gated udp '
	ip address add 10.9.0.2/24 dev eth0
	ip address add 10.9.1.2/24 dev eth1; ip link set eth1 up
	for n in 0 1; do
		ethtool -K eth$n tx-udp-segmentation on
		echo "offload $n: $(ethtool -k eth$n | sed -n "s/^tx-udp-segmentation: //p")"
		ping -q -c 1 -W 5 10.9.$n.1 >/dev/null
		echo "ready $n"; read -r line
		udp send 10.9.$n.1 5000 '$bursts'; echo "sent $n"
		udp receive 5001 '$bursts' | while read -r line; do echo "card $n: $line"; done
	done
' --net "tap=boot0,vhost=$vhost" --net tap=boot1,vhost=off --timeout 100
for number in 0 1; do
	name="card $number"
	says udp "^ready $number" || finish
	"$stage/udp" receive 5000 $bursts >"$tmp/received" 2>&1 &
	children[$!]=udp
	receiver=$!
	wait_for "$name: the host's receiver" listening "$receiver" || finish
	before=$(passed $number rx)
	let_go udp
	wait "$receiver" || true
	unset "children[$receiver]"
	crossed "$name: from the guest" $number rx "$before" "$(tail -n 1 "$tmp/received")"

	says udp "^card $number: listening" || finish
	before=$(passed $number tx)
	"$stage/udp" send "10.9.$number.2" 5001 $bursts
	says udp "^card $number: [0-9]* of" || finish
	crossed "$name: to the guest" $number tx "$before" "$(sed -n "s/^card $number: \([0-9]* of .*[a-z]\).*/\1/p" "$tmp/udp.out")"
done
powers_off udp
for number in 0 1; do
	equal "card $number: tx-udp-segmentation" on "$(value "offload $number")"
done
finish
