#!/usr/bin/env bash
# The sources are formatted as .clang-format says, and the scripts pass shellcheck.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v clang-format >/dev/null || ! command -v shellcheck >/dev/null; then
	echo 'skipped: clang-format and shellcheck are not both installed'
	exit 77
fi
# In a tree that is no clone, as a release's archive leaves it, everything but what was built in build*.
if [ -e .git ]; then
	files=$(git ls-files)
else
	files=$(find . -type d \( -path './build*' -o -name CMakeFiles \) -prune -o -type f -printf '%P\n')
fi
grep '\.[ch]$' <<<"$files" | xargs -d '\n' clang-format --dry-run -Werror
# On all CPUs: alone it takes as long as all other lint tests together, many times.
grep -e '\.sh$' -e '^\.ci/run$' <<<"$files" | xargs -d '\n' -n 8 -P "$(nproc)" shellcheck -x -S warning
