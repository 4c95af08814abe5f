#!/usr/bin/env bash
# The kernel's addresses: others at each start, or those it was linked for; and the seed for its random numbers.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_kaslr.sh
. "$here/lib_kaslr.sh"
enter_lab cloud cloud-6.12 full rt -- --cpus 2

# shellcheck disable=SC2016 # for the guest
script=$tell_place'echo "modules: $(wc -l </proc/modules)"'

flavour=cloud moves_about "$script" 10 8 6
flavour=cloud-6.12 moves_about "$script" 6 5 4

for flavour in full rt; do
	boot "$flavour" "$script" --cpus 2
	moved "$flavour"
done

flavour=cloud
words=nokaslr boot 'nokaslr' "$script"
linked 'nokaslr'
equal 'nokaslr: seed' '0x9 0' "$(value seed)"
boot 'off' "$script" --kaslr off
linked 'off'
words=nokaslr boot 'nokaslr, packed' "$script" --unpack off
linked 'nokaslr, packed'

# The kernel may not use what lies above, so it must not be there.
words='mem=160M' boot 'less memory' "$script" --memory 1G
place
equal 'less memory: physical address' $linked_code "$code"
equal 'less memory: KASLR_FLAG' 2 "$(value flag)"
finish
