#!/usr/bin/env bash
# A network without any rights: passt, both ways, as an ordinary user.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare() {
	command -v passt >/dev/null || skip 'no passt (package passt)'
}

enter_lab cloud

got=0
PATH=/nowhere "$vmm" --kernel "$tmp/kernel-cloud" --net user </dev/null >"$tmp/missing" 2>&1 || got=$?
equal 'passt is missing: status' 125 "$got"
check 'passt is missing: message' "$(<"$tmp/missing")" matches "$(<"$tmp/missing")" 'vmm: *passt*apt install passt*'

# passt wants an interface that leads outside; it gives the guest that one's address.
is_root || skip 'making an interface needs root rights'
ip link add boot0 type dummy
undo+=('ip link del boot0')
ip address add 192.0.2.2/24 dev boot0
ip link set boot0 up
ip route add default via 192.0.2.1 dev boot0

# as_user PROGRAM... - as someone who owns nothing but may open /dev/kvm
cat >"$tmp/as_user" <<-'END'
	#!/bin/sh
	exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"
END
chmod +x "$tmp/as_user"
chmod 666 /dev/kvm
chmod -R a+rX "$tmp"
bytes=20000000
head -c 1000000 /dev/urandom >"$tmp/piece"
for _ in {1..20}; do cat "$tmp/piece"; done >"$tmp/data"
truncate -s $(((bytes + 511) / 512 * 512)) "$tmp/data"
chmod a+r "$tmp/data"
sum=$(sha256sum <"$tmp/data")

"$stage/tcp" send 5000 <"$tmp/data" &
children[$!]=tcp
runner=("$tmp/as_user")
# The gateway's address is the host, seen from the guest.
# shellcheck disable=SC2016
start user '
	ip address add 192.0.2.2/24 dev eth0; ip route add default via 192.0.2.1
	echo "sum: $(tcp receive 5000 192.0.2.1 | sha256sum)"
	echo ready
	tcp send 5001 </dev/vdb
' --disk "$tmp/data,readonly" --net user,forward=tcp:5002:5001 --timeout 120
if says user '^ready' 60; then
	sleep 1
	equal 'to the host, by a forwarded port' "$sum" "$("$stage/tcp" receive 5002 127.0.0.1 | sha256sum)"
fi
powers_off user
equal 'from the host' "$sum" "$(value sum)"
check 'passt has ended' "$(pgrep passt || echo none)" [ -z "$(pgrep passt)" ]

# Killed, vmm takes passt along.
# shellcheck disable=SC2016
start killed 'echo ready; sleep 100' --net user --timeout 120
says killed '^ready' 60 || true
kill -KILL "$pid"
await killed
for _ in {1..50}; do pgrep passt >/dev/null || break; sleep 0.1; done
check 'passt ends with a vmm that is killed' "$(pgrep passt || echo none)" [ -z "$(pgrep passt)" ]
finish
