#!/usr/bin/env bash
# Makes the kept inputs of targets anew: the fewest that reach all that those in tests/fuzz/corpus and what the fuzzers have
# learned (build-fuzz/corpus, by run.sh) reach together. Those that have a name of their own, and no hash, stay in any case.
#   tests/fuzz/merge.sh [TARGET...]    all of them without one
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

contain merge.sh "build-fuzz tests/fuzz/corpus" "$@"

# hashed DIR - the inputs that libFuzzer has named
hashed() {
	find "$1" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}'
}

# merge TARGET
merge() {
	local kept=tests/fuzz/corpus/$1 learned=build-fuzz/corpus/$1 new=build-fuzz/merged/$1
	rm -rf "$new"
	mkdir -p "$kept" "$learned" "$new"
	find "$kept" -type f -exec cp -t "$new" {} +
	hashed "$new" | xargs -r rm
	# Which code is reached counts, how often does not: some dozens of inputs instead of hundreds.
	"build-fuzz/bin/$1" -set_cover_merge=1 -use_counters=0 "$new" "$kept" "$learned" >build-fuzz/merge.log 2>&1 ||
		{ cat build-fuzz/merge.log >&2 && die "cannot merge the corpus of $1"; }
	hashed "$kept" | xargs -r rm
	cp "$new"/* "$kept"
}

mapfile -t names < <(targets "$@")
build_fuzzers "${names[*]}"
for name in "${names[@]}"; do
	merge "$name"
	printf '%-18s %4d inputs, %d bytes\n' "$name" "$(find "tests/fuzz/corpus/$name" -type f | wc -l)" \
		"$(find "tests/fuzz/corpus/$name" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')"
done
