#!/usr/bin/env bash
# Every header compiles alone and opens with a comment; the public one compiles as C++ too.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bad=0
for header in vmm/*/*.h boot/*.h devices/*.h virtio/*.h guest/*.h; do
	if ! printf '#include "%s"\n' "$header" |
		${CC:-cc} -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -I. -fsyntax-only -x c -; then
		echo "$header does not compile alone"
		bad=1
	fi
	grep -q '^#pragma once' "$header" || { echo "$header lacks #pragma once"; bad=1; }
	head -c 2 "$header" | grep -q '^/\*' || { echo "$header does not open with what it is"; bad=1; }
done
# However strict the C is that its users have chosen.
printf '#include "vmm/api/vmm.h"\n' | ${CC:-cc} -std=c99 -pedantic-errors -Wall -Wextra -Werror -I. -fsyntax-only -x c - || bad=1
if command -v c++ >/dev/null; then
	printf '#include "vmm/api/vmm.h"\n' | c++ -Wall -Wextra -Werror -I. -fsyntax-only -x c++ - || bad=1
fi
exit $bad
