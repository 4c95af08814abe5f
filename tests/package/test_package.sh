#!/usr/bin/env bash
# The same sources make the same bytes: program, library and packages, built in two folders at two times under other settings. And the
# packages are right: lintian has nothing to say, they install, and nothing is left when they are removed. About half a minute of one CPU.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
export PATH=$PATH:/usr/sbin:/sbin
missing=

for tool in cmake cpack dpkg-deb dpkg-shlibdeps pkg-config strip; do
	command -v $tool >/dev/null || skip "$tool is missing (Debian: cmake, dpkg-dev, pkg-config, binutils)"
done
make_tmp
chmod 755 "$tmp"

# build SOURCE BUILD JOBS - as its user does by README.md, and its packages
build() {
	cmake -S "$1" -B "$2" -DVMM_TESTS=OFF && cmake --build "$2" -j "$3" && (cd "$2" && cpack -G DEB)
}

# Two copies of the sources, of other ages.
one=$tmp/one two=$tmp/the-other/one/that-has/a-longer/path
mkdir -p "$one" "$two"
tar -C "$repo" --exclude='./build*' --exclude=./.git -cf "$tmp/source.tar" .
tar -C "$one" -xf "$tmp/source.tar"
tar -C "$two" -m -xf "$tmp/source.tar"
(umask 022 && cd "$one" && LC_ALL=C TZ=UTC build . build 2) >"$tmp/log" 2>&1 || { tail -n 20 "$tmp/log" && exit 1; }
(umask 077 && cd / && LC_ALL=C.UTF-8 TZ=Asia/Tokyo build "$two" "$tmp/out" 1) >"$tmp/log" 2>&1 || { tail -n 20 "$tmp/log" && exit 1; }

# same FILE-OF-ONE FILE-OF-THE-OTHER
same() {
	cmp "$1" "$2" || fail "${1##*/} is another one in another folder"
	! grep -qaF "$tmp" "$1" || fail "${1##*/} has the path of its build folder"
}
same "$one/build/bin/vmm" "$tmp/out/bin/vmm"
same "$one/build/lib/libvmm.a" "$tmp/out/lib/libvmm.a"
packages=("$one"/build/*.deb)
[ ${#packages[@]} = 2 ] || fail "${#packages[@]} packages"
for package in "${packages[@]}"; do
	same "$package" "$tmp/out/${package##*/}"
done

if command -v lintian >/dev/null; then
	lintian "${packages[@]}" >"$tmp/lintian" 2>/dev/null || fail 'lintian refuses the packages'
	[ ! -s "$tmp/lintian" ] || fail "lintian: $(head -n 3 "$tmp/lintian")"
else
	missing=lintian
fi

# field PACKAGE NAME
field() {
	dpkg-deb -f "$one"/build/"$1"_*.deb "$2"
}
[[ $(field vmm Depends) = 'zlib1g, libc6 ('*')' ]] || fail "vmm depends on $(field vmm Depends)"
[[ ", $(field vmm Recommends)," = *', passt,'* ]] || fail "vmm recommends $(field vmm Recommends)"
[[ ", $(field libvmm-dev Depends)," = *', libfdt-dev, zlib1g-dev,'* ]] || fail "libvmm-dev depends on $(field libvmm-dev Depends)"

# What is left of the root after a removal, and of nothing but dpkg's own notes.
left() {
	(cd "$tmp/root" && find . -mindepth 1 -not -path './var*' | sort)
}
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$tmp/root/var/lib/dpkg/"{info,updates,triggers} "$tmp/root/var/log"
	: >"$tmp/root/var/lib/dpkg/status"
	dpkg="dpkg --root=$tmp/root --force-depends"
	$dpkg -i "${packages[@]}" >"$tmp/log" 2>&1 || fail "dpkg -i: $(tail -n 3 "$tmp/log")"
	[ -z "$($dpkg --verify)" ] || fail "other files than the packages': $($dpkg --verify)"
	"$tmp/root/usr/bin/vmm" --version >/dev/null || fail 'the installed program does not run'
	[ -z "$(nm "$tmp/root/usr/bin/vmm" 2>/dev/null)" ] || fail 'the program is not stripped'
	for file in share/man/man1/vmm.1.gz share/doc/vmm/{copyright,changelog.Debian.gz,README.md,SECURITY.md} share/doc/libvmm-dev/copyright \
		lib/systemd/system/vmm@.service share/bash-completion/completions/vmm; do
		[ -f "$tmp/root/usr/$file" ] || fail "/usr/$file is missing"
	done
	export PKG_CONFIG_PATH
	PKG_CONFIG_PATH=$(dirname "$(find "$tmp/root" -name vmm.pc)")
	awk '/^```/ {inside = $0 == "```c"; next} inside' "$repo/README.md" >"$tmp/example.c"
	read -ra flags < <(pkg-config --cflags --libs --static vmm)
	cc "$tmp/example.c" "${flags[@]}" -o "$tmp/example" || fail "README.md's program does not build with libvmm-dev"
	$dpkg -P vmm libvmm-dev >"$tmp/log" 2>&1 || fail "dpkg -P: $(tail -n 3 "$tmp/log")"
	[ -z "$(left)" ] || fail "a removal leaves $(left)"
else
	note 'not root: the packages are not installed'
fi

# A new entry of the changelog is another version for those who only build again.
{ sed 's/vmm1)/vmm2)/' "$two/packaging/debian/changelog" && echo && cat "$repo/packaging/debian/changelog"; } >"$tmp/changelog"
cp "$tmp/changelog" "$two/packaging/debian/changelog"
cmake --build "$tmp/out" >/dev/null && (cd "$tmp/out" && cpack -G DEB >/dev/null)
[ -e "$(echo "$tmp"/out/vmm_*vmm2_*.deb)" ] || fail 'packages have the version of an older changelog'

# Everything goes where its user says.
cmake -S "$two" -B "$tmp/out" -DCMAKE_INSTALL_LIBDIR=lib64 -DCMAKE_INSTALL_MANDIR=/man -DCMAKE_INSTALL_BINDIR=/opt/bin \
	-DVMM_SYSTEMD_DIR=/etc/systemd/system >/dev/null
DESTDIR=$tmp/stage cmake --install "$tmp/out" --prefix /usr >/dev/null
for file in usr/lib64/libvmm.a usr/lib64/pkgconfig/vmm.pc man/man1/vmm.1 opt/bin/vmm etc/systemd/system/vmm@.service; do
	[ -f "$tmp/stage/$file" ] || fail "$file is missing where all folders are chosen"
done
grep -q '^ExecStart=/opt/bin/vmm ' "$tmp/stage/etc/systemd/system/vmm@.service" || fail 'the unit does not name the program in its folder'

[ -z "$missing" ] || [ "$failures" != 0 ] || skip "$missing is missing (Debian: $missing): it was not asked; all else is well"
finish
