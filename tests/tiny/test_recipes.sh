#!/usr/bin/env bash
# docs/recipes.md: `git bisect run` finds the kernel that crashes first, by vmm's statuses. Tiny guests stand for kernels.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_recipes.sh
. "$repo/tests/boot/lib_recipes.sh"

for tool in git make; do
	command -v $tool >/dev/null || skip "$tool is missing"
done
PATH=$build/bin:$PATH
export HOME=$tmp
echo anything >"$tmp/test.cpio"

# Good, good, good, cannot be built, bad ...
for n in 1 2 3; do cp "$guests/poweroff.bz64" "$tmp/kernel-of-$n"; done
for n in 5 6 7 8; do cp "$guests/triple.bz64" "$tmp/kernel-of-$n"; done
fake_kernel_tree "$tmp/linux"
run_recipe bisect-boot || true
# Between the last good one and the first bad one is one that nobody can try.
grep -qE "first bad commit could be any of" "$tmp/bisect-boot.out" || fail "the bisection says $(tail -n 3 "$tmp/bisect-boot.out" "$tmp/bisect-boot.err")"
git bisect log >"$tmp/log"
for line in 'good: .*commit 3' 'skip: .*commit 4' 'bad: .*commit 5'; do
	grep -q "^# $line\$" "$tmp/log" || fail "the bisection: $(cat "$tmp/log")"
done

# With all of them built, it is one; what cannot be booted is skipped.
git bisect reset >"$tmp/log" 2>&1
cp "$guests/poweroff.bz64" "$tmp/kernel-of-4"
echo 'no kernel' >"$tmp/kernel-of-7"
run_recipe bisect-boot || fail "the bisection ends with $?: $(tail -n 3 "$tmp/bisect-boot.err")"
[ "$(first_bad)" = 'commit 5' ] || fail "the bisection finds $(first_bad)"
finish
