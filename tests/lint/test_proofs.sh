#!/usr/bin/env bash
# The proofs go with the sources, also where there is no CBMC to tell: each compiles with them, and each bug that is to be planted changes its
# file to one that compiles.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v cc >/dev/null || {
	echo 'skipped: there is no C compiler'
	exit 77
}

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
bad=0

# compiles PROOF - with the sources of $tree before the real ones; what is CBMC's own means nothing to a compiler
compiles() {
	cc -std=gnu11 -D_GNU_SOURCE -fsyntax-only -w -Werror=implicit-function-declaration "-I$tree" -I. \
		'-D__CPROVER_assume(c)=((void)(c))' '-D__CPROVER_assert(c, what)=((void)(c))' \
		'-D__CPROVER_r_ok(p, n)=((p) && (n))' '-D__CPROVER_w_ok(p, n)=((p) && (n))' \
		'-D__CPROVER_requires(c)=' '-D__CPROVER_ensures(c)=' '-D__CPROVER_assigns()=' "$1"
}

mutants=0
for proof in tests/proofs/prove_*.c; do
	compiles "$proof" || {
		echo "$proof does not compile"
		bad=1
	}
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
		elif ! compiles "$proof"; then
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
