#!/usr/bin/env bash
# Proves what the files prove_*.c here say, with CBMC on the real sources; proof.h says how a proof is written.
#   tests/proofs/run.sh [--mutants] [prove_NAME.c...]    all of them without one
# With --mutants each bug that a file names is planted, one at a time in a copy of the source, and the proof that it names must find it.
# Exits with 77 when there is no CBMC.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

mutants=
if [ "${1-}" = --mutants ]; then
	mutants=yes
	shift
fi
for tool in cbmc goto-cc goto-instrument; do
	command -v $tool >/dev/null || {
		echo "skipped: $tool is not installed (Debian 13 and later: apt install cbmc)"
		exit 77
	}
done
[ $# -gt 0 ] || set -- "$here"/prove_*.c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

checks=(--bounds-check --pointer-check --signed-overflow-check --undefined-shift-check
	--div-by-zero-check --unwinding-assertions --slice-formula)

# says FILE WORD - what the lines "WORD: ..." of the file's head have
says() {
	sed -n "s/^ \* $2: //p" "$1"
}

# build FILE PROOF TREE - the program to prove, in $work/proof; sources of TREE go before the real ones
build() {
	local program=$work/proof function
	goto-cc -std=gnu11 -D_GNU_SOURCE "-I$3" "-I$root" --function "$2" "$1" -o "$program" || return
	for function in $(says "$1" Contract); do
		goto-instrument --replace-call-with-contract "$function" "$program" "$program" || return
	done
}

# run FILE PROOF TREE [OPTION...] - 0: it holds; 10: it does not; what CBMC says is in $work/log
run() {
	local flags
	read -ra flags <<<"$(says "$1" Flags) ${*:4}"
	build "$@" >"$work/log" 2>&1 || return 1
	(ulimit -t 600 && exec cbmc "$work/proof" --unwind "$(says "$1" Unwind)" "${checks[@]}" "${flags[@]}") >"$work/log" 2>&1
}

proofs_of() {
	sed -n 's/^void \(prove_[a-z_]*\)(void)$/\1/p' "$1"
}

# prove FILE
prove() {
	local proof start code
	for proof in $(proofs_of "$1"); do
		start=$SECONDS code=0
		run "$1" "$proof" "$root" || code=$?
		if [ $code = 0 ]; then
			echo "$(basename "$1" .c): $proof holds ($((SECONDS - start)) s)"
			continue
		fi
		echo "$(basename "$1" .c): $proof $([ $code = 10 ] && echo 'does not hold' || echo "ended with $code"):"
		grep -E ': FAILURE|rror' "$work/log" || tail -n 20 "$work/log"
		failures=$((failures + 1))
	done
}

# mutate FILE
mutate() {
	local proof source script code tree=$work/tree
	while read -r proof source script; do
		rm -rf "$tree"
		mkdir -p "$tree/$(dirname "$source")"
		sed -e "$script" "$root/$source" >"$tree/$source"
		code=0
		cmp -s "$tree/$source" "$root/$source" || run "$1" "$proof" "$tree" --stop-on-fail || code=$?
		if [ $code = 10 ]; then
			echo "$(basename "$1" .c): $proof finds $source, $script: $(sed -n "/^Violated property:/{n;n;s/^ *//p;q}" "$work/log")"
		else
			echo "$(basename "$1" .c): $proof does not find $source, $script: $code"
			failures=$((failures + 1))
		fi
	done < <(says "$1" Mutant)
}

for file; do
	[ -f "$file" ] || file=$here/$file
	if [ "$mutants" ]; then mutate "$file"; else prove "$file"; fi
done
[ $failures = 0 ] || {
	echo "$failures failed"
	exit 1
}
