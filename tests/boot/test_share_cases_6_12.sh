#!/usr/bin/env bash
# The same as test_share_cases.sh, with a guest of Linux 6.12.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
# shellcheck source=tests/boot/lib_share_cases.sh
. "$here/lib_share_cases.sh"
enter_lab cloud-6.12
begin_cases

compare cloud-6.12 auto
compare cloud-6.12 always -data
finish
