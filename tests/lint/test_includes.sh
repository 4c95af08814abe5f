#!/usr/bin/env bash
# The arrows: cli -> api -> machine -> { boot, devices, virtio, sandbox } -> core, machine -> gdb, and cli -> image; the guest's own program shares with cli what both say to one another and how users are found. A folder includes itself and what is
# below it; boot, devices and virtio never include one another.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

declare -A allowed=(
	[vmm/core]='vmm/core'
	[boot]='boot vmm/core'
	[devices]='devices vmm/core'
	[virtio]='virtio vmm/core'
	[vmm/sandbox]='vmm/sandbox vmm/core'
	[vmm/gdb]='vmm/gdb'
	[vmm/machine]='vmm/machine vmm/gdb boot devices virtio vmm/sandbox vmm/core'
	[vmm/api]='vmm/api vmm/machine boot vmm/sandbox vmm/core'
	[vmm/image]='vmm/image'
	[vmm/cli]='vmm/cli vmm/api vmm/image guest'
	[guest]='guest'
)

bad=0 seen=0
for folder in "${!allowed[@]}"; do
	while IFS=: read -r file line include; do
		seen=$((seen + 1))
		target=${include#*\"}
		target=${target%%\"*}
		ok=no
		for to in ${allowed[$folder]}; do
			[ "${target%/*}" = "$to" ] && ok=yes
		done
		if [ "$ok" = no ]; then
			echo "$file:$line: $folder may not include \"$target\""
			bad=1
		fi
	done < <(grep -n '^#include "' "$folder"/*.[ch] /dev/null)
done
[ "$seen" -gt 50 ] || { echo "only $seen includes found: the lint is broken"; exit 1; }

# KVM is the machine's business alone.
if grep -n 'linux/kvm.h' vmm/core/*.[ch] vmm/gdb/*.[ch] boot/*.[ch] devices/*.[ch] virtio/*.[ch] vmm/api/*.[ch] vmm/cli/*.[ch]; then
	echo 'KVM is known to vmm/machine only'
	bad=1
fi
exit $bad
