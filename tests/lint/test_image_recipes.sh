#!/usr/bin/env bash
# The image recipes: a download that is cut short, a path with a space, and what is there already. Nothing comes from the network: small
# packages and a kernel of nothing stand for Debian's.
set -euo pipefail
# shellcheck source=tests/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
make_tmp
umask 022 # dpkg-deb takes no other
export VMM_IMAGES="$tmp/im ages"
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
echo "\$package" >>'$tmp/asked'
head -c 100 "$tmp/packages/\$package" >"\${package}_1_all.deb" && [ ! -e '$tmp/cut' ] || exit 100
cat "$tmp/packages/\$package" >"\${package}_1_all.deb"
END
cat >"$tmp/bin/apt-cache" <<'END'
#!/bin/sh
case "$1 $3" in
'depends linux-source') echo '  Depends: linux-source-6.1' ;;
'depends linux-image-cloud-amd64') echo '  Depends: linux-image-6.1.0-1-cloud-amd64' ;;
esac
END
chmod +x "$tmp"/bin/*

# package NAME DIRECTORY
package() {
	mkdir "$2/DEBIAN"
	printf '%s\n' "Package: $1" 'Version: 1' 'Architecture: all' 'Maintainer: Nobody <nobody@localhost>' 'Description: none' >"$2/DEBIAN/control"
	dpkg-deb --root-owner-group -b "$2" "$tmp/packages/$1" >"$tmp/log"
}

# recipe WORD... - what it says is shown only when the test fails; $tmp/asked has what it wanted to download
recipe() {
	rm -f "$tmp/asked"
	"$repo/guest-images/$1.sh" "${@:2}" >"$tmp/log" 2>&1
}

# works WHAT WORD...
works() {
	recipe "${@:2}" || fail "$1: $(cat "$tmp/log")"
}

# asks WHAT PACKAGE WORD... - there is no such package, so the recipe fails
asks() {
	! recipe "${@:3}" || fail "$1: nothing is made anew"
	grep -qsx "$2" "$tmp/asked" || fail "$1: $2 is not asked for: $(cat "$tmp/log")"
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

# ---- a kernel that is there, older than the recipes ----

kernel=$VMM_IMAGES/kernel-cloud
read -ra modules < <(sed -n 's/^copy_modules "[^"]*" //p' "$repo/guest-images/modules.sh")
[ ${#modules[@]} -gt 5 ] || fail 'too few modules found: the test is broken'
mkdir -p "$tmp/lib/modules/6.1"
for name in "${modules[@]}"; do
	gcc -c -x c -o "$tmp/lib/modules/6.1/$name.ko" - <<<"int $name;"
done
depmod -b "$tmp" 6.1 2>"$tmp/log" # which says what modules usually have
mkdir "$kernel"
mv "$tmp/lib/modules/6.1" "$kernel/modules"
echo 6.1 >"$kernel/version"
echo one | tee "$kernel/vmlinuz" >"$kernel/config"
find "$kernel" -exec touch -d 2020-01-01 {} +
works 'a kernel that is there' kernel cloud
works 'its modules' modules cloud
[ ! -e "$tmp/asked" ] || fail "for a kernel that is there, $(cat "$tmp/asked") is asked for"
image=$VMM_IMAGES/command-modules-cloud.cpio
[ "$(cpio --quiet -t <"$image" | grep -c '\.ko$')" = ${#modules[@]} ] || fail "not all modules are in $image: $(cpio --quiet -t <"$image")"
inode=$(stat -c %i "$image")
works 'its modules, which are there' modules cloud
[ "$(stat -c %i "$image")" = "$inode" ] || fail 'modules that are there are made anew'
touch -d 2020-01-02 "$image"
works 'its modules, older than their recipe' modules cloud
[ "$(stat -c %Y "$image")" -gt "$(date -d 2020-01-03 +%s)" ] || fail 'modules older than their recipe are not made anew'
rm "$kernel/modules/modules.dep"
asks 'a kernel without a part' linux-image-6.1.0-1-cloud-amd64 kernel cloud
[ -s "$kernel/vmlinuz" ] || fail 'a kernel is gone before there is another'

# ---- the small one, built from a configuration ----

rm -rf "$VMM_IMAGES/cache" "$tmp/packages"
kernel=$VMM_IMAGES/kernel-small
config=$repo/guest-images/kernel-small.config
mkdir -p "$kernel/modules"
echo one | tee "$kernel/vmlinuz" "$kernel/config" >"$kernel/version"
touch -r "$config" "$kernel/version"
works 'a small kernel of before there was a copy' kernel small
touch -d 2020-01-01 "$kernel/version"
asks 'an old one, of nobody knows which configuration' linux-source-6.1 kernel small
cp "$config" "$kernel/small.config"
works 'a small kernel that is old' kernel small
echo '# CONFIG_PCI is not set' >>"$kernel/small.config"
touch "$kernel/version"
asks 'a small kernel of another configuration' linux-source-6.1 kernel small
finish
