#!/usr/bin/env bash
# A shared directory behaves as the directory itself: the cases of fs/ run here and in guests, and outcomes are compared.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
# shellcheck source=tests/boot/lib_share_cases.sh
. "$here/lib_share_cases.sh"
enter_lab cloud
begin_cases

compare cloud auto
# Data that the guest writes later are not the host's yet, which shows in holes, errors and sizes.
compare cloud always -data
finish
