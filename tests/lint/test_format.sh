#!/usr/bin/env bash
# The sources are formatted as .clang-format says, and the scripts pass shellcheck.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v clang-format >/dev/null || ! command -v shellcheck >/dev/null; then
	echo 'skipped: clang-format and shellcheck are not both installed'
	exit 77
fi
git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
git ls-files '*.sh' .ci/run | xargs shellcheck -x -S warning
