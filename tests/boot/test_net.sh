#!/usr/bin/env bash
# The network card: a TAP by name and by descriptor, both ways, big and small, and its link.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

tcp=$stage/tcp
got=0
"$vmm" --kernel "$tmp/kernel-cloud" --net tap=boot9 </dev/null >"$tmp/missing" 2>&1 || got=$?
equal 'a TAP that is missing: status' 125 "$got"
check 'a TAP that is missing: message' "$(<"$tmp/missing")" \
	matches "$(<"$tmp/missing")" "vmm: *'boot9'*no such interface*ip tuntap add dev boot9 mode tap*"

is_root || skip 'making a TAP needs root rights'
for number in 0 1; do
	ip tuntap add dev boot$number mode tap
	undo+=("ip tuntap del dev boot$number mode tap")
	ip address add 10.9.$number.1/24 dev boot$number
	ip link set boot$number up
done
ip link set boot1 mtu 9000

# pings NAME ADDRESS [OPTION...]
pings() {
	local text
	text=$(ping -q -i 0.2 -c 5 -W 5 "${@:3}" "$2" 2>&1) || true
	check "$1" "$(grep -E 'packets|rtt' <<<"$text" | xargs)" matches "$text" '* 5 received*'
}

# rate BYTES MS - as MB/s
rate() {
	echo "$(($1 / 1000 / ($2 + 1))) MB/s"
}

# ---- the first machine: everything ----

# The file to send is the guest's disk, which is filled while it boots.
bytes=200000000
truncate -s $(((bytes + 511) / 512 * 512)) "$tmp/data"

mkfifo "$tmp/first.in"
exec 7<>"$tmp/first.in"
stdin=$tmp/first.in words=vmm.ip=10.9.0.2/24
start first '
	ip address add 10.9.1.2/24 dev eth1; ip link set eth1 up
	echo "macs: $(cat /sys/class/net/eth[01]/address | xargs)"
	echo "mtus: $(cat /sys/class/net/eth[01]/mtu | xargs)"
	echo "offloads: $(ethtool -k eth0 | grep -cE "^(tcp-seg|rx-check|tx-check|generic-rec|scatter).*: on")"
	carrier() { until grep -q $1 /sys/class/net/eth1/carrier; do sleep 0.1; done; echo "link $1"; }
	carrier 1
	echo ready; read -r x
	ping -q -c 3 -W 5 10.9.0.1 | grep received
	echo "sum: $(tcp receive 5000 10.9.0.1 | sha256sum)"
	echo received; read -r x
	tcp send 5001 10.9.0.1 </dev/vdb
	echo sent
	carrier 0
	carrier 1
	echo pausing; read -r x
' --disk "$tmp/data,readonly" --net tap=boot0 --net tap=boot1,mac=52:54:00:12:34:56,mtu=9000 --timeout 200
# Ten pieces that differ in their first byte, for random bytes take their time.
head -c $((bytes / 10 - 1)) /dev/urandom >"$tmp/piece"
for number in {0..9}; do
	printf %d $number
	cat "$tmp/piece"
done | dd bs=64k conv=notrunc of="$tmp/data" 2>/dev/null
sum=$(sha256sum <"$tmp/data")
says first '^ready' 90 || finish
pings 'ping to the guest' 10.9.0.2
pings 'ping with jumbo frames' 10.9.1.2 -s 8972 -M 'do'
pings 'ping with large fragmented packets' 10.9.0.2 -s 20000

# The guest's own ping, and both directions.
"$tcp" send 5000 <"$tmp/data" &
children[$!]=tcp
since=$EPOCHREALTIME
echo >&7
if says first '^received' 90; then
	note "200 MB to the guest, with its checksum: $(rate $bytes "$(ms_since "$since")")"
fi
"$tcp" receive 5001 >"$tmp/copy" &
children[$!]=tcp
since=$EPOCHREALTIME
echo >&7
if says first '^sent' 90; then
	note "200 MB to the host: $(rate $bytes "$(ms_since "$since")")"
fi
check '200 MB to the host' "$(stat -c %s "$tmp/copy") bytes" cmp "$tmp/data" "$tmp/copy"
rm "$tmp/copy"

# The link, and what happens on it meanwhile.
ip link set boot1 down
check 'link down is seen' 'link 0' says first '^link 0' 20
ip link set boot1 up
check 'link up again is seen' 'link 1 again' says first '^pausing' 20
pings 'ping after the link was down' 10.9.1.2
echo >&7
powers_off first
equal 'ping from the guest' '3 packets transmitted, 3 packets received, 0% packet loss' \
	"$(grep received, <<<"$output" || true)"
equal '200 MB to the guest' "$sum" "$(value sum)"
read -r mac given <<<"$(value macs)"
equal 'mac=' 52:54:00:12:34:56 "$given"
check 'default MAC' "$mac" matches "$mac" '[0-9a-f][26ae]:*'
equal 'mtu=' '1500 9000' "$(value mtus)"
equal 'offloads on' 5 "$(value offloads)"

# ---- the second: the same TAPs at once, one as a descriptor; it is killed, and the third takes them again ----

stdin=/dev/null
script='
	ip address add 10.9.1.2/24 dev eth1; ip link set eth1 up
	echo "mac: $(cat /sys/class/net/eth0/address)"
	echo ready
	until ping -q -c 1 -W 1 10.9.0.1 && ping -q -c 1 -W 1 10.9.1.1; do sleep 0.1; done >/dev/null
	echo pinged
	sleep ' # and how long

runner=("$stage/tapfd" boot1 9)
start second "$script 100" --net tap=boot0 --net tap-fd=9 --timeout 90
says second '^ready' || true
pings 'ping through tap-fd=' 10.9.1.2
check 'ping from the guest through tap-fd=' 'pinged' says second '^pinged' 20
kill -KILL "$pid"
await second 2>/dev/null
equal 'default MAC, at the next start' "$mac" "$(sed -n 's/^mac: //p' "$tmp/second.out")"

runner=()
boot third "$script 0" --net tap=boot0 --net tap=boot1
check 'TAPs after a kill' "$(tail -n 1 <<<"$output")" [ "$(tail -n 1 <<<"$output")" = pinged ]
check 'TAPs outlive vmm' 'boot0, boot1' [ -e /sys/class/net/boot0 -a -e /sys/class/net/boot1 ]

# ---- the same TAP for two ----

# A lone first machine keeps it; the second is told.
start holder 'sleep 100' --net tap=boot0 --timeout 60
while ! grep -q '^vmm-vcpu0$' /proc/"$pid"/task/*/comm 2>/dev/null; do sleep 0.05; done
got=0
"$vmm" --kernel "$tmp/kernel-cloud" --net tap=boot0 </dev/null >"$tmp/taken" 2>&1 || got=$?
equal 'a TAP in use: status' 125 "$got"
check 'a TAP in use: message' "$(<"$tmp/taken")" matches "$(<"$tmp/taken")" "vmm: *'boot0'*"
kill -KILL "$pid"
await holder 2>/dev/null
finish
