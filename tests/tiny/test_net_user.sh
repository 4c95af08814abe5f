#!/usr/bin/env bash
# Networks without rights, with a program in passt's place: several in one machine, and one that ends too early.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# fake COMMAND - the first passt in PATH says that it is ready, and goes on like that
mkdir "$tmp/path"
PATH=$tmp/path:$PATH
fake() {
	printf '#!/bin/sh\necho $$\n%s\n' "$1" >"$tmp/path/passt"
	chmod +x "$tmp/path/passt"
}

fake 'read -r line <&3'
expect 0 'two cards' "$vmm" --kernel "$guests/poweroff.bz64" --log-level error --net user --net user,tx-bps=1000

# Also a guest without a driver reads its end: the child is gone at once, and there is one line.
# shellcheck disable=SC2016
fake 'read -r line <"$0.end"; exit 1'
mkfifo "$tmp/path/passt.end"
"$vmm" --kernel "$guests/halt.bz64" --log-level error --net user </dev/null >"$tmp/out" 2>"$tmp/err" &
pid=$!
wait_until 10 runs_guest "$pid" || fail 'the guest does not start'
children() {
	cat "/proc/$pid/task"/*/children
}
# shellcheck disable=SC2317 # wait_until calls it
no_children() {
	[ -z "$(children)" ]
}
[ -n "$(children)" ] || fail 'passt does not run'
echo >"$tmp/path/passt.end"
wait_until 10 no_children || fail "passt is left: $(ps -o pid,stat,comm -p "$(children)" 2>&1)"
wait_until 10 test -s "$tmp/err" || true
[ "$(<"$tmp/err")" = "vmm: net 'user': lost the connection to passt: Broken pipe" ] || fail "it says: $(<"$tmp/err")"
# Nothing that is readable for ever keeps a thread awake.
before=$(cpu_ticks "$pid")
sleep 1
after=$(cpu_ticks "$pid")
between 'ticks of 10 ms in a second afterwards' $((after - before)) 0 20
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
finish
