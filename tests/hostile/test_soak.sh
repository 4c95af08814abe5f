#!/usr/bin/env bash
# A short soak; the long one is run by hand: soak.sh 600
set -euo pipefail
exec "$(dirname "${BASH_SOURCE[0]}")/soak.sh" 8 "$1" 4
