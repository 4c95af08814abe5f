# What the scripts here share; sourced, not run.
# shellcheck shell=bash

fuzz=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$fuzz/../.." && pwd)
cd "$repo" || exit
# shellcheck source-path=SCRIPTDIR source=../../guest-images/lib.sh
. guest-images/lib.sh

# targets NAME... - those that were named, else all
targets() {
	local source
	if [ $# -gt 0 ]; then
		printf '%s\n' "$@"
		return
	fi
	for source in tests/fuzz/fuzz_*.c; do
		basename "$source" .c
	done
}

# build DIR TARGETS CMAKE-OPTION... - quietly, unless it fails
build() {
	local dir=$1 names
	read -ra names <<<"$2"
	shift 2
	say "building $dir"
	mkdir -p "$dir"
	{ cmake -S . -B "$dir" "$@" && cmake --build "$dir" --target "${names[@]}" -j "$(nproc)"; } \
		>"$dir/build.log" 2>&1 || { cat "$dir/build.log" >&2 && die "$dir does not build"; }
}

# build_fuzzers TARGETS - the programs for libFuzzer, in build-fuzz/bin; other sanitizers would hide less, but cost more
build_fuzzers() {
	need clang:clang "${build_tools[@]}"
	build build-fuzz "$1" -DCMAKE_C_COMPILER=clang -DCMAKE_ASM_COMPILER=clang -DVMM_FUZZ=ON \
		-DVMM_SANITIZE=address,undefined -DVMM_TESTS=ON
}

# contain SCRIPT DIRS ARGS... - What is fuzzed may write files: as root it could write any, if it had the fault that is looked for.
# So the script here of that name runs anew, where nothing can be written but these directories of the repository, and those for
# temporary files, which are its own.
contain() {
	local script=$1 dirs=$2
	shift 2
	if [ "$(id -u)" = 0 ] && [ -z "${FUZZ_CONTAINED-}" ] && unshare --mount true 2>/dev/null; then
		export FUZZ_CONTAINED=yes
		# shellcheck disable=SC2086
		mkdir -p $dirs
		# shellcheck disable=SC2016
		exec unshare --mount --propagation private bash -c '
			for dir in $1; do mount --bind "$dir" "$dir" || exit; done
			mount -o remount,bind,ro / && mount -t tmpfs none /tmp && mount -t tmpfs none /dev/shm && shift && exec "$@"' \
			contained "$dirs" "$fuzz/$script" "$@"
	fi
}
