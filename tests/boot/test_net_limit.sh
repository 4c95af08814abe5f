#!/usr/bin/env bash
# The rate limits of network cards: bytes and packets, both ways, one queue and several, as the TAP counts them.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

got=0
"$vmm" --kernel "$tmp/kernel-cloud" --net tap=boot0,tx-bps=0 </dev/null >"$tmp/zero" 2>&1 || got=$?
equal 'a limit of nothing: status' 125 "$got"
check 'a limit of nothing: message' "$(<"$tmp/zero")" \
	matches "$(<"$tmp/zero")" "vmm: --net tx-bps= takes a number from 1 to 2^40, once; not '0'"

is_root || skip 'making a TAP needs root rights'
ip tuntap add dev boot0 mode tap multi_queue
undo+=('ip tuntap del dev boot0 mode tap multi_queue')
ip address add 10.9.0.1/24 dev boot0
ip link set boot0 up

tap=/sys/class/net/boot0/statistics
seconds=3

# busy_ms - the CPU time of vmm's I/O threads
busy_ms() {
	local task ticks=0 fields
	for task in "/proc/$pid/task"/*; do
		[[ $(<"$task/comm") = vmm-io* ]] || continue
		read -ra fields <"$task/stat"
		ticks=$((ticks + fields[13] + fields[14]))
	done
	echo $((ticks * 10))
}

# observe COUNTER - how fast that counter of the TAP goes up. Sets $rate to that, and $busy to the percentage of a CPU that
# the I/O threads take.
observe() {
	local before began took
	busy=$(busy_ms)
	began=$EPOCHREALTIME
	before=$(<"$tap/$1")
	sleep $seconds
	rate=$(($(<"$tap/$1") - before))
	took=$(ms_since "$began")
	rate=$((rate * 1000 / took))
	busy=$((($(busy_ms) - busy) * 100 / took))
}

# measure NAME WANTED COUNTER - whether that counter goes up as it should, within 10 percent. On a busy machine a guest may not
# offer enough, so the limits are a fraction of what it can and it gets three chances to; but it must never be too fast.
measure() {
	local before began=$EPOCHREALTIME
	# Until everything runs and the burst is over, which is what a tenth of a second allows.
	before=$(<"$tap/$3")
	until [ $(($(<"$tap/$3") - before)) -gt $(($2 / 2)) ] || [ "$(ms_since "$began")" -gt 20000 ]; do
		sleep 0.1
	done
	for _ in 1 2 3; do
		observe "$3"
		[ "$rate" -lt $(($2 * 9 / 10)) ] || break
	done
	check "$1" "$rate a second, of $2" between "$rate" "$(at_least $(($2 * 9 / 10)))" $(($2 * 11 / 10))
}

# What the guests run: a server for each direction.
start_servers='
	iperf3 -s -D -p 5201; iperf3 -s -D -p 5202
	echo ready; read -r x'

# flood NAME WANTED COUNTER OPTION-OF-IPERF3... - measures while the host's client is at work
flood() {
	iperf3 -c 10.9.0.2 -t 30 "${@:4}" >"$tmp/iperf3" 2>&1 &
	children[$!]=iperf3
	local client=$!
	measure "${@:1:3}"
	kill "$client" 2>/dev/null || fail "$1" "iperf3 ended early: $(tail -n 2 "$tmp/iperf3")"
	wait "$client" 2>/dev/null || true
	unset "children[$client]"
}

mkfifo "$tmp/in"
exec 7<>"$tmp/in"
stdin=$tmp/in words=vmm.ip=10.9.0.2/24

start bytes "$start_servers" --cpus 2 --net tap=boot0,queues=2,rx-bps=1000000,tx-bps=700000 --timeout 100
if says bytes '^ready'; then
	flood 'bytes from two queues' 700000 rx_bytes -P 4 -R
	note "the I/O threads were busy for $busy % of it"
	flood 'bytes to two queues' 1000000 tx_bytes -P 4 -p 5202
	note "the I/O threads were busy for $busy % of it"
	text=$(ping -q -i 0.2 -c 5 -W 5 10.9.0.2 2>&1) || true
	check 'ping afterwards' "$(grep packets <<<"$text")" matches "$text" '* 5 received*'
fi
echo >&7
powers_off bytes

start packets "$start_servers" --net tap=boot0,rx-pps=300,rx-pps-burst=50,tx-pps=200 --timeout 100
if says packets '^ready'; then
	flood 'packets from the guest' 200 rx_packets -u -l 18 -b 2M -R
	measured 'who waits for the limit rests' "busy for $busy %" [ "$busy" -lt 60 ]
	flood 'packets to the guest' 300 tx_packets -u -l 18 -b 2M -p 5202
	measured 'who waits for the limit rests' "busy for $busy %" [ "$busy" -lt 60 ]
fi
echo >&7
powers_off packets
finish
