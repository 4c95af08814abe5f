#!/usr/bin/env bash
# Makes build/images/source-tree.tar, a part of Linux's source (Debian's package linux-source) for what programs do with many files:
#   tree/     some 6,000 files as a git repository with one commit, whose index holds wherever the tree is unpacked
#   tree.tar  2,000 of the files, those of fs/, as an archive
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

one_at_a_time source-tree
image=$images/source-tree.tar
fresh "$image" && exit 0
need git:git xz:xz-utils
package=$(apt-cache depends --important linux-source | sed -n 's/^ *Depends: \(linux-source-[0-9].*\)/\1/p')
[ -n "$package" ] || die "apt does not know linux-source: run apt-get update, or look at its sources"
scratch_dir
mkdir -p "$scratch/out/tree"
deb=$(cached_package "$package")
dpkg-deb --fsys-tarfile "$deb" | tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
	tar -xJ -C "$scratch/out/tree" --strip-components=1 "$package"/{fs,kernel,mm,lib,include/linux}
cd "$scratch/out"
tar -C tree --sort=name --owner=0 --group=0 -cf tree.tar fs
# Numbers and times of change are other ones where it is unpacked.
git -C tree -c init.defaultBranch=main init -q
git -C tree config core.checkStat minimal
git -C tree config core.trustctime false
git -C tree config gc.auto 0
git -C tree add -A
git -C tree -c user.name=bench -c user.email=bench@localhost commit -q -m tree
git -C tree status --short >/dev/null
git -C tree repack -adq
tar -C "$scratch/out" --owner=0 --group=0 -cf "$scratch/image" tree tree.tar
mv "$scratch/image" "$image"
say "$image: $(find tree -type f ! -path '*/.git/*' | wc -l) files"
