#!/usr/bin/env bash
# A command with --net user has an address, a way out and name servers, as passt gives them.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

prepare_more() {
	command -v passt >/dev/null || skip 'no passt (package passt)'
	compile tcp -static
}
enter_lab cloud
is_root || skip 'making an interface needs root rights'
begin_command

lead_out
chmod -R a+rX "$tmp"

# What goes to the router reaches the host's own loopback.
cp "$stage/tcp" "$tmp/root/bin/"
"$stage/tcp" send 8000 <<<"over there" &
children[$!]=tcp
run net --timeout 90 --net user --root "$tmp/root" -- sh -c 'ifconfig eth0; route -n; cat /etc/resolv.conf; tcp receive 8000 192.0.2.1'
equal 'status' 0 "$status"
equal 'errors' '' "$(text net.err)"
check 'address' "$(grep -o 'inet addr.*' "$tmp/net.out")" grep -q 'inet addr:192.0.2.2 .*Mask:255.255.255.0' "$tmp/net.out"
check 'route' "$(grep -m 1 UG "$tmp/net.out")" grep -qE '^0\.0\.0\.0 +192\.0\.2\.1 +0\.0\.0\.0 +UG .*eth0' "$tmp/net.out"
equal 'a connection' 'over there' "$(tail -n 1 "$tmp/net.out")"
note "name servers: $(grep nameserver "$tmp/net.out" | tr '\n' ' ')"

# As systemd-resolved has it: the file is made by a service that does not run in the guest.
ln -sf ../run/systemd/resolve/stub-resolv.conf "$tmp/root/etc/resolv.conf"
run resolved --net user --root "$tmp/root" -- cat /etc/resolv.conf
equal 'resolv.conf as a symlink into /run: status' 0 "$status"
equal 'resolv.conf as a symlink into /run' "$(grep nameserver "$tmp/net.out")" "$(grep nameserver "$tmp/resolved.out")"

# Nobody answers on a TAP, and nobody waits for it.
chmod 666 /dev/net/tun
ip tuntap add dev boot1 mode tap user 1000
undo+=('ip link del boot1')
ip link set boot1 up
run tap --net tap=boot1 --root "$tmp/root" --events "$tmp/events" -- ifconfig eth0
equal 'TAP: status' 0 "$status"
check 'TAP: up, without an address' "$(grep -m 1 UP "$tmp/tap.out")" grep -q 'UP BROADCAST' "$tmp/tap.out"
check 'TAP: no address' none [ -z "$(grep 'inet addr' "$tmp/tap.out" || true)" ]
# It need not be the first card that passt is behind.
run second --timeout 90 --net tap=boot1 --net user --root "$tmp/root" -- sh -c 'ifconfig eth1; route -n; cat /etc/resolv.conf; ifconfig eth0 | grep -c inet'
check 'the second card: address' "$(grep -o 'inet addr.*' "$tmp/second.out")" grep -q 'inet addr:192.0.2.2 .*Mask:255.255.255.0' "$tmp/second.out"
check 'the second card: route' "$(grep -m 1 UG "$tmp/second.out")" grep -qE '^0\.0\.0\.0 +192\.0\.2\.1 +0\.0\.0\.0 +UG .*eth1' "$tmp/second.out"
equal 'the second card: name servers' "$(grep nameserver "$tmp/net.out")" "$(grep nameserver "$tmp/second.out")"
equal 'the second card: the first has no address' 0 "$(tail -n 1 "$tmp/second.out")"

nothing_left 'all'
finish
