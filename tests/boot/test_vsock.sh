#!/usr/bin/env bash
# The socket device: 1,000 connections each way with sums and half-closes, bulk, refusals, and resets in the middle.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
enter_lab cloud

vsock=$stage/vsock
socket=$tmp/vmm.d/v

# host NAME ROLE PORT [N BYTES] - the host's end, in the background
host() {
	"$vsock" host "$socket" "${@:2}" >"$tmp/$1.log" 2>&1 &
	children[$!]=vsock
	ends[$1]=$!
}

# ended NAME WANT - the host's end of that name was successful and wrote a line with WANT
declare -A ends=()
ended() {
	local got=0
	wait "${ends[$1]}" || got=$?
	unset "children[${ends[$1]}]"
	check "$1: on the host" "status $got, $(tail -n 1 "$tmp/$1.log")" \
		[ "$got" = 0 -a -n "$(grep -- "$2" "$tmp/$1.log" || true)" ]
}

# ---- everything, and a driver that goes away in the middle ----

mkfifo "$tmp/first.in"
exec 7<>"$tmp/first.in"
stdin=$tmp/first.in
host many-out listen 5000 1000 2000
host bulk-out listen 5001 1 20000000
host small-out listen 5004 1 1000000
host held hold 5002
start first '
	vsock guest connect 5000 1000 2000 && echo "many-out: $?"
	vsock guest connect 5001 1 20000000
	ROOM=65536 vsock guest connect 5004 1 1000000
	vsock guest refused 4999; echo "refused-out: $?"
	vsock guest listen 6000 1000 2000 && echo "many-in: $?"
	vsock guest listen 6001 1 20000000
	vsock guest hold 5002 >/tmp/hold &
	until grep -q holding /tmp/hold; do sleep 0.1; done
	echo holding; read -r x
	device=$(basename /sys/bus/virtio/drivers/vmw_vsock_virtio_transport/virtio*)
	echo $device >/sys/bus/virtio/drivers/vmw_vsock_virtio_transport/unbind
	wait; cat /tmp/hold
	echo $device >/sys/bus/virtio/drivers/vmw_vsock_virtio_transport/bind
	echo bound; read -r x
	vsock guest connect 5003 3 1000
' --vsock "cid=3,socket=$socket" --timeout 200
says first '^refused-out' 120 || finish
ended many-out '^vsock: 1000 connections, 2000 bytes each way'
ended bulk-out '^vsock: 1 connections, 20000000 bytes each way'
ended small-out '^vsock: 1 connections, 1000000 bytes each way'
equal 'permissions of the socket' 1600 "$(stat -c %a "$socket")"

host refused refused 4999
ended refused '^refused'
host many-in connect 6000 1000 2000
ended many-in '^vsock: 1000 connections, 2000 bytes each way'
says first '^many-in' 60 || finish
host bulk-in connect 6001 1 20000000
ended bulk-in '^vsock: 1 connections, 20000000 bytes each way'
note "host to guest and back, 20 MB each: $(sed -n 's/^rates: //p' "$tmp/bulk-in.log")"

says first '^holding' 60 || finish
echo >&7
ended held '^released'
says first '^bound' 60 || finish
host again listen 5003 3 1000
until [ -e "${socket}_5003" ]; do sleep 0.05; done
echo >&7
powers_off first
ended again '^vsock: 3 connections'
equal '1,000 connections to the host' 0 "$(value many-out)"
equal '1,000 connections to the guest' 0 "$(value many-in)"
equal 'a port of the host that nobody has' 0 "$(value refused-out)"
check 'the guest saw the end' 'released' grep -q '^released' "$tmp/first.out"
note "guest to host and back, 20 MB each: $(value rates)"
rm -f "${socket}"_*

# ---- a socket left behind is replaced, one in use is not ----

start second 'echo up; sleep 60' --vsock "cid=4,socket=$socket" --timeout 60
says second '^up' || true
got=0
"$vmm" --kernel "$tmp/kernel-cloud" --vsock "cid=5,socket=$socket" </dev/null >"$tmp/taken" 2>&1 || got=$?
equal 'a socket in use: status' 125 "$got"
check 'a socket in use: message' "$(<"$tmp/taken")" matches "$(<"$tmp/taken")" "vmm: *'$socket'*in use*"
host killed refused 1234
ended killed '^refused'
kill -KILL "$pid"
await second 2>/dev/null
check 'a killed machine leaves its socket' "$socket" [ -S "$socket" ]
stdin=/dev/null boot third 'echo up' --vsock "cid=5,socket=$socket"
nothing_left third
finish
