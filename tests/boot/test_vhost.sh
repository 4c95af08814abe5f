#!/usr/bin/env bash
# The network card with the host's kernel between the guest's rings and the TAP (vhost-net), and the same without it.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

tcp=$stage/tcp
is_root || skip 'making a TAP needs root rights'
[ -c /dev/vhost-net ] || skip 'this host has no /dev/vhost-net'
ip tuntap add dev boot0 mode tap multi_queue
undo+=("ip tuntap del dev boot0 mode tap multi_queue")
ip address add 10.9.0.1/24 dev boot0
ip link set boot0 up

# pings NAME ADDRESS [OPTION...]
pings() {
	local text
	text=$("${far[@]}" ping -q -i 0.2 -c 5 -W 5 "${@:3}" "$2" 2>&1) || true
	check "$1" "$(grep -E 'packets|rtt' <<<"$text" | xargs)" matches "$text" '* 5 received*'
}
far=() # what runs a command on the other side of the wire

# answers ADDRESS - waits until it does: neighbours find each other anew after a change, and packets are lost meanwhile
answers() {
	local try
	for ((try = 0; try < 20; try++)); do
		! "${far[@]}" ping -q -c 1 -W 1 "$1" >/dev/null 2>&1 || return 0
	done
}

# rate BYTES MS - as MB/s
rate() {
	echo "$(($1 / 1000 / ($2 + 1))) MB/s"
}

# workers PID - how many threads of the kernel serve that vmm: on new kernels they are its own, on others nobody's
workers() {
	local comm name n=0
	for comm in /proc/[0-9]*/task/[0-9]*/comm; do
		{ read -r name <"$comm"; } 2>/dev/null || continue
		[ "$name" != "vhost-$1" ] || n=$((n + 1))
	done
	echo $n
}

# ended NAME PID - also the kernel's threads have gone
ended() {
	local since=$EPOCHREALTIME
	while [ "$(workers "$2")" != 0 ] && [ "$(ms_since "$since")" -lt 5000 ]; do sleep 0.1; done
	equal "$1: the kernel's threads at the end" 0 "$(workers "$2")"
	nothing_left "$1"
}

bytes=60000000
head -c $bytes /dev/urandom >"$tmp/data"
sum=$(sha256sum <"$tmp/data")
truncate -s $(((bytes + 511) / 512 * 512)) "$tmp/data"
cp "$tmp/data" "$tmp/sent"
truncate -s $bytes "$tmp/sent"

# to_guest NAME, to_host NAME - once the guest does its part
to_guest() {
	local since
	"$tcp" send 5000 <"$tmp/sent" &
	children[$!]=tcp
	since=$EPOCHREALTIME
	echo >&7
	says "$1" '^received' 90 || return 0
	note "$1: $((bytes / 1000000)) MB to the guest: $(rate $bytes "$(ms_since "$since")")"
}
to_host() {
	local since
	"$tcp" receive 5001 >"$tmp/copy" &
	children[$!]=tcp
	since=$EPOCHREALTIME
	echo >&7
	says "$1" '^sent' 90 || return 0
	note "$1: $((bytes / 1000000)) MB to the host: $(rate $bytes "$(ms_since "$since")")"
	wait $!
	check "$1: TCP to the host" "$(stat -c %s "$tmp/copy") bytes" cmp "$tmp/data" "$tmp/copy"
	rm "$tmp/copy"
}

mkfifo "$tmp/in"
exec 7<>"$tmp/in"

# The script of the guest: each step waits for a line. The disk it sends is 512-byte sectors long.
script='
	carrier() { until grep -q $1 /sys/class/net/eth0/carrier; do sleep 0.1; done; echo "link $1"; }
	card=$(basename $(readlink /sys/class/net/eth0/device))
	echo ready; read -r x
	echo "sum: $(tcp receive 5000 10.9.0.1 | sha256sum)"
	echo received; read -r x
	tcp send 5001 10.9.0.1 </dev/vdb
	echo sent; read -r x
	ethtool -L eth0 combined 2 && echo "pairs: $(ethtool -l eth0 | grep -c "Combined:.*2")"
	(for i in $(seq 40); do
		for irq in /proc/irq/*/virtio*put*; do echo $((i % 2 + 1)) >${irq%/*}/smp_affinity; done
		sleep 0.05
	done) 2>/dev/null &
	echo pairs; read -r x
	ethtool -L eth0 combined 1 && echo one; read -r x
	carrier 0; carrier 1; echo again; read -r x
	echo $card >/sys/bus/virtio/drivers/virtio_net/unbind
	echo unbound; read -r x
	echo $card >/sys/bus/virtio/drivers/virtio_net/bind
	ip address add 10.9.0.2/24 dev eth0; ip link set eth0 up
	echo bound; read -r x
'

# whole NAME WORKERS OPTION... - all that a card can do
whole() {
	local name=$1 want=$2
	stdin=$tmp/in words=vmm.ip=10.9.0.2/24
	start "$name" "$script" --cpus 2 --disk "$tmp/data,readonly" --timeout 200 "${@:3}"
	says "$name" '^ready' 90 || finish
	pings "$name: ping" 10.9.0.2
	equal "$name: threads of the kernel" "$want" "$(workers "$pid")"
	to_guest "$name"
	to_host "$name"
	echo >&7
	says "$name" '^pairs$' 20 || finish
	pings "$name: ping with two pairs, while interrupts move" 10.9.0.2
	echo >&7
	says "$name" '^one' 20 || finish
	pings "$name: ping with one pair again" 10.9.0.2 -s 20000
	echo >&7
	ip link set boot0 down
	says "$name" '^link 0' 20 || finish
	ip link set boot0 up
	says "$name" '^again' 20 || finish
	pings "$name: ping after the link was down" 10.9.0.2
	echo >&7
	says "$name" '^unbound' 20 || finish
	echo >&7
	says "$name" '^bound' 20 || finish
	pings "$name: ping with a new driver" 10.9.0.2
	echo >&7
	powers_off "$name"
	equal "$name: TCP to the guest" "$sum" "$(value sum)"
	equal "$name: two pairs" 2 "$(value pairs)"
	ended "$name" "$pid"
}

whole kernel 2 --net tap=boot0,vhost=on
whole user 0 --net tap=boot0,vhost=off

# brief NAME WORKERS ADDRESS OPTION... - a machine that answers, and is told to end
talk='
	ip -6 address add fd00::2/64 dev eth0 2>/dev/null
	echo ready; read -r x
	ping -q -c 3 -W 5 $peer | grep received
	ip link set eth0 address 52:54:00:00:00:09 2>/dev/null && echo "address: free" || echo "address: fixed"
'
brief() {
	local name=$1 want=$2 address=$3
	stdin=$tmp/in words=vmm.ip=$address/24
	start "$name" "peer=${address%.*}.1; $talk" --timeout 60 "${@:4}"
	says "$name" '^ready' 50 || finish
	pings "$name: ping" "$address"
	equal "$name: threads of the kernel" "$want" "$(workers "$pid")"
}
ends() {
	echo >&7
	powers_off "$1"
	equal "$1: ping from the guest" '3 packets transmitted, 3 packets received, 0% packet loss' \
		"$(grep received, <<<"$output" || true)"
	ended "$1" "$pid"
}

# ---- over MMIO, where each interrupt is raised by vmm ----

brief mmio 1 10.9.0.2 --transport mmio --net tap=boot0,vhost=on
ends mmio

# ---- a host without it: the driver is not there ----

mknod "$tmp/absent" c 10 254
# shellcheck disable=SC2016
runner=(unshare --mount sh -c 'mount --bind "$0" /dev/vhost-net && exec "$@"' "$tmp/absent")
got=0
"${runner[@]}" "$vmm" --kernel "$tmp/kernel-cloud" --net tap=boot0,vhost=on </dev/null >"$tmp/absent.out" 2>&1 || got=$?
equal 'vhost=on that cannot be had: status' 125 "$got"
check 'vhost=on that cannot be had: message' "$(<"$tmp/absent.out")" matches "$(<"$tmp/absent.out")" \
	"vmm: cannot use vhost for TAP 'boot0': cannot open /dev/vhost-net: *"
brief absent 0 10.9.0.2 --net tap=boot0
ends absent
equal 'absent: messages' '' "$(<"$tmp/absent.err")"
equal 'a TAP: the address is free' free "$(value address)"

# ---- the end without a warning ----

runner=()
brief killed 1 10.9.0.2 --net tap=boot0
kill -KILL "$pid"
await killed 2>/dev/null
ended killed "$pid"

# ---- macvtap, on a wire to another network namespace ----

macvtap() {
	local peer index line mode want
	modprobe macvtap 2>/dev/null || true
	unshare --net sleep 1000 &
	peer=$!
	children[$peer]=peer
	ip link add near0 type veth peer name far0
	undo+=('ip link del near0')
	ip link add link near0 name boot8 type macvtap mode bridge 2>/dev/null || return
	far=(nsenter -t "$peer" --net)
	until ip link set far0 netns $peer; do sleep 0.1; done
	"${far[@]}" ip address add 10.8.0.1/24 dev far0
	"${far[@]}" ip -6 address add fd00::1/64 dev far0 nodad
	"${far[@]}" ip link set far0 up
	ip link set near0 up
	ip link set boot8 up
	line=$(ip -o link show boot8)
	index=${line%%:*}
	[ -c "/dev/tap$index" ] || return
	got=0
	"$vmm" --kernel "$tmp/kernel-cloud" --net tap=boot8 </dev/null >"$tmp/name.out" 2>&1 || got=$?
	check 'a macvtap by its name: message' "$(<"$tmp/name.out")" matches "$got $(<"$tmp/name.out")" \
		"125 vmm: *'boot8'*9<>/dev/tap$index"
	for mode in on off; do
		exec 9<>"/dev/tap$index"
		want=0
		[ $mode = off ] || want=1
		brief macvtap-$mode $want 10.8.0.2 --net tap-fd=9,vhost=$mode
		exec 9>&-
		ip link set boot8 allmulticast on
		answers fd00::2
		pings "macvtap-$mode: ping over IPv6, once multicasts come" fd00::2
		ends macvtap-$mode
		equal "macvtap-$mode: the address is the interface's own" fixed "$(value address)"
	done
	true
}
if ! macvtap; then
	# The lab has them.
	[ -z "$emulated" ] || fail 'macvtap' 'cannot be made'
	note 'this host has no macvtap interfaces'
fi
far=()

# ---- the kernel's own checks of rings ----

got=0
text=$("$build/bin/test_virtio_vhost_real" 2>&1) || got=$?
check 'malformed rings' "${text##*$'\n'}" [ "$got" = 0 ]
[ "$got" = 0 ] || echo "$text"
finish
