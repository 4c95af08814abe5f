#!/usr/bin/env bash
# Container images without a machine: what is made of good ones, how hostile ones are refused, and that neither leaves anything behind.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_image.sh
. "$repo/tests/boot/lib_image.sh"
for tool in sqfstar:squashfs-tools unsquashfs:squashfs-tools zstd:zstd; do
	command -v "${tool%:*}" >/dev/null || skip "${tool%:*} is missing (Debian: ${tool#*:})"
done
! lacks_images "$vmm" "$tmp" || skip 'this vmm was built without container images'

cd "$tmp"
cache=$tmp/images
kept=(image --image-cache "$cache")

# build FROM - unpacks it; sets $list to names, modes, owners and sizes in it, and $root to what is in its files
build() {
	rm -rf out.squashfs root
	expect 0 "$1" "$vmm" image build "$1" out.squashfs
	root=$tmp/root
	[ "$status" = 0 ] || return 0
	list=$(unsquashfs -lln out.squashfs | sed -E 's/^(\S+) (\S+) +(\S+) \S+ \S+ squashfs-root/\1 \2 \3 /')
	unsquashfs -q -n -no-xattrs -d root out.squashfs >/dev/null 2>&1 || true
}

# has LINE... - each is one of $list
has() {
	for line; do
		grep -qxF -- "$line" <<<"$list" || fail "there is no '$line' in: $list"
	done
}

hasnt() {
	for name; do
		! grep -qE " /?$name\$" <<<"$list" || fail "there is '$name'"
	done
}

# ---- good ones ----

mkdir -p l1/{dev,data/old,gone} l2/{data/old,more}
echo one >l1/data/one
ln l1/data/one l1/data/two
echo old >l1/data/old/f
echo gone >l1/gone/f
ln -s /etc/passwd l1/data/absolute
chmod 4711 l1/data/old/f
mkfifo l1/dev/pipe
: >l2/.wh.gone
: >l2/data/old/.wh..wh..opq
echo new >l2/data/old/new
echo ONE >l2/data/one
echo 'ü' >l2/more/ünï
tar -C l1 --owner=1234 --group=5678 -cf l1.tar .
tar -C l2 --owner=0 --group=0 --format=pax -cf l2.tar .
gzip -k l1.tar
zstd -q l2.tar

config='"Entrypoint":["/bin/sh","-c"],"Cmd":["true"]'
merged() {
	build "$1"
	has '-rw-r--r-- 1234/5678 4 /data/two' '-rw-r--r-- 0/0 4 /data/one' '-rw-r--r-- 0/0 4 /data/old/new' \
		'lrwxrwxrwx 1234/5678 11 /data/absolute -> /etc/passwd' 'prw-r--r-- 1234/5678 0 /dev/pipe' '-rw-r--r-- 0/0 3 /more/ünï'
	hasnt gone data/old/f .wh.gone .wh..wh..opq
	[ "$(cat "$root/data/one" "$root/data/two" "$root/data/old/new" "$root/more/ünï")" = $'ONE\none\nnew\nü' ] || fail "$1: what is in its files"
}
make_docker plain.tar test:1 "$config" l1.tar l2.tar
merged docker-archive:plain.tar
make_docker gz.tar test:1 "$config" l1.tar.gz l2.tar.zst
merged docker-archive:gz.tar
make_oci oci latest "$config" l1.tar.gz l2.tar.zst
merged oci:oci
tar -C oci -cf oci.tar .
merged oci-archive:oci.tar:latest
merged "oci:oci@$(grep -o 'sha256:[0-9a-f]*' oci/index.json)"
# Blobs that lie elsewhere, as content stores have them.
mkdir store
cp -a oci linked
for blob in linked/blobs/sha256/*; do
	mv "$blob" store
	ln -s "$tmp/store/${blob##*/}" "$blob"
done
merged oci:linked
mode=$(unsquashfs -lln out.squashfs | grep -E ' squashfs-root$')
[[ $mode == 'drwxr-xr-x 0/0 '* ]] || fail "the root: $mode"

# Several in one archive, several platforms.
make_docker plain.tar other:2 "$config" l2.tar
build docker-archive:plain.tar:other:2
hasnt data/two
merged docker-archive:plain.tar:test:1
mkdir multi
arm=$(architecture=arm64 make_manifest multi "$config" l2.tar)
amd=$(make_manifest multi "$config" l1.tar l2.tar)
type='"mediaType":"application/vnd.oci.image.manifest.v1+json"'
printf '{"schemaVersion":2,"manifests":[{%s,%s,"platform":{"os":"linux","architecture":"arm64"}},{%s,%s,"platform":{"os":"linux","architecture":"amd64"}},{%s,%s,"platform":{"os":"unknown","architecture":"unknown"}}]}' \
	"$type" "$arm" "$type" "$amd" "$type" "$arm" >multi/tmp
make_index multi "{\"mediaType\":\"application/vnd.oci.image.index.v1+json\",$(put_blob multi multi/tmp)}"
merged oci:multi

# ---- programs that fail ----

# fails WORDS COMMAND... - a build of l1, by a program that says so or dies
fails() {
	local words=$1
	shift
	expect 125 "$words" "$@" "$vmm" image build l1 out3.squashfs
	[[ $(<"$tmp/err") == "vmm: 'mksquashfs' has failed: $words" ]] || fail "instead of '$words': $(<"$tmp/err")"
	[ -z "$(find . -maxdepth 1 -name '*out3*')" ] || fail "$words: a file is left"
}
mkdir tools
printf '#!/bin/sh\nprintf "first\\nno space\\033\\tleft\\nit has failed\\n \\n"\nexit 1\n' >tools/mksquashfs
chmod +x tools/mksquashfs
fails 'no space  left; it has failed' env PATH="$tmp/tools:$PATH"
printf '#!/bin/sh\necho warning\nkill -KILL $$\n' >tools/mksquashfs
fails 'killed by signal 9' env PATH="$tmp/tools:$PATH"

# ---- what is refused, and how ----

# refused TEXT FROM - by one line with that text; the cache stays empty
refused() {
	expect 125 "$2" "$vmm" --kernel /dev/null --image-cache "$cache" --root "$2" -- true
	[[ $(<"$tmp/err") == vmm:*"$1"* && $(wc -l <"$tmp/err") = 1 ]] || fail "$2 is not refused by '$1' but: $(<"$tmp/err")"
	[ ! -e "$cache" ] || [ -z "$(find "$cache" -type f ! -name 'lock-?')" ] || fail "$2: the cache is not clean: $(ls "$cache")"
	expect 125 "$2" "$vmm" image build "$2" out2.squashfs
	[[ $(<"$tmp/err") == vmm:*"$1"* ]] || fail "$2 is not refused by '$1' but: $(<"$tmp/err")"
	[ ! -e out2.squashfs ] || fail "$2: a file is left"
}

# hostile TEXT TAR-OPTION... - a layer of what tar makes of the files below h
hostile() {
	local text=$1
	shift
	rm -rf bad.tar bad.tar.d bad.tar.images h.tar
	tar -P -C h -cf h.tar "$@"
	make_docker bad.tar bad "$config" l1.tar h.tar
	refused "$text" docker-archive:bad.tar
}

mkdir -p h/d
echo x >h/f
ln h/f h/g
ln -s / h/l
: >h/.wh.
hostile "layer 2 of 2: '../../f' leads out of the image (..)" --transform='s,^f,../../f,' f
hostile "'a/../../../f' leads out" --transform='s,^f,a/../../../f,' f
hostile "'/../f' leads out" --transform='s,^f,/../f,' f
hostile "'../' leads out" --transform='s,^d,..,' d
hostile "'g' is a hard link to what is not there" --transform='flags=h;s,^f,none,' f g
hostile "leads out of the image" --transform='flags=h;s,^f,../../etc/shadow,' f g
hostile "'g' is a hard link to what is not there" --transform='flags=h;s,^f,/etc/shadow,' f g
hostile "'f/g/' lies in what is no directory" --transform='s,^d,f/g,' f d
hostile "'.wh.' removes no name" .wh.
hostile "'.wh...' removes no name" --transform='s,^f,.wh...,' f
hostile 'has a name that is too long' --transform="s,^f,$(printf 'n%.0s' {1..256})," f
hostile 'is too long a name' --transform="s,^f,$(printf 'nn/%.0s' {1..1400})f," f
truncate -s 65G h/huge
hostile "'huge' makes the image larger than vmm unpacks" --sparse huge
rm h/huge

# A link in the way leads nowhere but in the image; a name that begins with a slash begins there.
rm -rf bad.tar bad.tar.d bad.tar.images
canary=$tmp/canary
mkdir "$canary"
ln -s "$canary" h/out
mkdir h/deep
echo mine >h/deep/f
tar -P -C h --transform="s,^deep,out," --transform="s,^d\$,$canary/d," -cf h.tar out deep/f d
make_docker bad.tar bad "$config" h.tar
build docker-archive:bad.tar
has "-rw-r--r-- $(id -u)/$(id -g) 5 $canary/f" "lrwxrwxrwx $(id -u)/$(id -g) ${#canary} /out -> $canary"
[ -z "$(ls "$canary")" ] || fail 'something was made outside of the image'

# Damage: a layer, a configuration, a manifest; pieces that are missing; what is no archive.
damage_dir() {
	rm -rf bad bad.tar
	cp -a oci bad
	"$@"
	refused "$text" oci:bad
}
damage() {
	damage_dir "$@"
	tar -C bad -cf bad.tar .
	refused "$text" oci-archive:bad.tar
}
blob_of() {
	grep -lE -- "$1" oci/blobs/sha256/* | head -n 1 | sed 's,.*/,,'
}
manifest=$(blob_of '"layers":')
configuration=$(blob_of '"rootfs"')
layer=$(grep -oE 'zstd","digest":"sha256:[0-9a-f]+' "oci/blobs/sha256/$manifest" | sed 's/.*://')
text='is damaged: its digest is sha256:' damage sed -i 's/true/fals/' "bad/blobs/sha256/$configuration"
text='is damaged: its digest is sha256:' damage sed -i 's/"schemaVersion":2/"schemaVersion":3/' "bad/blobs/sha256/$manifest"
text='has not the size that it should have' damage sh -c "echo >>bad/blobs/sha256/$layer"
text='layer 2 of 2: ' damage sh -c "tail -c 10 bad/blobs/sha256/$configuration | dd of=bad/blobs/sha256/$layer conv=notrunc bs=1 seek=30 status=none"
text="$layer" damage rm "bad/blobs/sha256/$layer"
text='index.json' damage rm bad/index.json
text='is no JSON that vmm takes' damage sh -c 'echo "{" >bad/index.json'
text='is no JSON that vmm takes' damage sh -c 'printf "[%.0s" $(seq 100000) >bad/index.json'
text='is no JSON that vmm takes' damage sed -i 's/"schemaVersion":2/&,"schemaVersion":2/' bad/index.json
text='is larger than 4 MiB' damage truncate -s 5M bad/index.json
text='sha256 alone' damage sed -i 's/sha256:/sha512:/' bad/index.json
text='has no image' damage sh -c 'echo "{}" >bad/index.json'
# A link to another file, to none, and to what must not even be opened.
sed s/true/fals/ "oci/blobs/sha256/$configuration" >store/other
text="'blobs/sha256/$configuration' is damaged: its digest is sha256:" damage_dir ln -sf "$tmp/store/other" "bad/blobs/sha256/$configuration"
text='has not the size that it should have' damage_dir ln -sf /etc/passwd "bad/blobs/sha256/$layer"
text='No such file' damage_dir ln -sf /none "bad/blobs/sha256/$layer"
text='Invalid argument' damage_dir ln -sf /dev/zero "bad/blobs/sha256/$layer"
text="cannot read 'index.json' in 'bad': it is a symbolic link" damage_dir ln -sf "$tmp/oci/index.json" bad/index.json
rm -rf bad.tar bad.tar.d bad.tar.images
make_docker bad.tar bad "$config" l1.tar
mv bad.tar.d/*-l1.tar bad.tar.d/layer && tar -C bad.tar.d -cf bad.tar .
refused 'has no member' docker-archive:bad.tar
cp l2.tar "$(echo bad.tar.d/*.json | sed 's/\S*manifest.json//; s/ //g; s/\.json/-l1.tar/')"
tar -C bad.tar.d -cf bad.tar .
refused 'layer 1 of 1: it is damaged: the digest of what is in it is sha256:' docker-archive:bad.tar
head -c 5000 plain.tar >bad.tar
refused "'bad.tar'" docker-archive:bad.tar
gzip -c plain.tar >bad.tar
refused 'is packed as a whole; unpack it first: gzip -d' docker-archive:bad.tar
echo text >bad.tar
refused 'is no tar archive' docker-archive:bad.tar
refused 'No such file' docker-archive:none.tar
refused 'names no file' docker-archive:
refused "has no image 'x'; it has: test:1, other:2" docker-archive:plain.tar:x
refused 'has several images; say which' docker-archive:plain.tar
make_index multi "{$type,$arm,\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\"}}"
refused 'has no image for linux/amd64; it has: linux/arm64' oci:multi
make_index multi "{$type,$arm}"
refused 'is an image for linux/arm64' oci:multi
rm -rf bad.tar bad.tar.d bad.tar.images
make_docker bad.tar bad "$config" l1.tar
expect 125 'a container image and rw' "$vmm" --kernel /dev/null --root docker-archive:bad.tar,rw -- true
grep -q 'takes no items' "$tmp/err" || fail "rw: $(<"$tmp/err")"

# Who has left out the prefix, or taken another one, is told which one is right; or how to get what has one.
# hint TEXT ROOT - what is said of the root, with a command and without, and when it shall be made an image
hint() {
	expect 125 "$2" "$vmm" --kernel /dev/null --root "$2" -- true
	[ "$(<"$tmp/err")" = "vmm: --root $1" ] || fail "--root $2: not '$1' but: $(<"$tmp/err")"
	expect 125 "$2" "$vmm" --kernel /dev/null --root "$2"
	[ "$(<"$tmp/err")" = "vmm: --root $1" ] || fail "--root $2 alone: not '$1' but: $(<"$tmp/err")"
	[ -d "$2" ] || expect 125 "$2" "$vmm" image build "$2" out2.squashfs
	[[ $(<"$tmp/err") == "vmm: "*"$1" ]] || fail "image build $2: not '$1' but: $(<"$tmp/err")"
}
hint "'plain.tar' has to be called docker-archive:plain.tar" plain.tar
hint "'oci.tar' has to be called oci-archive:oci.tar" oci.tar
hint "'l1.tar' is an archive of no image; a root may be a directory" l1.tar
hint "'oci' has to be called oci:oci" oci
hint "'oci' has to be called oci:oci" oci-dir:oci
hint "'oci' has to be called oci:oci" dir:oci:latest
hint "'plain.tar' has to be called docker-archive:plain.tar" docker:plain.tar
hint "'$tmp/plain.tar' has to be called docker-archive:$tmp/plain.tar" "docker://$tmp/plain.tar"
hint "'$tmp/oci' has to be called oci:$tmp/oci" "dir:$tmp/oci"
gzip -k plain.tar
hint "'plain.tar.gz' is packed as a whole; unpack it first: gzip -d" plain.tar.gz
for name in docker:debian docker://debian:12 containers-storage:localhost/x debian:12; do
	hint "'$name': no image is fetched: docker save -o FILE NAME (or podman save, skopeo copy), then docker-archive:FILE" $name
done
expect 125 'no image at all' "$vmm" --kernel /dev/null --root none -- true
[ "$(<"$tmp/err")" = "vmm: cannot open root 'none': No such file or directory" ] || fail "no image at all: $(<"$tmp/err")"
refused "'oci.tar' has to be called oci-archive:oci.tar" oci:oci.tar
refused "'oci.tar' has to be called oci-archive:oci.tar" docker-archive:oci.tar
refused "'plain.tar' has to be called docker-archive:plain.tar" oci-archive:plain.tar

# A program that is missing, or fails, in words.
mkdir bin
expect 125 'no sqfstar' env PATH="$tmp/bin" "$vmm" image build oci:oci out2.squashfs
grep -q "needs the program 'sqfstar', which is not there (Debian: apt install squashfs-tools)" "$tmp/err" || fail "no sqfstar: $(<"$tmp/err")"
# It is told before the layers are read, of which one is damaged here.
rm -rf bad
cp -a oci bad
truncate -s 1 "bad/blobs/sha256/$layer" && truncate -s "$(stat -c %s "oci/blobs/sha256/$layer")" "bad/blobs/sha256/$layer"
expect 125 'no sqfstar, and a damaged layer' env PATH="$tmp/bin" "$vmm" image build oci:bad out2.squashfs
grep -q "needs the program 'sqfstar'" "$tmp/err" || fail "no sqfstar, and a damaged layer: $(<"$tmp/err")"
# It gets its three streams and the file that it writes, whatever we have.
printf '#!/bin/sh\ncat >/dev/null\nls -l /proc/self/fd >%s/fds\nexit 1\n' "$tmp" >bin/sqfstar
chmod +x bin/sqfstar
expect 125 'descriptors of sqfstar' env PATH="$tmp/bin:$PATH" "$vmm" image build oci:oci out2.squashfs 7</dev/null 200<"$tmp"
# 4 is of ls itself.
[ "$(sed -nE 's/.* ([0-9]+) -> .*/\1/p' fds | sort -n | tr '\n' ' ')" = '0 1 2 3 4 ' ] || fail "sqfstar gets other descriptors: $(<fds)"
printf '#!/bin/sh\ncat >/dev/null\necho first >&2\necho "no space left" >&2\nexit 1\n' >bin/sqfstar
chmod +x bin/sqfstar
expect 125 'sqfstar fails' env PATH="$tmp/bin:$PATH" "$vmm" image build oci:oci out2.squashfs
grep -q "'sqfstar' has failed: first; no space left" "$tmp/err" || fail "sqfstar fails: $(<"$tmp/err")"
[ ! -e out2.squashfs ] || fail 'a file is left when sqfstar fails'

# ---- what is kept ----

# start FROM - up to the kernel, which is none; the image is unpacked by then
start() {
	expect 125 "$1" "$vmm" --kernel /dev/null --image-cache "$cache" --root "$1" -- true
}
images() {
	find "$cache" -name '*.squashfs' | wc -l
}
rm -rf "$cache"
start docker-archive:gz.tar
[ "$(images)" = 1 ] || fail "the first start: $(<"$tmp/err")"
was=$(stat -c '%i %W' "$cache"/*.squashfs)
[ "$(stat -c %a "$cache"/*.squashfs)" = 600 ] || fail "the first start: mode $(stat -c %a "$cache"/*.squashfs)"
# No library, no program, and nothing of the archive is read.
if command -v strace >/dev/null; then
	run strace -f -o trace "$vmm" --kernel /dev/null --image-cache "$cache" --root docker-archive:gz.tar -- true
	! grep -qE 'openat\([^)]*(libarchive|libjansson|libnettle|gz\.tar)|clone|fork' trace || fail "the second start: $(grep -E 'libarchive|gz\.tar|clone' trace | head -n 3)"
fi
start docker-archive:gz.tar
[ "$(stat -c '%i %W' "$cache"/*.squashfs)" = "$was" ] || fail 'the second start has unpacked it again'
# The same image from elsewhere, and a copy.
start oci:oci
cp gz.tar copy.tar
start docker-archive:copy.tar
[ "$(images)" = 1 ] || fail 'the same image is kept twice'
"$vmm" "${kept[@]}" ls >ls.out
grep -qE "^[0-9a-f]{12} +1M  $(date +%Y)-\S+ \S+ +test:1\$" ls.out || fail "ls: $(<ls.out)"
"$vmm" "${kept[@]}" du | grep -q "^1 images, 1M of at most 16384M, in $cache\$" || fail 'du'

# A command of very many words is no work.
make_docker many.tar many "\"Cmd\":[\"true\"$(printf ',""%.0s' {1..400000})]" l1.tar
expect 125 'very many words' timeout 20 "$vmm" --kernel /dev/null --image-cache "$cache" --root docker-archive:many.tar
grep -q "cannot boot '/dev/null'" "$tmp/err" || fail "very many words: $(<"$tmp/err")"

rm -rf "$cache"
make_docker escape.tar 'a\u001b[31mb\nc\u009bü' "$config" l1.tar
start docker-archive:escape.tar
"$vmm" "${kept[@]}" ls >ls.out
[[ $(wc -l <ls.out) = 2 && $(tail -n 1 ls.out) == *' a?[31mb?c'*'?ü' ]] || fail "ls of a name with control characters: $(cat -v ls.out)"

# Many at once: one unpacks. The shells' own starts count, too.
rm -rf "$cache"
mkdir counted
printf '#!/bin/sh\n: >>%s/$$\nsleep 0.5\nexec %s "$@"\n' "$tmp/counted" "$(command -v sqfstar)" >bin/sqfstar
for i in 1 2 3 4; do
	PATH=$tmp/bin:$PATH "$vmm" --kernel /dev/null --image-cache "$cache" --root docker-archive:gz.tar -- true </dev/null >/dev/null 2>"err$i" &
done
wait
[ "$(ls counted | wc -l)" = 1 ] && [ "$(images)" = 1 ] || fail "four at once: $(ls counted | wc -l) have unpacked it"

# Who is interrupted leaves nothing, and no program either.
rm -rf "$cache"
printf '#!/bin/sh\necho $$ >%s/pid\nexec sleep 1000\n' "$tmp" >bin/sqfstar
for signal in TERM KILL INT; do
	rm -f pid
	(trap - INT; exec env --default-signal=INT PATH="$tmp/bin:$PATH" "$vmm" --kernel /dev/null --image-cache "$cache" --root docker-archive:gz.tar -- true) </dev/null >/dev/null 2>&1 &
	pid=$!
	wait_until 10 test -s pid || fail "$signal: it does not start"
	kill -$signal $pid
	status=0
	wait $pid 2>/dev/null || status=$?
	[ "$status" = $((128 + $(kill -l $signal))) ] || fail "$signal: status $status"
	[ -z "$(find "$cache" -type f ! -name 'lock-?')" ] || fail "$signal: the cache is not clean: $(ls "$cache")"
	if [ $signal = KILL ]; then
		kill -KILL "$(<pid)" # nobody could, but its input has ended
	else
		! kill -0 "$(<pid)" 2>/dev/null || fail "$signal: the program runs on"
	fi
done
rm bin/sqfstar

# What is not there is told before anything is unpacked, and before a kernel is looked for that nobody has named.
for named in "directory:--share none:/a" "kernel:--kernel none" "disk:--disk none" "initrd:--initrd none"; do
	rm -rf "$cache"
	# shellcheck disable=SC2086 # two words
	expect 125 "$named" "$vmm" ${named#*:} --image-cache "$cache" --root docker-archive:gz.tar -- true
	[ "$(<"$tmp/err")" = "vmm: cannot open ${named%%:*} 'none': No such file or directory" ] || fail "$named: $(<"$tmp/err")"
	[ ! -e "$cache" ] || fail "$named: something was unpacked"
done
expect 125 'an archive that is not there' "$vmm" --root docker-archive:none.tar
grep -q "^vmm: cannot open image 'none.tar': No such file" "$tmp/err" || fail "an archive that is not there: $(<"$tmp/err")"
expect 125 'a root that is not there' "$vmm" --root none -- true
grep -q "^vmm: cannot open root 'none': No such file" "$tmp/err" || fail "a root that is not there: $(<"$tmp/err")"

# A user that the image does not have is told before the machine is made, when it is unpacked and later; a number needs no name, and where a
# link leads the guest knows.
mkdir -p u/etc u2/etc u3/etc
echo app:x:1000:1000::/:/bin/sh >u/etc/passwd
ln u/etc/passwd u/etc/hard
echo grp:x:7: >u/etc/group
echo other:x:1000:1000::/:/bin/sh >u2/etc/passwd
ln -s hard u3/etc/passwd
for layer in u u2 u3; do
	tar -C $layer -cf $layer.tar .
done
# user USER PATTERN LAYER... - what is said of an image with that user; the kernel is none
user() {
	rm -rf user.tar user.tar.d user.tar.images "$cache"
	make_docker user.tar user "\"User\":\"$1\",$config" "${@:3}"
	for _ in unpacked kept; do
		start docker-archive:user.tar
		[[ $(<"$tmp/err") == vmm:*"$2"* && $(wc -l <"$tmp/err") = 1 ]] || fail "user $1 of ${*:3}: $(<"$tmp/err")"
	done
}
user app /dev/null u.tar
user app:grp /dev/null l1.tar u.tar
user 1234:5678 /dev/null l1.tar
user 1234:5678 /dev/null u.tar
user none "'docker-archive:user.tar': its /etc/passwd does not have its user: none" u.tar
user app "its /etc/passwd does not have its user: app" l1.tar
user app "its /etc/passwd does not have its user: app" u.tar u2.tar
user app:none "its /etc/group does not have its user's group: app:none" u.tar
user none /dev/null u.tar u3.tar

# What the kernel has no way to unpack is told before it boots, where its configuration is known.
# configured SYMBOL... - a kernel with these, too, as its own configuration says
configured() {
	configured_kernel configured BLK_DEV_INITRD BINFMT_ELF X86_64 DEVTMPFS KVM_GUEST PCI PCI_MSI VIRTIO_PCI VIRTIO_BLK VSOCKETS VIRTIO_VSOCKETS SQUASHFS OVERLAY_FS "$@"
}
configured SQUASHFS_ZSTD SQUASHFS_XZ
expect 125 'a kernel without lz4' "$vmm" --kernel configured --root docker-archive:gz.tar -- true
grep -q "^vmm: kernel 'configured' lacks squashfs with lz4 (CONFIG_SQUASHFS_LZ4): it is not built in" "$tmp/err" || fail "a kernel without lz4: $(<"$tmp/err")"
for kind in gzip:ZLIB lzo:LZO xz:XZ lz4:LZ4 zstd:ZSTD; do
	rm -f kind.squashfs
	mksquashfs l2 kind.squashfs -comp "${kind%:*}" -quiet -no-progress >/dev/null 2>&1 || { note "mksquashfs cannot do ${kind%:*}" && continue; }
	configured SQUASHFS
	expect 125 "a kernel without ${kind%:*}" "$vmm" --kernel configured --root kind.squashfs -- true
	grep -q "lacks squashfs with ${kind%:*} (CONFIG_SQUASHFS_${kind#*:})" "$tmp/err" || fail "a kernel without ${kind%:*}: $(<"$tmp/err")"
	configured "SQUASHFS_${kind#*:}"
	# it boots, and powers off
	expect 123 "a kernel with ${kind%:*}" "$vmm" --kernel configured --timeout 30 --root kind.squashfs -- true
	! grep -q lacks "$tmp/err" || fail "a kernel with ${kind%:*}: $(<"$tmp/err")"
done

# What was not used for long goes when there is too much; what is in use stays.
head -c 3M /dev/urandom >l2/more/large
for i in 1 2 3; do
	echo $i >l2/more/n
	tar -C l2 -cf n.tar .
	make_docker n$i.tar n:$i "$config" n.tar
done
start_limited() {
	expect 125 "$1" "$vmm" --kernel /dev/null --image-cache "$cache,size=7M" --root "$1" -- true
}
names() {
	"$vmm" "${kept[@]}" ls | awk 'NR > 1 { print $5 }' | sort | tr '\n' ' '
}
rm -rf "$cache"
start_limited docker-archive:n1.tar
start_limited docker-archive:n2.tar
find "$cache" -name '*.squashfs' -exec touch -d '1 hour ago' {} +
start_limited docker-archive:n1.tar
start_limited docker-archive:n3.tar
[ "$(names)" = 'n:1 n:3 ' ] || fail "after the third: $(names)"
[ "$(find "$cache" -name '*.ref' | wc -l)" = 2 ] || fail "names that lead nowhere are left: $(ls "$cache")"
held=$("$vmm" "${kept[@]}" ls | awk '$5 == "n:1" { print $1 }')
exec 9<"$(echo "$cache/$held"*.squashfs)"
flock -s 9
expect 125 'rm of one in use' "$vmm" "${kept[@]}" rm n:1
grep -q "image 'n:1' is in use by a machine" "$tmp/err" || fail "rm of one in use: $(<"$tmp/err")"
"$vmm" "${kept[@]}" ls | grep 'n:1 (in use)' >/dev/null || fail 'ls of one in use'
expect 0 prune "$vmm" "${kept[@]}" prune
[ "$(names)" = 'n:1 ' ] || fail "prune: $(names)"
exec 9<&-
# The times of a file may be of no year that there is, where the file system keeps such.
mkdir mount
# shellcheck disable=SC2016 # for the inner shell
if unshare -Urm sh -ec 'mount -t tmpfs -o mode=700 none mount' 2>/dev/null; then
	expect 0 'ls of one used in no year' unshare -Urm sh -ec 'mount -t tmpfs -o mode=700 none mount
		cp "$1"/* mount && touch -d @9223372036854775807 mount/*.squashfs && exec "$0" image ls --image-cache mount' "$vmm" "$cache"
	grep -qE '^[0-9a-f]{12} +[0-9]+M  - +n:1$' "$tmp/out" || fail "ls of one used in no year: $(<"$tmp/out")"
else
	note 'no user namespaces here: absurd times of files are not tried'
fi
# Who looks holds all for a moment, as a machine does for its time.
exec 9<"$(echo "$cache"/*.squashfs)"
flock -s 9
{ sleep 0.5; } &
exec 9<&-
expect 0 'rm while somebody looks' "$vmm" "${kept[@]}" rm n:1
wait $!
start_limited docker-archive:n1.tar
digest=$("$vmm" "${kept[@]}" ls | awk 'NR == 2 { print $1 }')
expect 125 'rm of none' "$vmm" "${kept[@]}" rm none
expect 0 'rm by digest' "$vmm" "${kept[@]}" rm "$digest"
[ -z "$(find "$cache" -type f ! -name 'lock-?')" ] || fail "rm leaves: $(ls "$cache")"
chmod 777 "$cache"
expect 125 'a cache that others may write' "$vmm" "${kept[@]}" ls
grep -q 'is not yours, or others may write there' "$tmp/err" || fail "a cache that others may write: $(<"$tmp/err")"
expect 0 'by the environment' env VMM_IMAGE_CACHE="$tmp/other,size=1G" "$vmm" image du
grep -q "at most 1024M, in $tmp/other" "$tmp/out" || fail "VMM_IMAGE_CACHE: $(<"$tmp/out")"
# Options go before the command or behind it.
expect 0 'image ls --image-cache' "$vmm" image ls --image-cache "$tmp/other"
expect 0 'image du --image-cache=' "$vmm" image du "--image-cache=$tmp/other,size=2G"
grep -q "at most 2048M, in $tmp/other" "$tmp/out" || fail "image du --image-cache=: $(<"$tmp/out")"
expect 125 'no home' env XDG_CACHE_HOME= HOME=relative "$vmm" image ls
grep -q "neither HOME nor XDG_CACHE_HOME is an absolute path; name one by --image-cache$" "$tmp/err" || fail "no home: $(<"$tmp/err")"
# What is missing would have been made: why it was not.
if unshare -m true 2>/dev/null; then
	mkdir "$tmp/readonly"
	# shellcheck disable=SC2016 # for the shell inside
	expect 125 'a cache that cannot be made' unshare -m sh -ec 'mount -t tmpfs -o ro none "$1"; exec "$0" image ls --image-cache "$1/vmm/images"' "$vmm" \
		"$tmp/readonly"
	grep -q "cannot open the image cache '$tmp/readonly/vmm/images': Read-only file system$" "$tmp/err" ||
		fail "a cache that cannot be made: $(<"$tmp/err")"
else
	note 'a cache that cannot be made: not tried, needs mounts of its own'
fi
expect 125 'image ls with a word' "$vmm" image ls word
grep -q 'usage: vmm image ls \[--image-cache DIR\[,size=SIZE\]\]$' "$tmp/err" || fail "image ls with a word: $(<"$tmp/err")"
expect 125 'another option of image' "$vmm" image ls --cache x
grep -q "vmm image has no '--cache'; see vmm help image" "$tmp/err" || fail "another option of image: $(<"$tmp/err")"
expect 125 '--image-cache without a value' "$vmm" image ls --image-cache
grep -q -- '--image-cache needs a value' "$tmp/err" || fail "--image-cache without a value: $(<"$tmp/err")"
expect 125 'a name that begins with dashes' "$vmm" image rm --image-cache "$tmp/other" -- --help
grep -q "no image '--help' in" "$tmp/err" || fail "a name that begins with dashes: $(<"$tmp/err")"
expect 0 'image --help' "$vmm" image ls --help
grep -q '^  prune ' "$tmp/out" || fail "image --help: $(<"$tmp/out")"

# ---- images of directories ----

for kind in squashfs:mksquashfs erofs:mkfs.erofs ext4:mke2fs; do
	command -v "${kind#*:}" >/dev/null || { note "${kind#*:} is missing" && continue; }
	expect 0 "build ${kind%:*}" "$vmm" image build l1 "d.${kind%:*}"
	expect 125 'a file that is there' "$vmm" image build l1 "d.${kind%:*}"
	grep -q 'is there already' "$tmp/err" || fail "a file that is there: $(<"$tmp/err")"
	long=.${kind%:*}
	long=$(printf 'n%.0s' $(seq $((255 - ${#long}))))$long
	expect 0 "build a ${kind%:*} whose name is as long as it can be" "$vmm" image build l1 "$long"
	[ -s "$long" ] || fail "there is no file of the longest name"
done
[ ! -e d.squashfs ] || unsquashfs -l d.squashfs | grep 'squashfs-root/data/two' >/dev/null || fail 'a directory as squashfs'
[ ! -e d.ext4 ] || debugfs -R 'cat data/two' d.ext4 2>/dev/null | grep -qx one || fail 'a directory as ext4'
# A file that may not be read is no reason to leave it out.
mkdir -p l3/closed && chmod 000 l3/closed
chmod 755 "$tmp"
cp "$vmm" vmm-for-all
as_other=()
[ "$(id -u)" != 0 ] || as_other=(setpriv --reuid 65534 --regid 65534 --clear-groups)
for kind in squashfs:mksquashfs erofs:mkfs.erofs ext4:mke2fs; do
	command -v "${kind#*:}" >/dev/null || continue
	mkdir -m 777 "for-${kind%:*}"
	expect 125 "a closed directory as ${kind%:*}" "${as_other[@]}" "$PWD/vmm-for-all" image build l3 "for-${kind%:*}/x.${kind%:*}"
	[ "$(wc -l <"$tmp/err")" = 1 ] && grep -q "'${kind#*:}' has failed: " "$tmp/err" || fail "a closed directory as ${kind%:*}: $(<"$tmp/err")"
	[ -z "$(ls "for-${kind%:*}")" ] || fail "a closed directory as ${kind%:*}: a file is left"
done
chmod 755 l3/closed
expect 125 'no file system' "$vmm" image build l1 x.tar
expect 125 'no word' "$vmm" image
expect 125 'another word' "$vmm" image list
finish
