#!/usr/bin/env bash
# A network without any rights: passt, both ways, as an ordinary user, with limits, and when it ends too early.
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
equal 'passt is missing: lines' 1 "$(wc -l <"$tmp/missing")"

is_root || skip 'making an interface needs root rights'
lead_out

# as_user PROGRAM... - as someone who owns nothing but may open /dev/kvm
cat >"$tmp/as_user" <<-'END'
	#!/bin/sh
	exec setpriv --reuid 1000 --regid 1000 --clear-groups "$@"
END
chmod +x "$tmp/as_user"
chmod 666 /dev/kvm
chmod -R a+rX "$tmp"
chmod 777 "$tmp/vmm.d"
bytes=10000000
head -c 1000000 /dev/urandom >"$tmp/piece"
for _ in {1..10}; do cat "$tmp/piece"; done >"$tmp/data"
truncate -s $(((bytes + 511) / 512 * 512)) "$tmp/data"
chmod a+r "$tmp/data"
sum=$(sha256sum <"$tmp/data")

# passts - the processes of passt that are not somebody else's, zombies included
others=' '
passts() {
	local directory number name
	for directory in /proc/[0-9]*; do
		number=${directory##*/}
		{ read -r name <"$directory/comm"; } 2>/dev/null || continue
		[[ $name != passt* || $others = *" $number "* ]] || echo "$number"
	done
}
others=" $(passts | xargs) "

# The guest asks by DHCP; the gateway's address is the host, seen from the guest.
# shellcheck disable=SC2016
dhcp='
	printf "#!/bin/sh\n[ \$1 = bound ] || exit 0\nip address add \$ip/\$mask dev \$interface\nip route add default via \$router\n" >/tmp/bound
	chmod +x /tmp/bound
	udhcpc -q -n -i eth0 -s /tmp/bound >/tmp/dhcp 2>&1 || cat /tmp/dhcp
	echo "address: $(ip -4 address show eth0 | sed -n "s/.*inet \([^ ]*\).*/\1/p")"
'

# ---- as an ordinary user, with two cards ----

"$stage/tcp" send 5000 <"$tmp/data" &
children[$!]=tcp
"$stage/tcp" receive 5001 >"$tmp/copy" &
children[$!]=tcp
runner=("$tmp/as_user")
# shellcheck disable=SC2016
boot user "$dhcp"'
	echo "macs: $(cat /sys/class/net/eth[01]/address | sort -u | wc -l)"
	echo "sum: $(tcp receive 5000 192.0.2.1 | sha256sum)"
	tcp send 5001 192.0.2.1 </dev/vdb
' --disk "$tmp/data,readonly" --net user,forward=tcp:5002:5002 --net user
equal 'address by DHCP' 192.0.2.2/24 "$(value address)"
equal 'different addresses of two cards' 2 "$(value macs)"
equal 'from the host' "$sum" "$(value sum)"
equal 'to the host' "$sum" "$(sha256sum <"$tmp/copy")"
check 'passt has ended' "$(passts | xargs)" [ -z "$(passts)" ]

# ---- limits, and an early end ----

runner=()
mkfifo "$tmp/in"
exec 7<>"$tmp/in"
stdin=$tmp/in
"$stage/tcp" send 5000 <"$tmp/data" &
children[$!]=tcp
"$stage/tcp" receive 5001 >"$tmp/copy" &
children[$!]=tcp
# shellcheck disable=SC2016
start limited "$dhcp"'
	echo ready; read -r x
	tcp receive 5000 192.0.2.1 >/dev/null
	echo received; read -r x
	tcp send 5001 192.0.2.1 </dev/vdb
	echo sent
	until grep -q 0 /sys/class/net/eth0/carrier; do sleep 0.1; done
	echo down; read -r x
' --disk "$tmp/data,readonly" --timeout 100 --net user,tx-bps=2500000,rx-bps=2000000

# rate NAME WANTED LEAST SAID - until the guest says so, all bytes, less the burst at the beginning
rate() {
	local since=$EPOCHREALTIME took rate
	echo >&7
	says limited "^$4" 40 || return 0
	took=$(ms_since "$since")
	rate=$(((bytes - $2 / 10) * 1000 / took))
	check "$1" "$rate bytes a second, of $2" between "$rate" "$(at_least "$3")" $(($2 * 11 / 10))
}

if says limited '^ready'; then
	# passt drops what its socket does not take, and TCP takes its time to send that again: so never too fast, but slower.
	rate 'rx-bps=' 2000000 200000 received
	# How close it comes from below is test_net_limit's affair, which looks again when the host was busy.
	rate 'tx-bps=' 2500000 1250000 sent
fi
for number in $(passts); do
	kill -KILL "$number"
done
check 'the guest sees that passt has ended' 'link down' says limited '^down' 20
check 'passt is no zombie' "$(passts | xargs)" [ -z "$(passts)" ]
echo >&7
powers_off limited
equal 'one line tells of it' "vmm: net 'user': lost the connection to passt: Broken pipe" "$(<"$tmp/limited.err")"

# ---- killed, vmm takes passt along ----

stdin=/dev/null
start killed 'echo ready; sleep 100' --net user --timeout 120
says killed '^ready' || true
kill -KILL "$pid"
await killed 2>/dev/null
for _ in {1..50}; do
	[ -n "$(passts)" ] || break
	sleep 0.1
done
check 'passt ends with a vmm that is killed' "$(passts | xargs)" [ -z "$(passts)" ]
finish
