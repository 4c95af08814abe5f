#!/usr/bin/env bash
# What a network card can do beside carrying frames: offloads, several queues, jumbo frames, VLANs, filters of addresses,
# announcements, many streams at once, and a bridge between two guests.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The guest's kernel has VLANs as a module, which the initramfs of all tests need not carry.
prepare() {
	make_or_skip make_modules
}

# shellcheck disable=SC2317 # make_or_skip calls it
make_modules() (
	# shellcheck source=guest-images/lib.sh
	. "$repo/guest-images/lib.sh"
	kernel_of cloud && scratch_dir && mkdir "$scratch/tree" && copy_modules "$scratch/tree" 8021q &&
		tar -C "$scratch/tree" -cf "$stage/vlan.tar" modules modules.list
)

enter_lab cloud

is_root || skip 'making a TAP needs root rights'
modprobe -a 8021q bridge 2>"$tmp/modprobe" || skip "the host has no VLANs or no bridge: $(<"$tmp/modprobe")"
ip tuntap add dev boot0 mode tap multi_queue
undo+=('ip tuntap del dev boot0 mode tap multi_queue')
ip link set boot0 mtu 9000
ip address add 10.9.0.1/24 dev boot0
sysctl -qw net.ipv6.conf.boot0.disable_ipv6=1 net.ipv4.conf.boot0.arp_accept=1
ip link set boot0 up
ip link add link boot0 name boot0.7 type vlan id 7
ip address add 10.9.7.1/24 dev boot0.7
ip link set boot0.7 up
ip link add bootbr type bridge
undo+=('ip link del bootbr')
ip link set bootbr up
for number in 1 2; do
	ip tuntap add dev boot$number mode tap
	undo+=("ip tuntap del dev boot$number mode tap")
	ip link set boot$number up master bootbr
done

# What the first guest does, in steps that the host lets it begin.
mkdir "$tmp/disk"
cat >"$tmp/disk/script" <<'END'
# step NAME - waits for the host
step() {
	echo "$1"
	read -r x
}
# pings NAME ADDRESS [OPTION...]
pings() {
	name=$1 address=$2
	shift 2
	echo "$name: $(ping -q -c 3 -i 0.2 -W 5 "$@" "$address" | grep -o '[0-9]* packets received')"
}
on() {
	ethtool -k eth0 | grep -cE "^($1): on"
}
received() {
	cat /sys/class/net/eth0/statistics/rx_packets
}
while read -r module; do insmod "/tmp$module"; done </tmp/modules.list
ip link add link eth0 name eth0.7 type vlan id 7
ip address add 10.9.7.2/24 dev eth0.7
ip link set eth0.7 up
ip address add 10.9.2.1/24 dev eth1
ip link set eth1 up
echo "offloads: $(on 'tcp-segmentation-offload|generic-segmentation-offload|tx-checksumming|rx-checksumming|scatter-gather')"
echo "udp: $(on tx-udp-segmentation)"
echo "mtu: $(cat /sys/class/net/eth0/mtu)"
iperf3 -s -D
step ready
pings 'jumbo from the guest' 10.9.0.1 -s 8000
pings 'VLAN from the guest' 10.9.7.1 -s 1000
pings 'VLAN and jumbo from the guest' 10.9.7.1 -s 8000

channels() {
	ethtool -l eth0 | sed -n 's/^Combined:[^0-9]*//p' | tail -n 1
}
before=$(channels)
tcp send 5001 10.9.0.1 </dev/vdb &
for number in 1 2 1 2 1; do
	ethtool -L eth0 combined $number
	counts="$counts $(channels)"
	sleep 0.2
done
wait $!
echo "channels: $before$counts"
pings 'one queue' 10.9.0.1
ethtool -L eth0 combined 2
pings 'two queues' 10.9.0.1
step switched

before=$(received)
step filtered
after=$(received)
ip link set eth0 promisc on
echo "strange frames: $((after - before))"
before=$(received)
step promiscuous
echo "strange frames, promiscuous: $(($(received) - before))"
ip link set eth0 promisc off

carrier() { until grep -q $1 /sys/class/net/eth0/carrier; do sleep 0.1; done; }
carrier 1
step 'link up'
carrier 0
echo 'link down'
carrier 1
step 'link up again'
pings 'bridge' 10.9.2.2 -s 1400
echo "bridge sum: $(tcp receive 5000 10.9.2.2 | sha256sum)"
END
tar -C "$tmp/disk" -xf "$stage/vlan.tar"
tar -C "$tmp/disk" -cf "$tmp/features.tar" .
truncate -s $((($(stat -c %s "$tmp/features.tar") + 511) / 512 * 512)) "$tmp/features.tar"
sum=$(sha256sum <"$tmp/features.tar")

# pings NAME ADDRESS [OPTION...]
pings() {
	local text
	text=$(ping -q -i 0.2 -c 3 -W 5 "${@:3}" "$2" 2>&1) || true
	check "$1" "$(grep packets <<<"$text")" matches "$text" '* 3 received*'
}

# streams NAME OPTION-OF-IPERF3... - what the client says at its end
streams() {
	local text
	if text=$(iperf3 -c 10.9.0.2 -f m "${@:2}" 2>&1); then
		ok "$1" "$(grep -E 'receiver$' <<<"$text" | tail -n 1 | tr -s ' ')"
	else
		fail "$1" "$(tail -n 2 <<<"$text" | xargs)"
	fi
}

mkfifo "$tmp/in"
exec 7<>"$tmp/in"
start second '
	ip address add 10.9.2.2/24 dev eth0
	tcp send 5000 </dev/vdb
' --disk "$tmp/features.tar,readonly" --net tap=boot2 --timeout 100
stdin=$tmp/in words=vmm.ip=10.9.0.2/24
start first 'tar -xf /dev/vdb -C /tmp; . /tmp/script' --disk "$tmp/features.tar,readonly" --cpus 2 \
	--net tap=boot0,queues=2 --net tap=boot1 --timeout 100
says first '^ready' || finish

pings 'jumbo to the guest' 10.9.0.2 -s 8000 -M 'do'
pings 'VLAN to the guest' 10.9.7.2 -s 1000
pings 'VLAN and jumbo to the guest' 10.9.7.2 -s 8000
streams '16 streams to the guest' -P 16 -t 1
streams '16 streams from the guest' -P 16 -t 1 -R
streams 'UDP in frames of 64 bytes to the guest' -u -l 18 -b 500K -t 1
streams 'UDP in frames of 64 bytes from the guest' -u -l 18 -b 500K -t 1 -R

"$stage/tcp" receive 5001 >"$tmp/copy" &
children[$!]=tcp
receiver=$!
echo >&7
says first '^switched' || finish
wait "$receiver" || true
unset "children[$receiver]"
equal 'sent while queues come and go' "$sum" "$(sha256sum <"$tmp/copy")"

# Frames to an address that is not the guest's.
ip neigh replace 10.9.0.55 lladdr 02:00:00:00:00:55 dev boot0
echo >&7
says first '^filtered' || finish
ping -q -i 0.05 -c 20 -W 1 10.9.0.55 >/dev/null 2>&1 || true
echo >&7
says first '^promiscuous' || finish
ping -q -i 0.05 -c 20 -W 1 10.9.0.55 >/dev/null 2>&1 || true
echo >&7
says first '^link up$' || finish

# What the host knows of the guest's address.
neighbour() {
	ip neigh show 10.9.0.2 dev boot0
}
mac=$(neighbour | awk '{ print $3 }')
echo >&7
ip link set boot0 down
says first '^link down' || finish
ip neigh flush dev boot0
ip link set boot0 up
says first '^link up again' || finish
since=$EPOCHREALTIME
until [ -n "$(neighbour)" ] || [ "$(ms_since "$since")" -gt 5000 ]; do sleep 0.1; done
check 'announced after the link was down' "$(neighbour)" matches "$(neighbour)" "*lladdr $mac*"
echo >&7
powers_off first
equal offloads 5 "$(value offloads)"
note "segmentation of UDP, which Linux 6.2 and later has: $(value udp)"
equal mtu 9000 "$(value mtu)"
for name in jumbo VLAN 'VLAN and jumbo'; do
	equal "$name from the guest" '3 packets received' "$(value "$name from the guest")"
done
equal 'ethtool -L' '2 1 2 1 2 1' "$(value channels)"
equal 'ping by one queue' '3 packets received' "$(value 'one queue')"
equal 'ping by two queues' '3 packets received' "$(value 'two queues')"
check 'frames to others stay outside' "$(value 'strange frames') of 20" [ "$(value 'strange frames')" -lt 10 ]
check 'unless the guest wants them' "$(value 'strange frames, promiscuous') of 20" \
	[ "$(value 'strange frames, promiscuous')" -ge 20 ]
equal 'ping between two guests' '3 packets received' "$(value bridge)"
equal 'sent between two guests' "$sum" "$(value 'bridge sum')"
powers_off second
finish
