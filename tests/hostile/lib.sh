# Common functions of the hostile tests; sourced, not run, with the build directory as $1.
# shellcheck shell=bash

hostile=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$hostile/../lib.sh"
build=$(cd "${1:?usage: $0 BUILD-DIR}" && pwd)
seed=${SEED:-$RANDOM}
rounds=${ROUNDS:-1}
themes=(ports power serial registers config bars msix queues chains race requests net vsock balloon fs flood wild)

again="the same again: SEED=$seed ROUNDS=$rounds $0 $build"

[ -e "$build/lib/libvmm.a" ] || { echo "$build/lib/libvmm.a is not built"; exit 1; }
need_kvm
make_tmp
# Machines find their network's other end where they would find passt.
PATH=$tmp/bin:$PATH
mkdir "$tmp/bin"
echo "SEED=$seed"

# libraries - those that there are to test: this one, and when it has no sanitizer the one that has
libraries() {
	echo "$build/lib/libvmm.a"
	[ ! -e "$build/../build-debug/lib/libvmm.a" ] || sanitized "$build/lib/libvmm.a" ||
		echo "$build/../build-debug/lib/libvmm.a"
}

# make_programs LIBRARY
make_programs() {
	sanitizer_flags "$1"
	"$hostile/build.sh" "$tmp/bin" "$1" "${flags[@]}"
}

# make_base - an image in which each sector begins with its number
make_base() {
	local i word
	for ((i = 0; i < 2048; i++)); do
		printf -v word '\\x%02x\\x%02x\\0\\0' $((i & 255)) $((i >> 8))
		printf '%b' "$word"
		printf '%0508d' 0
	done >"$tmp/base"
}

# make_disks NAME
make_disks() {
	truncate -s 1M "$tmp/$1.raw" "$tmp/$1.limited"
}

# make_shares - directories that the guest may read, and write; beside them what it must not touch, to which links lead
make_shares() {
	local share
	rm -rf "$tmp"/{readable,writable,canary}
	mkdir "$tmp"/{readable,writable,canary}
	echo secret >"$tmp/canary/secret"
	chmod 0600 "$tmp/canary/secret"
	for share in "$tmp"/{readable,writable}; do
		mkdir "$share"/{dir,swap}
		echo text | tee "$share/file" "$share/dir/file" >"$share/swap/secret"
		ln -s ../canary "$share/link-out"
		ln -s .. "$share/link-up"
		ln -s / "$share/link-root"
		mkfifo "$share/pipe"
	done
	all_of canary readable >"$tmp/shares.before"
}

# all_of DIRECTORY... - all that there is to see of them, but for times of access; extended attributes show in times of change
all_of() {
	(cd "$tmp" && find "$@" -printf '%p %y %m %U:%G %n %s %T@ %C@ %l\n' | sort && find "$@" -type f -exec sha256sum {} + | sort)
}

# swap - what the guest looks at becomes a link that leads out, and a directory again
swap() {
	while sleep 0.005; do
		mv -T "$tmp/writable/swap" "$tmp/writable/aside" && ln -s ../canary "$tmp/writable/swap" && sleep 0.001
		rm -f "$tmp/writable/swap" && mv -T "$tmp/writable/aside" "$tmp/writable/swap"
	done 2>/dev/null
}

# contained COMMAND [ARG...] - with a file system that only this test's own directory can be written in: a server that is broken, which is
# what these tests look for, does as root what a hostile guest wants
contained() {
	if [ "$(id -u)" != 0 ] || ! unshare --mount true 2>/dev/null; then
		"$@"
		return
	fi
	# shellcheck disable=SC2016
	unshare --mount --propagation private bash -c '
		mount --bind "$1" "$1" && mount -o remount,bind,ro / && export TMPDIR=$1 && shift && exec "$@"' contained "$tmp" "$@"
}

# attack TRANSPORT - all $themes, with each library
attack() {
	local transport=$1 library status swapper
	make_base
	make_disks hostile
	try_watch
	for library in $(libraries); do
		make_programs "$library"
		[ -S "$tmp/hostile.vsock_5" ] || start_peer
		rm -f "$tmp"/hostile.{first,second}
		status=0
		make_shares
		swap &
		swapper=$!
		begin_watch
		contained "$tmp/bin/hostile" "$tmp/bin/guest" "$tmp" "$transport" "$seed" "$rounds" "${themes[@]}" || status=$?
		[ "$status" = 0 ] || fail "$transport with $library: status $status"
		kill "$swapper" && wait "$swapper" 2>/dev/null || true
		end_watch
		[ -z "$seen" ] || fail "$transport with $library: what is outside was touched:"$'\n'"$seen"
		all_of canary readable | diff "$tmp/shares.before" - || fail "$transport with $library: what is outside has changed"
	done
}

# begin_watch - from now on it is told who opens, reads or changes the canary, or lists the directory that all of this lies in; not who looks at what it is
begin_watch() {
	[ -e "$tmp/bin/witness" ] || cc -std=gnu11 -O2 -Wall -Wextra -Werror -o "$tmp/bin/witness" "$hostile/witness.c"
	: >"$tmp/seen"
	"$tmp/bin/witness" "$tmp/canary" "$tmp" >"$tmp/seen" &
	witness=$!
	until [ -s "$tmp/seen" ]; do
		kill -0 "$witness" || { echo 'the canary cannot be watched' && exit 1; }
		sleep 0.02
	done
}

# end_watch - leaves in $seen what was told
end_watch() {
	kill "$witness"
	wait "$witness" || fail "the witness has ended with status $?"
	seen=$(tail -n +2 "$tmp/seen")
}

# try_watch - who reads, lists and writes in the ways that a broken server would is seen
try_watch() {
	local act
	make_shares
	begin_watch
	# shellcheck disable=SC2016
	contained bash -c 'cat "$1/readable/link-out/secret"; ls "$1/writable/link-up" "$1/writable/link-out"; echo >>"$1/canary/secret"' try "$tmp" >/dev/null
	end_watch
	for act in open.*/secret access.*/secret modify.*/secret access.*/canary "access.* \(/\|$tmp\)"; do
		grep -q "^[^:]*: .*$act$" <<<"$seen" || fail "it is not seen when somebody touches the canary: $act, but ${seen:-nothing}"
	done
}

# start_peer - who listens for the guest's streams
start_peer() {
	"$tmp/bin/passt" vsock "$tmp/hostile.vsock_5" >"$tmp/ready" &
	until [ -s "$tmp/ready" ]; do
		sleep 0.02
	done
}
