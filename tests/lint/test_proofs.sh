#!/usr/bin/env bash
# The proofs go with the sources, also where there is no CBMC to tell: each compiles with them and has all functions that it calls, and each bug
# that is to be planted changes its file to one that compiles.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v cc >/dev/null || {
	echo 'skipped: there is no C compiler'
	exit 77
}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
bad=0

# compiles PROOF OPTION... - with the sources of $tree before the real ones; what is CBMC's own means nothing to a compiler
compiles() {
	cc -std=gnu11 -D_GNU_SOURCE -w -Werror=implicit-function-declaration "-I$tree" -I. \
		'-D__CPROVER_assume(c)=((void)(c))' '-D__CPROVER_assert(c, what)=((void)(c))' \
		'-D__CPROVER_r_ok(p, n)=((p) && (n))' '-D__CPROVER_w_ok(p, n)=((p) && (n))' \
		'-D__CPROVER_requires(c)=' '-D__CPROVER_ensures(c)=' '-D__CPROVER_assigns()=' "$@"
}

mutants=0
for proof in tests/proofs/prove_*.c; do
	while read -r name; do
		compiles "$proof" -o "$tree/program" -nostartfiles -ffunction-sections "-Wl,--gc-sections,--defsym=assert_failed=0,-e,$name" || {
			echo "$proof: $name() cannot be built"
			bad=1
		}
	done < <(sed -n 's/^void \(prove_[a-z_]*\)(void)$/\1/p' "$proof")
	while read -r name source script; do
		mutants=$((mutants + 1))
		mkdir -p "$tree/${source%/*}"
		sed -e "$script" "$source" >"$tree/$source"
		if ! grep -q "^void $name(void)$" "$proof"; then
			echo "$proof: there is no $name()"
			bad=1
		elif cmp -s "$tree/$source" "$source"; then
			echo "$proof: changes nothing in $source: $script"
			bad=1
		elif ! compiles "$proof" -fsyntax-only; then
			echo "$proof: does not compile with $script in $source"
			bad=1
		fi
		rm "$tree/$source"
	done < <(sed -n 's/^ \* Mutant: //p' "$proof")
done
[ "$mutants" -gt 0 ] || {
	echo 'no proof names a bug'
	bad=1
}
exit $bad
