#!/usr/bin/env bash
# Ring walks, addresses and limits are right for all inputs.
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh"
