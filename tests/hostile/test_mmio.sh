#!/usr/bin/env bash
# Guests that attack every port, register, queue and request of a machine with virtio over MMIO.
set -euo pipefail
# shellcheck source=tests/hostile/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

attack mmio
finish
