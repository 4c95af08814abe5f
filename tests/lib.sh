# What tests that are scripts have in common, those aside that boot real kernels: how they report, and that nothing of them is left.
# Sourced, not run.
# shellcheck shell=bash disable=SC2034 # for those who source this

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
slower=${VMM_TEST_SLOWER:-1} # how many times longer things may take than with an ordinary build
failures=0

skip() {
	echo "skipped: $*"
	exit 77
}

# note TEXT - a part that cannot run here, or a number worth knowing
note() {
	echo "note: $*"
}

fail() {
	echo "FAILED: $*"
	failures=$((failures + 1))
}

again='' # how to have the same again, where that takes more than the test's name
finish() {
	[ "$failures" = 0 ] || echo "$failures failed${again:+; $again}"
	[ "$failures" = 0 ]
	exit
}

need_kvm() {
	(: <>/dev/kvm) 2>/dev/null || skip '/dev/kvm cannot be opened'
}

# Ends what a test that stopped half-way has left running.
cleanup() {
	local pid
	for pid in $(jobs -pr); do
		kill -KILL "$pid" 2>/dev/null || true
	done
	rm -rf "$tmp"
}

# make_tmp - $tmp, a directory that is gone at the end
make_tmp() {
	tmp=$(mktemp -d)
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# shellcheck source=tests/sanitizer.sh
. "$repo/tests/sanitizer.sh"
