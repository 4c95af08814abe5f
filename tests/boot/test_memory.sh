#!/usr/bin/env bash
# What memory vmm needs besides the guest's, with a disk and a network card, and what one more vCPU and disk add; how large
# the static program is.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Of the static program.
# What comes back of the program after it was given up comes in pieces of 64 KiB: 1040 to 1268 were seen. Its own are 240 to 270.
most_kb=1400
most_own_kb=320
most_kb_per_vcpu=24
most_kb_per_disk=32
most_bytes=1800000

prepare() {
	make_or_skip cmake -S "$repo" -B "$stage/static" -DVMM_STATIC=ON -DVMM_TESTS=OFF
	make_or_skip cmake --build "$stage/static" --target vmm
	make_or_skip strip -o "$stage/static/bin/vmm-stripped" "$stage/static/bin/vmm"
}

enter_lab cloud
is_root || skip 'a network card needs root rights'
cp "$stage/static/bin/vmm" "$tmp/vmm.d/vmm-static"

bytes=$(stat -c %s "$stage/static/bin/vmm-stripped")
check 'the static program, stripped' "$bytes bytes, at most $most_bytes" between "$bytes" 500000 $most_bytes

# memory_of PID - KiB of all mappings but the guest's memory, which is left out of core dumps; and of those what is the process's own:
# without what comes back of the program's code, in pieces that are larger than what is looked for.
memory_of() {
	awk '
		/^Rss:/ { rss = $2 }
		/^Anonymous:/ { anonymous = $2 }
		/^VmFlags:/ && !/ dd( |$)/ { total += rss; own += anonymous }
		END { print total, own }
	' "/proc/$1/smaps"
}

# use NAME OPTION... - sets $used and $own to what a running machine needs, 0 when it does not run
use() {
	start "$1" 'echo ready; sleep 1000' --net tap=boot0 --timeout 100 "${@:2}"
	used=0 own=0
	says "$1" '^ready' 90 && sleep 3 && read -r used own < <(memory_of "$pid")
	kill -KILL "$pid"
	await "$1" 2>/dev/null
}

ip tuntap add dev boot0 mode tap
undo+=('ip link del boot0')

vmm=$tmp/vmm.d/vmm
use dynamic
check 'the program as built: it runs' "$used KiB" between "$used" 100 8192

vmm=$tmp/vmm.d/vmm-static
use static
one=$used one_own=$own
check 'memory besides the guest' "$one KiB ($own its own), at most $most_kb" between "$one" 100 $most_kb
check 'of that its own' "$own KiB, at most $most_own_kb" between "$own" 50 $most_own_kb

use cpus --cpus 5
each=$(((own - one_own) / 4))
check 'one more vCPU' "$each KiB, at most $most_kb_per_vcpu" between "$each" 1 $most_kb_per_vcpu

disks=()
for i in 1 2 3 4; do
	truncate -s 16M "$tmp/more$i"
	disks+=(--disk "$tmp/more$i")
done
use disks "${disks[@]}"
each=$(((own - one_own) / 4))
check 'one more disk' "$each KiB, at most $most_kb_per_disk" between "$each" 1 $most_kb_per_disk
finish
