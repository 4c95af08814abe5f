#!/usr/bin/env bash
# The manual page is set without a warning.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v groff >/dev/null; then
	echo 'skipped: groff is not installed'
	exit 77
fi
warnings=$(groff -mdoc -ww -Tascii -z docs/vmm.1 2>&1)
[ -z "$warnings" ] || { printf '%s\n' "$warnings"; exit 1; }
