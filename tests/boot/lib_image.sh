# Container images, made by tar and sha256sum alone; sourced by tests of them.
# shellcheck shell=bash

# lacks_images VMM DIR - it was built without what container images need
lacks_images() {
	local said
	said=$("$1" image build oci:/none "$2/none.squashfs" 2>&1) || true
	[[ $said = *'was built without'* ]]
}

# sum FILE - its SHA-256 in hex
sum() {
	local line
	line=$(sha256sum "$1")
	echo "${line%% *}"
}

# plain LAYER - what it unpacks to
plain() {
	case $1 in
	*.gz) gzip -dc "$1" ;;
	*.zst) zstd -qdc "$1" ;;
	*) cat "$1" ;;
	esac
}

# image_config CONFIG LAYER... - the whole configuration; CONFIG: the inside of its object "config"
image_config() {
	local config=$1 ids='' layer digest
	shift
	for layer; do
		digest=$(plain "$layer" | sha256sum)
		ids+="${ids:+,}\"sha256:${digest%% *}\""
	done
	printf '{"architecture":"%s","os":"linux","config":{%s},"rootfs":{"type":"layers","diff_ids":[%s]}}' \
		"${architecture:-amd64}" "$config" "$ids"
}

# make_docker OUT TAG CONFIG LAYER... - as docker save does; more than one call with the same OUT.d makes one archive of several
make_docker() {
	local out=$1 tag=$2 config=$3 layers='' layer name
	shift 3
	mkdir -p "$out.d"
	image_config "$config" "$@" >"$out.d/config"
	name=$(sum "$out.d/config")
	mv "$out.d/config" "$out.d/$name.json"
	for layer; do
		cp "$layer" "$out.d/$name-${layer##*/}"
		layers+="${layers:+,}\"$name-${layer##*/}\""
	done
	printf '%s{"Config":"%s.json","RepoTags":["%s"],"Layers":[%s]}' "$([ ! -e "$out.images" ] || echo ,)" "$name" "$tag" "$layers" >>"$out.images"
	echo "[$(<"$out.images")]" >"$out.d/manifest.json"
	tar -C "$out.d" -cf "$out" .
}

# put_blob DIR FILE - moves it there; prints its descriptor's digest and size
put_blob() {
	local digest size
	digest=$(sum "$2")
	size=$(stat -c %s "$2")
	mkdir -p "$1/blobs/sha256"
	mv "$2" "$1/blobs/sha256/$digest"
	printf '"digest":"sha256:%s","size":%s' "$digest" "$size"
}

# make_manifest DIR CONFIG LAYER... - prints digest and size of the manifest
make_manifest() {
	local dir=$1 config=$2 layers='' layer type descriptor
	shift 2
	mkdir -p "$dir"
	image_config "$config" "$@" >"$dir/tmp"
	config=$(put_blob "$dir" "$dir/tmp")
	for layer; do
		case $layer in
		*.gz) type=+gzip ;;
		*.zst) type=+zstd ;;
		*) type='' ;;
		esac
		cp "$layer" "$dir/tmp"
		descriptor=$(put_blob "$dir" "$dir/tmp")
		layers+="${layers:+,}{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar$type\",$descriptor}"
	done
	printf '{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json",%s},"layers":[%s]}' "$config" "$layers" >"$dir/tmp"
	put_blob "$dir" "$dir/tmp"
}

# make_index DIR DESCRIPTOR... - its index.json, of such objects
make_index() {
	local dir=$1 IFS=,
	shift
	echo '{"imageLayoutVersion":"1.0.0"}' >"$dir/oci-layout"
	printf '{"schemaVersion":2,"manifests":[%s]}' "$*" >"$dir/index.json"
}

# make_oci DIR TAG CONFIG LAYER... - an OCI layout of one image
make_oci() {
	local dir=$1 tag=$2
	make_index "$dir" "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",$(make_manifest "$dir" "${@:3}"),\"annotations\":{\"org.opencontainers.image.ref.name\":\"$tag\"}}"
}
