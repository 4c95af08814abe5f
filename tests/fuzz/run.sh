#!/usr/bin/env bash
# Looks for inputs that break what the fuzz targets test.
#   tests/fuzz/run.sh SECONDS [TARGET...]    SECONDS of a CPU in all, shared by the targets alike; all of them without one
# As many run at once as there are CPUs. What they learn stays in build-fuzz/corpus and is where the next run begins, beside
# the inputs in tests/fuzz/corpus. An input that breaks a target ends that target's run; it is kept in build-fuzz/finds, its
# name is printed, and the exit status is 1. To see it once more: build-fuzz/bin/TARGET FILE
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ ${1:-} =~ ^[0-9]+$ ]] || { sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}" >&2 && exit 2; }

contain run.sh build-fuzz "$@"
seconds=$1
shift
mapfile -t names < <(targets "$@")
build_fuzzers "${names[*]}"
each=$((seconds / ${#names[@]}))
[ "$each" -ge 1 ] || each=1

# run_for TARGET SECONDS - by the clock; adds to build-fuzz/log/TARGET, prints the seconds of a CPU that it took
run_for() {
	local name=$1 log=build-fuzz/log/$1 kept=build-fuzz/corpus/$1 seeds=() TIMEFORMAT='%U %S'
	[ ! -d "tests/fuzz/corpus/$name" ] || seeds=("tests/fuzz/corpus/$name")
	# Twice the time is only for a build so slow that the inputs which are kept take all of it.
	{ time timeout --kill-after=10 $((2 * $2 + 600)) "build-fuzz/bin/$name" -max_total_time="$2" -timeout=25 -report_slow_units=25 \
		-rss_limit_mb=2560 -print_final_stats=1 -artifact_prefix="$repo/build-fuzz/finds/$name-" \
		"$kept" "${seeds[@]}" >>"$log" 2>&1 || echo "exit status $?" >>"$log"; } 2>&1 |
		awk 'NF == 2 { printf "%d\n", $1 + $2 + 0.5 }'
}

# run_one TARGET - leaves build-fuzz/log/TARGET and its finds. On a busy machine a second lasts longer than one of a CPU, so it goes on
# until it had its share, or a find.
run_one() {
	local log=build-fuzz/log/$1 took=0 more
	mkdir -p "build-fuzz/corpus/$1"
	: >"$log"
	while [ $took -lt "$each" ] && ! grep -aq '^exit status' "$log"; do
		more=$(run_for "$1" $((each - took)))
		took=$((took + (more > 0 ? more : 1)))
	done
	echo "seconds of a CPU: $took" >>"$log"
}
export -f run_one run_for
export each repo

# summary TARGET - one line; false when there was a find, or the target did not run to its end
summary() {
	local log=build-fuzz/log/$1 runs coverage finds took
	runs=$(awk '/^stat::number_of_executed_units:/ { n += $2 } END { print n }' "$log")
	took=$(sed -n 's/^seconds of a CPU: //p' "$log")
	coverage=$(grep -ao ' cov: [0-9]*' "$log" | tail -n 1)
	finds=$(find build-fuzz/finds -name "$1-*" -newer build-fuzz/began | wc -l)
	printf '%-18s %5s s of a CPU, %10s executions, coverage %5s, %s finds\n' "$1" "${took:-?}" "${runs:-?}" "${coverage##* }" "$finds"
	find build-fuzz/finds -name "$1-*" -newer build-fuzz/began
	if [ "$finds" -gt 0 ] || grep -aq '^exit status' "$log"; then
		grep -aE '^exit status|ERROR|runtime error|not so:|Assertion|SUMMARY' "$log" || tail -n 5 "$log"
		return 1
	fi
}

mkdir -p build-fuzz/log build-fuzz/finds
touch build-fuzz/began
say "${#names[@]} targets for $each seconds each, $(nproc) at once"
printf '%s\0' "${names[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_one "$0"'
status=0
for name in "${names[@]}"; do
	summary "$name" || status=1
done
exit $status
