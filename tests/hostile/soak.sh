#!/usr/bin/env bash
# Many hostile guests at once for SECONDS, then what is left of them and what their sibling noticed.
#	soak.sh SECONDS [BUILD-DIR [GUESTS]]		SEED=N for the same again
set -euo pipefail
seconds=${1:?usage: soak.sh SECONDS [BUILD-DIR [GUESTS]]}
guests=${3:-24}
set -- "${2:-$(dirname "${BASH_SOURCE[0]}")/../../build}"
# shellcheck source=tests/hostile/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

make_base
for ((i = 0; i < guests; i++)); do
	make_disks "$i"
done
make_programs "$build/lib/libvmm.a"
status=0
try_watch
make_shares
begin_watch
contained "$tmp/bin/soak" "$tmp/bin/guest" "$tmp" "${TRANSPORT:-pci}" "$seed" "$seconds" "$guests" || status=$?
end_watch
[ "$status" != 77 ] || exit 77
[ "$status" = 0 ] || fail "status $status"
[ -z "$seen" ] || fail "what is outside of the shares was touched:"$'\n'"$seen"
finish
