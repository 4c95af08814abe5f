#!/usr/bin/env bash
# Measures one group where /dev/kvm is; run.sh calls it, in the lab where needed.
#   inside.sh GROUP ROUNDS - the rest comes by the environment: BENCH_BUILD, BENCH_DATA, BENCH_STAGE, BENCH_FLAVOURS, BENCH_QUICK,
#                            BENCH_COUNTED
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/bench/peers.sh
. "$bench/peers.sh"

group=$1 rounds=$2
# shellcheck disable=SC2034 # the files of the groups use them
build=$BENCH_BUILD data=$BENCH_DATA flavours=$BENCH_FLAVOURS quick=$BENCH_QUICK counted=$BENCH_COUNTED
# shellcheck disable=SC2034
smallest=${flavours##* }
children=()

# title_of FLAVOUR
title_of() {
	case $1 in
	small) echo "small kernel $(cat "$images/kernel-small/version")" ;;
	*) echo "Debian kernel $(cat "$images/kernel-$1/version")" ;;
	esac
}

place=$(mktemp -d /dev/shm/bench-XXXXXX)
end() {
	[ ${#children[@]} = 0 ] || kill "${children[@]}" 2>/dev/null || true
	rm -rf "$place"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cp "$BENCH_STAGE"/* "$place/"
for flavour in $flavours; do
	cp "$images/kernel-$flavour/vmlinuz" "$place/kernel-$flavour"
	[ ! -e "$images/vmlinux-$flavour" ] || cp "$images/vmlinux-$flavour" "$place/vmlinux-$flavour"
done
stage_peers
for file in boot devices share curves starts; do
	# shellcheck source=/dev/null
	. "$bench/$file.sh"
done
"${group}_prepare"
measure_rounds "$rounds"
