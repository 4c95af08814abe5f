#!/usr/bin/env bash
# Tells what each fuzz target's kept inputs reach: the lines of each file that its head comment names behind "Fuzzes:".
#   tests/fuzz/coverage.sh [TARGET...]    all of them without one
# The exit status is 1 when a target does not say what it fuzzes, or does not reach over 90 % of it.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

contain coverage.sh build-coverage "$@"

mapfile -t names < <(targets "$@")
need gcov:gcc "${build_tools[@]}"
build build-coverage "${names[*]/#/replay_}" -DVMM_COVERAGE=ON -DVMM_TESTS=ON -DCMAKE_BUILD_TYPE=Debug

# lines FILE - "PERCENT COUNT" of its lines that ran
lines() {
	local counts
	# of a library of that folder, or compiled into the target itself
	counts=$(find build-coverage -path "*/$(dirname "$1")/CMakeFiles/*/$(basename "$1").gcda" -o -path "*/$1.gcda" | head -n 1)
	[ -n "$counts" ] || return 0
	gcov -n -o "$(dirname "$counts")" "$counts" 2>/dev/null | awk -v file="$1" '
		/^File / { here = index($0, "/" file "'\''") > 0 }
		/^Lines executed:/ && here { split($0, part, /[:% ]+/); print part[3], part[5]; exit }'
}

# report TARGET - false when it reaches too little
report() {
	local file percent count ok=0 files
	find build-coverage -name '*.gcda' -delete
	"build-coverage/bin/replay_$1" "tests/fuzz/corpus/$1" >"build-coverage/$1.log" 2>&1 ||
		{ cat "build-coverage/$1.log" >&2 && die "$1 does not replay its corpus"; }
	files=$(sed -n 's/^ \* Fuzzes: *//p' "tests/fuzz/$1.c")
	[ -n "$files" ] || { echo "$1 does not say what it fuzzes" && return 1; }
	for file in $files; do
		read -r percent count < <(lines "$file") || { echo "$1 does not reach $file" && ok=1 && continue; }
		printf '%-18s %-28s %6s %% of %s lines' "$1" "$file" "$percent" "$count"
		if awk -v p="$percent" 'BEGIN { exit !(p > 90) }'; then
			echo
		else
			echo ' (too few)'
			ok=1
		fi
	done
	return $ok
}

status=0
for name in "${names[@]}"; do
	report "$name" || status=1
done
exit $status
