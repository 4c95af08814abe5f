#!/usr/bin/env bash
# The library as a part of another project (add_subdirectory), which has the settings of a distribution and more that this one does not
# choose: link-time optimization, FORTIFY's third level, several configurations at once, a comma in the folder's name. Less than a minute of
# one CPU.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
build=$(cd "${1:?usage: $0 BUILD-DIR}" && pwd)

for tool in cmake nm; do
	command -v $tool >/dev/null || skip "$tool is missing (Debian: cmake, binutils)"
done
make_tmp

mkdir "$tmp/parent"
cat >"$tmp/parent/CMakeLists.txt" <<PARENT
cmake_minimum_required(VERSION 3.16)
project(parent LANGUAGES C)
add_subdirectory("$repo" vmm)
add_executable(parent parent.c)
target_link_libraries(parent PRIVATE libvmm)
add_library(plugin SHARED plugin.c)
target_link_libraries(plugin PRIVATE libvmm)
PARENT
awk '/^```/ {inside = $0 == "```c"; next} inside' "$repo/README.md" >"$tmp/parent/parent.c"
sed 's/int main(/int plugin_main(/' "$tmp/parent/parent.c" >"$tmp/parent/plugin.c"

generator=() type=() single=-DCMAKE_BUILD_TYPE=RelWithDebInfo
if command -v ninja >/dev/null && cmake --help | grep -qF 'Ninja Multi-Config'; then
	generator=(-G 'Ninja Multi-Config') type=(--config RelWithDebInfo) single=
else
	note 'no ninja, or a CMake before 3.17: one configuration'
fi
out=$tmp/with,comma
cmake -S "$tmp/parent" -B "$out" "${generator[@]}" $single -DVMM_WERROR=ON -DCMAKE_EXPORT_COMPILE_COMMANDS=ON \
	-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON -DCMAKE_POLICY_DEFAULT_CMP0069=NEW \
	-DCMAKE_C_FLAGS='-flto=auto -ffat-lto-objects -D_FORTIFY_SOURCE=3 -Wno-cpp' -DCMAKE_EXE_LINKER_FLAGS=-flto=auto \
	>"$tmp/log" 2>&1 || { tail -n 20 "$tmp/log" && exit 1; }
cmake --build "$out" "${type[@]}" -j 2 --target parent plugin vmm >"$tmp/log" 2>&1 || { tail -n 20 "$tmp/log" && exit 1; }

library=$(find "$out" -name libvmm.a)
names=$(nm -g --defined-only "$library" | awk 'NF == 3 && $3 !~ /^vmm_/ {print $3}')
[ -z "$names" ] || fail "libvmm.a shows other names than its own: $(head -n 3 <<<"$names")"
! readelf -SW "$library" | grep -F .gnu.lto_ >/dev/null || fail 'libvmm.a is to be optimized by the linker'
! grep -q -e '-D_FORTIFY_SOURCE=2' "$out/compile_commands.json" || fail 'FORTIFY is of a lower level than the one asked for'
# Whether it is possible at all is known from the build that is tested.
for found in VMM_HAVE_NO_UNWIND VMM_HAVE_RELR VMM_HAVE_CET; do
	! grep -q "^$found:INTERNAL=1" "$build/CMakeCache.txt" || grep -q "^$found:INTERNAL=1" "$out/CMakeCache.txt" || fail "no $found"
done
DESTDIR=$tmp/stage cmake --install "$out" "${type[@]}" >"$tmp/log" || fail "not installed: $(tail -n 3 "$tmp/log")"
[ ! -e "$tmp/stage" ] || fail 'it installs itself with another project'
program=$(find "$out" -name parent -type f -perm -u+x)
status=0
(cd "$tmp" && "$program" >"$tmp/log" 2>&1) || status=$?
[ "$status:$(wc -l <"$tmp/log")" = 1:1 ] || fail "the program ends with $status: $(head -n 3 "$tmp/log")"
"$(find "$out" -name vmm -type f -perm -u+x)" --version >/dev/null || fail 'vmm does not run'

# Without an optimizer, which sees other things.
if [ ${#type[@]} != 0 ]; then
	cmake --build "$out" --config Debug -j 2 --target parent >"$tmp/log" 2>&1 || { tail -n 20 "$tmp/log" && fail 'no debug build'; }
fi
finish
