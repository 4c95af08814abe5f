#!/usr/bin/env bash
# --dump-dtb and --tables dtb: the tree is well formed, tells of what was asked for, and is what the guest gets.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

command -v dtc >/dev/null || skip 'dtc is missing (Debian: device-tree-compiler)'
make_guest setup_data
place=$tmp/place
mkdir "$place"
cd "$place"
cp "$guests"/{poweroff,setup_data}.bz64 "$guests"/hello.{pvh,elf64} .
truncate -s 1M disk.img
head -c 5000 /dev/zero >initrd
good=(--kernel poweroff.bz64 --log-level error)

# dumps WHAT ARGUMENT... - a tree that dtc has no doubts about, into tree.dtb
dumps() {
	local what=$1
	shift
	expect 0 "$what" "$vmm" "${good[@]}" "$@" --dump-dtb tree.dtb
	[ ! -s "$tmp/out" ] && [ ! -s "$tmp/err" ] || fail "$what: it says $(cat "$tmp/out" "$tmp/err")"
	dtc -I dtb -O dts -o "$tmp/dts" tree.dtb 2>"$tmp/err" || fail "$what: dtc cannot read it"
	[ ! -s "$tmp/err" ] || fail "$what: dtc warns of $(cat "$tmp/err")"
}

# has WHAT NODE PROPERTY [TYPE] - of tree.dtb
has() {
	local got
	got=$(fdtget -t "${4:-x}" tree.dtb "$2" "$3" 2>&1) || true
	[ "$got" = "$1" ] || fail "$2 $3: '$got', not '$1'"
}

# children NUMBER NODE [PATTERN]
children() {
	local got
	got=$(fdtget -l tree.dtb "$2" | grep -c "${3:-.}" || true)
	[ "$got" = "$1" ] || fail "$2 has $got children like '${3-}', not $1"
}

# ---- what it tells ----

dumps 'the smallest machine' --memory 20M --rng off --balloon off --transport mmio
has '0 0 0 9fc00 0 100000 0 1300000' /memory@0 reg
# In kHz; what KVM does not know is 0.
tsc=$(fdtget -t s tree.dtb /chosen bootargs | grep -oE 'tsc_early_khz=(0|[1-9][0-9]{5,7})\b') || fail 'the frequency of the TSC'
has 'console=ttyS0 panic=-1 reboot=panic_warm random.trust_cpu=on '"$tsc"' cryptomgr.notests' /chosen bootargs s
children 1 /cpus cpu@
children 0 /soc virtio@
children 0 / pci@

many=()
for _ in {1..32}; do
	many+=(--disk "disk.img,readonly")
done
dumps 'a large machine' --memory 6G --cpus 64 --transport mmio "${many[@]}" --initrd initrd
has '0 0 0 9fc00 0 100000 0 bff00000 1 0 0 c0000000' /memory@0 reg
has 'console=ttyS0 panic=-1 reboot=panic_warm random.trust_cpu=on '"$tsc"' cryptomgr.notests swiotlb=128' /chosen bootargs s
children 64 /cpus cpu@
has 3f /cpus/cpu@3f reg
children 34 /soc virtio@
has '0 d0000000 0 1000' /soc/virtio@d0000000 reg
has '10 0' /soc/virtio@d0000000 interrupts
has '0 d0021000 0 1000' /soc/virtio@d0021000 reg
has '31 0' /soc/virtio@d0021000 interrupts
children 1 / chosen
[ $((16#$(fdtget -t x tree.dtb /chosen linux,initrd-end | cut -d ' ' -f 2) - \
	16#$(fdtget -t x tree.dtb /chosen linux,initrd-start | cut -d ' ' -f 2))) = 5000 ] || fail 'the length of the initrd'

dumps 'a PCI machine' --disk disk.img
children 0 /soc virtio@
has '2000000 0 c0000000 0 c0000000 0 10000000' /pci@c0000000 ranges
has 'console=ttyS0 panic=-1 reboot=panic_warm random.trust_cpu=on '"$tsc"' cryptomgr.notests pci=noearly root=/dev/vda rw' /chosen bootargs s
dumps 'a kernel in FIPS mode' --append 'quiet fips=1'
has 'console=ttyS0 panic=-1 reboot=panic_warm random.trust_cpu=on '"$tsc"' pci=noearly quiet fips=1' /chosen bootargs s

long=$(printf 'x%.0s' {1..2047})
dumps 'a long command line' --cmdline "$long"
has "$long" /chosen bootargs s
dumps 'an empty command line' --cmdline ''
has '' /chosen bootargs s

# The words are for kernels that find their devices neither by ACPI nor by a tree.
dumps 'no ACPI' --transport mmio --append acpi=off
[[ $(fdtget tree.dtb /chosen bootargs) = *' virtio_mmio.device='* ]] || fail 'acpi=off brings no words for the devices'
dumps 'no ACPI, by the tree' --transport mmio --append acpi=off --tables dtb
[[ $(fdtget tree.dtb /chosen bootargs) != *virtio_mmio* ]] || fail 'the devices are told of by the tree and by words'

# ---- who gets it ----

# expect_head WHAT OFFSET NEXT TYPE LEN - of an entry of the setup data in $tmp/out
expect_head() {
	local words
	read -ra words < <(tail -c +$(($2 + 1)) "$tmp/out" | od -An -v -tx4 -N16)
	[ "${words[*]}" = "$(printf '%08x 00000000 %08x %08x' "0x$3" "$4" "$5")" ] || fail "$1: the head is ${words[*]}"
}

for transport in pci mmio; do
	machine=(--transport "$transport" --cpus 3 --memory 5G --disk disk.img --initrd initrd --log-level error
		--kernel setup_data.bz64 --append 'some words')
	expect 0 'a dump of what the guest shall get' "$vmm" "${machine[@]}" --dump-dtb tree.dtb
	expect 0 'a guest with a device tree' "$vmm" "${machine[@]}" --tables dtb
	tail -c +65 "$tmp/out" | cmp - tree.dtb || fail "$transport: the guest gets another tree"
	expect_head "$transport: the seed before the tree" 0 30000 9 32
	expect_head "$transport: the tree" 48 0 2 "$(stat -c %s tree.dtb)"
	expect 0 'a guest without' "$vmm" "${machine[@]}"
	expect_head "$transport: the seed alone" 0 0 9 32
	[ "$(stat -c %s "$tmp/out")" = 48 ] || fail "$transport: more than a seed without a device tree"
done
for format in pvh elf64; do
	expect 0 "a device tree for $format" "$vmm" --kernel "hello.$format" --tables dtb --log-level error
	[ "$(cat "$tmp/out")" = hello ] || fail "a device tree for $format: it says $(head -n 3 "$tmp/out")"
done

# ---- where it goes ----

cp tree.dtb old.dtb
chmod 640 old.dtb
ln -s old.dtb link
mkfifo fifo
before=$(listing .)
names=$(find .)
# refused WHAT PATTERN ARGUMENT...
refused() {
	local what=$1 pattern=$2
	shift 2
	run "$vmm" "${good[@]}" "$@"
	[ "$status" = 125 ] || fail "$what: status $status, not 125"
	grep -qE -- "$pattern" "$tmp/err" && [ "$(wc -l <"$tmp/err")" = 1 ] || fail "$what: it says $(cat "$tmp/err")"
	[ "$(listing .)" = "$before" ] || fail "$what: files have changed"
}
expect 0 'events of a dump' "$vmm" "${good[@]}" --dump-dtb "$tmp/told.dtb" --events "$tmp/told.events"
grep -q '"event":"ended","reason":"dump-dtb","status":0}$' "$tmp/told.events" || fail "the events of a dump: $(<"$tmp/told.events")"
refused 'no such directory' "cannot write device tree 'no/tree': No such file or directory" --dump-dtb no/tree
refused 'a directory' "cannot write device tree '.': Is a directory" --dump-dtb .
refused 'an empty name' '--dump-dtb needs the name of a file' --dump-dtb ''
refused 'the kernel' "'poweroff.bz64': the machine is made of this file" --dump-dtb poweroff.bz64
refused 'the initrd' "'initrd': the machine is made of this file" --initrd initrd --dump-dtb initrd
refused 'a disk' "'./disk.img': the machine is made of this file" --disk disk.img --dump-dtb ./disk.img
refused 'the file of the console' "'./old.dtb': the console goes to this file" --console file=old.dtb --dump-dtb ./old.dtb
refused 'a pipe that nobody reads' "'fifo': nobody reads from it" --dump-dtb fifo
refused 'a full device' "'/dev/full': No space left on device" --dump-dtb /dev/full
refused 'a machine that cannot be made' "cannot open disk 'none'" --disk none --dump-dtb old.dtb
# A limit of 1 KiB on the size of files stands for a full disk.
# shellcheck disable=SC2016 # for the shell inside
expect 125 'a full disk' sh -c 'trap "" XFSZ; ulimit -f 2; exec "$@"' sh "$vmm" "${good[@]}" --cpus 64 --dump-dtb link
grep -q "cannot write device tree 'link': File too large" "$tmp/err" || fail "a full disk: it says $(cat "$tmp/err")"
cmp old.dtb tree.dtb || fail 'a full disk: the file has changed'
expect 125 'no console without a tree' "$vmm" "${good[@]}" --console file=new --dump-dtb no/tree
expect 125 'a new file of the console' "$vmm" "${good[@]}" --console file=new --dump-dtb ./new
grep -q "'./new': the console goes to this file" "$tmp/err" || fail "a new file of the console: it says $(cat "$tmp/err")"
expect 0 'no console with a tree' "$vmm" "${good[@]}" --console file=new --dump-dtb /dev/null
[ "$(find . | sort)" = "$(sort <<<"$names")" ] || fail "other files are left: $(find .)"

expect 0 'a link to a file' "$vmm" "${good[@]}" --dump-dtb link
[ -L link ] && ! cmp -s old.dtb tree.dtb || fail 'the link was replaced, not the file behind it'
mode=$(stat -c %a old.dtb)
[ "$mode" = 640 ] || fail "a file that was replaced has mode $mode, not 640"
if [ "$(id -u)" = 0 ]; then
	chown 1234:5678 old.dtb
	expect 0 'the file of another' "$vmm" "${good[@]}" --dump-dtb old.dtb
	[ "$(stat -c '%u:%g %a' old.dtb)" = '1234:5678 640' ] || fail "the file of another is $(stat -c '%u:%g %a' old.dtb)"
else
	note 'the owner of a file that is replaced: not tested, for want of root'
fi
expect 0 'a device for both' "$vmm" "${good[@]}" --console file=/dev/null --dump-dtb /dev/null
"$vmm" "${good[@]}" --dump-dtb /dev/stdout </dev/null | cmp - old.dtb || fail 'a pipe gets another tree'
# One that has no name any more can be replaced by nothing, and what it held is longer.
seq 10000 >nameless
exec 7<>nameless
rm nameless
expect 0 'a file without a name' "$vmm" "${good[@]}" --dump-dtb /dev/fd/7
cmp old.dtb /dev/fd/7 || fail 'a file without a name has another tree'
exec 7<&-
# Nor is one that a machine has for its disk.
truncate -s 1M taken
exec 7<>taken
"$vmm" --kernel "$guests/halt.bz64" --disk taken --timeout 60 </dev/null >/dev/null 2>&1 &
pid=$!
for _ in {1..200}; do
	! grep -q ":$(stat -c %i taken) " /proc/locks || break
	sleep 0.05
done
rm taken
expect 125 "another machine's disk, without a name" "$vmm" "${good[@]}" --dump-dtb /dev/fd/7
grep -q "'/dev/fd/7': it is in use (locked) by another program$" "$tmp/err" || fail "another machine's disk: it says $(<"$tmp/err")"
[ "$(stat -Lc %s /dev/fd/7)" = 1048576 ] || fail "another machine's disk was emptied"
kill -KILL "$pid"
wait "$pid" 2>/dev/null || true
exec 7<&-
# As long as a name can be, twice: a new file, and one that is replaced.
long=$(printf 'n%.0s' {1..255})
for path in "$long" "$place/$long"; do
	expect 0 'a long name' "$vmm" "${good[@]}" --dump-dtb "$path"
	cmp old.dtb "$path" || fail 'a file of a long name has another tree'
done
finish
