#!/usr/bin/env bash
# What `cmake --install` puts below a prefix, and that README.md's program can be built from there alone and runs a guest.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for tool in cmake pkg-config; do
	command -v $tool >/dev/null || skip "$tool is missing"
done
! sanitized "$vmm" || skip 'a libvmm with sanitizers needs them in what it is linked with'

# installed ROOT - are all parts below it, as of this source tree, and nothing else?
installed() {
	local file from
	while read -r file from; do
		[ -f "$1/$file" ] || fail "$file is missing"
		[ -z "$from" ] || cmp -s "$1/$file" "$repo/$from" || fail "$file is not $from"
	done <"$tmp/parts"
	(cd "$1" && find . -type f -printf '%P\n' | sort) >"$tmp/found"
	diff <(cut -d ' ' -f 1 "$tmp/parts" | sort) "$tmp/found" >"$tmp/diff" || fail "other files: $(cat "$tmp/diff")"
	[ -z "$(find "$1" -perm /022 -not -type l)" ] || fail 'others may write to what is installed'
	[ -z "$(find "$1" -type d -not -perm -755)" ] || fail "not for everybody: $(find "$1" -type d -not -perm -755 | head -n 3)"
}

sed 's/#.*//; /^ *$/d' >"$tmp/parts" <<'PARTS'
bin/vmm
share/man/man1/vmm.1 docs/vmm.1
share/bash-completion/completions/vmm vmm/cli/completions/vmm.bash
share/zsh/site-functions/_vmm vmm/cli/completions/_vmm
share/fish/vendor_completions.d/vmm.fish vmm/cli/completions/vmm.fish
share/doc/vmm/README.md README.md
share/doc/vmm/SECURITY.md SECURITY.md
share/doc/vmm/LICENSE LICENSE
include/vmm/vmm.h vmm/api/vmm.h
PARTS
for guide in "$repo"/docs/*.md; do
	echo "share/doc/vmm/docs/${guide##*/} docs/${guide##*/}"
done >>"$tmp/parts"
libdir=$(sed -n 's/^CMAKE_INSTALL_LIBDIR:[A-Z]*=//p' "$build/CMakeCache.txt")
printf '%s\n' "$libdir/libvmm.a" "$libdir/pkgconfig/vmm.pc" lib/systemd/system/vmm@.service >>"$tmp/parts"

cmake --install "$build" --prefix "$tmp/usr" >"$tmp/log" || fail "not installed: $(tail -n 3 "$tmp/log")"
installed "$tmp/usr"
(umask 077 && DESTDIR=$tmp/stage cmake --install "$build" --prefix /opt/vmm >"$tmp/log") || fail 'not installed into a DESTDIR'
installed "$tmp/stage/opt/vmm"

# Where it was built, the library can be used as it is.
folder() {
	realpath -- "$(pkg-config "--variable=$1" vmm)"
}
export PKG_CONFIG_PATH=$build/lib
[ "$(folder prefix) $(folder libdir)" = "$(realpath "$build") $(realpath "$build/lib")" ] || fail "vmm.pc of the build is of $(folder prefix), $(folder libdir)"
cmp "$(folder includedir)/vmm/vmm.h" "$repo/vmm/api/vmm.h" || fail 'vmm.pc of the build has no header'

# The source tree is not looked at from here on.
cd "$tmp"
expect 0 'the installed program' "$tmp/usr/bin/vmm" --version
for language in c c++; do
	command -v "${language/#c/c}" >/dev/null || continue
	echo '#include <vmm/vmm.h>' | cc -Wall -Wextra -Werror "-I$tmp/usr/include" -fsyntax-only -x "$language" - ||
		fail "vmm.h does not compile alone as $language"
done

mkdir example
cp "$guests/hello.bz64" example/bzImage
awk '/^```/ {inside = $0 == "```c"; next} inside' "$repo/README.md" >example/example.c
grep -q vmm_create example/example.c || fail 'README.md has no program'
# Where the library was moved after it was installed, too.
for root in "$tmp/usr" "$tmp/stage/opt/vmm"; do
	export PKG_CONFIG_PATH=$root/$libdir/pkgconfig
	[ "$(folder prefix)" = "$(realpath "$root")" ] || fail "vmm.pc has the prefix $(folder prefix)"
	read -ra flags < <(pkg-config --cflags --libs --static vmm)
	cc -Wall -Wextra -Werror example/example.c "${flags[@]}" -o example/example || fail "README.md's program does not build with $root"
	(cd example && ./example </dev/null) >out 2>err || fail "README.md's program: $(head -n 3 err)"
	grep -q hello out || fail "README.md's program shows $(head -n 3 out)"
done
# What other languages load, and plugins, are shared objects.
echo 'int own(void); int own(void) { return vmm_version() && !vmm_create(0, 0); }' >example/plugin.c
cc -Wall -Wextra -Werror -include vmm/vmm.h -fPIC -shared example/plugin.c "${flags[@]}" -Wl,-z,defs -o example/plugin.so ||
	fail 'libvmm cannot be part of a shared object'
[ "$(pkg-config --modversion vmm)" = "$("$vmm" --version | cut -d ' ' -f 2)" ] || fail 'vmm.pc has another version'
finish
