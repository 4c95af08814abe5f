# Common functions of the hostile tests; sourced, not run, with the build directory as $1.
# shellcheck shell=bash

hostile=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$(cd "${1:?usage: $0 BUILD-DIR}" && pwd)
failures=0
seed=${SEED:-$RANDOM}
rounds=${ROUNDS:-1}
themes=(ports power serial registers config bars msix queues chains race requests net vsock balloon flood wild)

skip() {
	echo "skipped: $*"
	exit 77
}

fail() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}

finish() {
	[ "$failures" = 0 ] || echo "$failures failed; the same again: SEED=$seed ROUNDS=$rounds $0 $build"
	[ "$failures" = 0 ]
	exit
}

cleanup() {
	local pid
	for pid in $(jobs -pr); do
		kill -KILL "$pid" 2>/dev/null || true
	done
	rm -rf "$tmp"
}

[ -e "$build/lib/libvmm.a" ] || { echo "$build/lib/libvmm.a is not built"; exit 1; }
(: <>/dev/kvm) 2>/dev/null || skip '/dev/kvm cannot be opened'
tmp=$(mktemp -d)
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# Machines find their network's other end where they would find passt.
PATH=$tmp/bin:$PATH
mkdir "$tmp/bin"
echo "SEED=$seed"

# shellcheck source=tests/sanitizer.sh
. "$hostile/../sanitizer.sh"

# libraries - those that there are to test: this one, and when it has no sanitizer the one that has
libraries() {
	echo "$build/lib/libvmm.a"
	[ ! -e "$build/../build-debug/lib/libvmm.a" ] || sanitized "$build/lib/libvmm.a" ||
		echo "$build/../build-debug/lib/libvmm.a"
}

# make_programs LIBRARY
make_programs() {
	sanitizer_flags "$1"
	"$hostile/build.sh" "$tmp/bin" "$1" "${flags[@]}"
}

# make_base - an image in which each sector begins with its number
make_base() {
	local i word
	for ((i = 0; i < 2048; i++)); do
		printf -v word '\\x%02x\\x%02x\\0\\0' $((i & 255)) $((i >> 8))
		printf '%b' "$word"
		printf '%0508d' 0
	done >"$tmp/base"
}

# make_disks NAME
make_disks() {
	truncate -s 1M "$tmp/$1.raw" "$tmp/$1.limited"
}

# attack TRANSPORT - all $themes, with each library
attack() {
	local transport=$1 library status
	make_base
	make_disks hostile
	for library in $(libraries); do
		make_programs "$library"
		[ -S "$tmp/hostile.vsock_5" ] || start_peer
		rm -f "$tmp"/hostile.{first,second}
		status=0
		"$tmp/bin/hostile" "$tmp/bin/guest" "$tmp" "$transport" "$seed" "$rounds" "${themes[@]}" || status=$?
		[ "$status" = 0 ] || fail "$transport with $library: status $status"
	done
}

# start_peer - who listens for the guest's streams
start_peer() {
	"$tmp/bin/passt" vsock "$tmp/hostile.vsock_5" >"$tmp/ready" &
	until [ -s "$tmp/ready" ]; do
		sleep 0.02
	done
}
