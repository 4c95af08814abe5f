#!/usr/bin/env bash
# The image recipes: a download that is cut short. Nothing comes from the network: small packages stand for Debian's.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
make_tmp
umask 022 # dpkg-deb takes no other
export VMM_IMAGES="$tmp/images"
# shellcheck source=guest-images/lib.sh
. "$repo/guest-images/lib.sh"
for pair in "${image_tools[@]}" git:git dpkg-deb:dpkg; do
	command -v "${pair%%:*}" >/dev/null || [ -e "${pair%%:*}" ] || skip "${pair%%:*} is missing (Debian: ${pair#*:})"
done

mkdir -p "$VMM_IMAGES" "$tmp/bin" "$tmp/packages"
export PATH=$tmp/bin:$PATH
# It writes as it goes, as apt-get does; with $tmp/cut it is gone half-way.
cat >"$tmp/bin/apt-get" <<END
#!/bin/bash
package=\${!#}
head -c 100 "$tmp/packages/\$package" >"\${package}_1_all.deb" && [ ! -e '$tmp/cut' ] || exit 100
cat "$tmp/packages/\$package" >"\${package}_1_all.deb"
END
cat >"$tmp/bin/apt-cache" <<'END'
#!/bin/sh
case "$1 $3" in
'depends linux-source') echo '  Depends: linux-source-6.1' ;;
esac
END
chmod +x "$tmp"/bin/*

# package NAME DIRECTORY
package() {
	mkdir "$2/DEBIAN"
	printf '%s\n' "Package: $1" 'Version: 1' 'Architecture: all' 'Maintainer: Nobody <nobody@localhost>' 'Description: none' >"$2/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$2" "$tmp/packages/$1" >"$tmp/log"
}

# recipe WORD... - what it says is shown only when the test fails
recipe() {
	"$repo/guest-images/$1.sh" "${@:2}" >"$tmp/log" 2>&1
}

# works WHAT WORD...
works() {
	recipe "${@:2}" || fail "$1: $(cat "$tmp/log")"
}

# ---- downloads ----

for part in fs kernel mm lib include/linux; do
	mkdir -p "$tmp/linux-source-6.1/$part"
	echo "$part" >"$tmp/linux-source-6.1/$part/file"
done
mkdir -p "$tmp/source/usr/src"
tar -C "$tmp" -cJf "$tmp/source/usr/src/linux-source-6.1.tar.xz" linux-source-6.1
package linux-source-6.1 "$tmp/source"
touch "$tmp/cut"
! recipe source-tree || fail 'a download that is cut short is taken'
[ -z "$(ls -A "$VMM_IMAGES/cache" 2>/dev/null)" ] || fail "a download that is cut short is kept: $(ls -A "$VMM_IMAGES/cache")"
rm "$tmp/cut"
works 'the next download' source-tree
[ "$(tar -xOf "$VMM_IMAGES/source-tree.tar" tree/mm/file)" = mm ] || fail 'source-tree.tar lacks a file'
finish
