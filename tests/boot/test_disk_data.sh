#!/usr/bin/env bash
# Random reads and writes of all sizes, many at once: a disk of each kind reads as what was written last, whoever does its
# I/O on the host, and keeps it. VERIFY_SECONDS=30 does it for longer.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

prepare() {
	compile no_uring -static
}

enter_lab cloud
seconds=${VERIFY_SECONDS:-2}
verify=$stage/verify
files=$tmp/files
mount_ext4 "$files" 400M || skip 'mounting a file system needs root rights and a loop device'
export TMPDIR=$files

truncate -s 8M "$files/base"
"$verify" fill "$files/base" "$tmp/base.state" >/dev/null
truncate -s 68K "$tmp/base.state"
base_before=$(sha256sum <"$files/base")
base_time=$(stat -c %y "$files/base")

kinds=(raw direct kept temporary)
declare -A engines=([with]=io_uring [without]=threads)
has_uring || note 'io_uring is not looked for here'

# exercise NAME - the names of all its files begin with NAME
exercise() {
	local name=$1 kind disks=() got
	cp --sparse=always "$files/base" "$files/$name.raw"
	cp --sparse=always "$files/base" "$files/$name.direct"
	for kind in "${kinds[@]}"; do
		cp "$tmp/base.state" "$tmp/$name.$kind.state"
	done
	disks=(
		--disk "$files/$name.raw" --disk "$tmp/$name.raw.state"
		--disk "$files/$name.direct,direct" --disk "$tmp/$name.direct.state"
		--disk "$files/base,overlay=$files/$name.kept" --disk "$tmp/$name.kept.state"
		--disk "$files/base,overlay" --disk "$tmp/$name.temporary.state"
	)
	start_gated "$name" "
		run() { echo \"\$1: \$(verify run /dev/vd\$2 /dev/vd\$3 $seconds \$((SEED + \$4)) 2>&1)\" >/run/\$1; }
		SEED=$RANDOM
		echo ready; read -r line
		run raw b c 1 & run direct d e 2 & run kept f g 3 & run temporary h i 4 &
		wait
		cat ${kinds[*]/#//run/}
	" "${disks[@]}" --cpus 2 --io-threads 2 --timeout 200
	says "$name" '^ready' || true
	got=$(engine_of "$name")
	! has_uring || equal "$name io_uring: engine" "${engines[$name]}" "$got"
	check "$name io_uring: direct I/O" "$(direct_files "$name") file" [ "$(direct_files "$name")" = 1 ]
	let_go "$name"
	powers_off "$name"
	for kind in "${kinds[@]}"; do
		check "$name io_uring: $kind" "$(value "$kind")" matches "$(value "$kind")" '*operations*verified'
	done
	check_on_host "$name" raw
	check_on_host "$name" direct
}

# direct_files NAME - how many that machine has open for direct I/O
direct_files() {
	local flags n=0
	while read -r _ flags; do
		[ $((0$flags & 040000)) = 0 ] || n=$((n + 1))
	done < <(grep -h '^flags:' "/proc/${pids[$1]}/fdinfo"/*)
	echo $n
}

check_on_host() {
	local got
	got=$("$verify" check "$files/$1.$2" "$tmp/$1.$2.state" 2>&1) || true
	equal "$1 io_uring: $2 on the host" '16384 sectors are right' "$got"
}

exercise with
runner=("$stage/no_uring")
exercise without
runner=()
boot again '
	echo "with: $(verify check /dev/vdb /dev/vdc 2>&1)"
	echo "without: $(verify check /dev/vdd /dev/vde 2>&1)"
' --disk "$files/base,overlay=$files/with.kept" --disk "$tmp/with.kept.state" \
	--disk "$files/base,overlay=$files/without.kept" --disk "$tmp/without.kept.state"
for name in with without; do
	equal "$name io_uring: kept, opened again" '16384 sectors are right' "$(value $name)"
done
equal 'the base: content' "$base_before" "$(sha256sum <"$files/base")"
equal 'the base: time' "$base_time" "$(stat -c %y "$files/base")"
finish
