#!/usr/bin/env bash
# Builds with ThreadSanitizer, runs the tests with what was built, and tells what the sanitizer has reported.
#   tests/tsan.sh [LABEL...] [-- OPTION-OF-CTEST...]    unit, tiny, hostile, boot; all of them without one
# The exit status is 0 when every test passed or was skipped and there was no report. Hours of CPU time where the boot tests need an
# emulated machine; JOBS=N runs as many tests at once.
#
# There are no suppressions: what is reported is to be mended. The reports are in build/lab-out/tsan, a place that an emulated machine
# has in common with its host; tests/tsan/window.c says how they get there.
set -euo pipefail
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$repo"
# shellcheck source-path=SCRIPTDIR source=../guest-images/lib.sh
. guest-images/lib.sh

# Tests whose very subject is what the sanitizer changes. Those of the labels tiny and hostile leave such parts out themselves.
left_out=(
	'boot/test_memory: the memory of the program, and of the static one'
	'boot/test_speed: the time of a start, counted'
	'boot/test_counts: exits and system calls, counted'
	'boot/test_share_users: files keep the guest'"'"'s owners only under the filters of system calls, which the sanitizer does not live with'
	'boot/test_vhost_sandbox: all layers of the sandbox, some of which the kernel refuses to a process that has a thread of the sanitizer'
	'unit/test_virtio_vhost_real: needs vhost-net, and is run by boot/test_vhost'
)
dir=build-tsan
reports=$repo/build/lab-out/tsan
any="(WARNING|ERROR|FATAL): ThreadSanitizer|ThreadSanitizer: CHECK failed" # what a report begins with

labels=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
	labels+=("$1")
	shift
done
[ $# = 0 ] || shift
[ ${#labels[@]} -gt 0 ] || labels=(unit tiny hostile boot)

# Where programs get addresses that the sanitizer does not know, they get the same ones each time.
prefix=()
[ "$(cat /proc/sys/vm/mmap_rnd_bits)" -le 28 ] || prefix=(setarch -R)
# A thread's past is kept for longer than by default; and a crash is the system's.
export TSAN_OPTIONS='exitcode=66 halt_on_error=0 history_size=7 second_deadlock_stack=1 handle_segv=0 handle_abort=0' VMM_TSAN_REPORTS=$reports

begin() {
	local targets=(vmm)
	[[ " ${labels[*]} " != *' unit '* ]] || targets=(all)
	[[ " ${labels[*]} " != *' boot '* ]] || targets+=(test_virtio_vhost_real)
	say "building $dir"
	mkdir -p $dir
	{ cmake --preset tsan -DVMM_TESTS=ON && cmake --build $dir --target "${targets[@]}" -j "$(nproc)"; } >$dir/build.log 2>&1 ||
		{ cat $dir/build.log >&2 && die "$dir does not build"; }
	rm -rf "$reports"
	mkdir -p "$reports"
	chmod 1777 "$reports" # for tests with another user
}

# text FILE - a report's file without the zeros and the number behind the text
text() {
	head -c $((256 * 1024 - 8)) "$1" | tr -d '\0'
}

# reported - the files with reports
reported() {
	grep -rlE "$any" "$reports" || true
}

# A race that is there must be seen, or nothing that follows means anything.
check_sanitizer() {
	local empty
	empty=$(mktemp -d)
	gcc -std=gnu11 -O1 -g -Wall -Wextra -Werror -fsanitize=thread -o $dir/race tests/tsan/race.c tests/tsan/window.c
	"${prefix[@]}" $dir/race "$empty" 2>/dev/null || [ $? = 66 ] || die "a program with ThreadSanitizer does not run"
	rmdir "$empty"
	[ "$(cat "$reports"/* | tr -d "\0" | grep -cE "$any")" = 1 ] || die 'ThreadSanitizer does not report one race of two, of which it was told to let one be'
	rm -f "$reports"/*
	say 'a race that is there is reported'
}

# run_label LABEL OPTION-OF-CTEST...
run_label() {
	local without
	without=$(printf '%s\n' "${left_out[@]%%:*}" | sed -n "s|^$1/.*|^&\$|p" | paste -sd '|')
	printf 'left out: %s\n' "${left_out[@]}" | grep " $1/" || true
	say "running the $1 tests"
	"${prefix[@]}" ctest --test-dir $dir -L "^$1\$" ${without:+-E "$without"} --output-on-failure --no-tests=error \
		-j "${JOBS:-$(nproc)}" "${@:2}" 2>&1 | tee "$dir/$1.log"
}

# with_lines - the program may not read its own symbols any more: each "(vmm+0xOFFSET)" gets its function and line
with_lines() {
	local line
	while IFS= read -r line; do
		if [[ $line =~ \(vmm\+(0x[0-9a-f]+)\) ]]; then
			line+=" $(addr2line -fpse $dir/bin/vmm "${BASH_REMATCH[1]}")"
		fi
		printf '%s\n' "$line"
	done
}

summary() {
	local file n=0 programs
	programs=$(find "$reports" -type f | wc -l)
	for file in $(reported); do
		n=$((n + $(text "$file" | grep -cE "$any")))
		text "$file" | with_lines
	done
	# Unit tests have no such file.
	[[ " ${labels[*]} " != *' unit '* ]] || n=$((n + $(grep -cE "$any" "$dir/unit.log" || true)))
	say "$programs programs ran with ThreadSanitizer; $n reports"
	[ "$n" = 0 ]
}

begin
check_sanitizer
status=0
for label in "${labels[@]}"; do
	run_label "$label" "$@" || status=1
done
summary || status=1
exit $status
