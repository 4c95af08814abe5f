#!/usr/bin/env bash
# The proofs find the bugs that they are there for.
exec "$(dirname "${BASH_SOURCE[0]}")/run.sh" --mutants
