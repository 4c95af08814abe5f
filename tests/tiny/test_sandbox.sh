#!/usr/bin/env bash
# The sandbox, layer by layer, as it is seen from outside; and threads that do what a guest which took them over would.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

! sanitized "$vmm" || skip 'no filters in a vmm with sanitizers'
breakout=$build/bin/vmm_breakout
[ -x "$breakout" ] || { echo "$breakout is not built"; exit 1; }

refused=159 # 128 and SIGSYS
hello=(--kernel "$guests/hello.bz64")
idle=(--kernel "$guests/idle.bz64")

layers=all
"$vmm" "${hello[@]}" --sandbox strict --log-level info </dev/null >/dev/null 2>"$tmp/err" || {
	grep -q 'libseccomp' "$tmp/err" && skip 'this vmm was built without libseccomp'
	layers=some
	note "this host does not have all layers: $(tail -n 1 "$tmp/err")"
}
"$vmm" "${hello[@]}" --log-level info </dev/null 2>&1 >/dev/null | grep 'sandbox:' || fail 'no line tells the layers'

# As one who has no rights, but for /dev/kvm; and as whoever runs this. Words to be put before a command.
# shellcheck disable=SC2016 # for the inner shell
unprivileged=(unshare -m bash -c '
	[ -e "$0/kvm" ] || mknod -m 666 "$0/kvm" c 10 232
	mount --bind "$0/kvm" /dev/kvm && exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all -- "$@"' "$tmp")
# shellcheck disable=SC2034 # become() has its name
caller=(env)
chmod 755 "$tmp" "$guests"
users=(caller)
if [ "$(id -u)" = 0 ] && "${unprivileged[@]}" true 2>/dev/null; then
	users+=(unprivileged)
else
	note 'not root, or no rights to make device nodes: tried as this user alone'
fi

# become USER - sets as, the words before a command
become() {
	user=$1
	local -n words=$1
	as=("${words[@]}")
}

# ---- a running machine ----

# start_idle OPTION... - sets pid; with an inherited descriptor
start_idle() {
	"${as[@]}" "$vmm" "${idle[@]}" --log-level error "$@" 7<"$vmm" </dev/null >/dev/null &
	pid=$!
	wait_until 10 runs_guest "$pid" || fail "$user: the guest does not start"
	sleep 0.3
}

stop_idle() {
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
}

status_of() {
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$pid/task/$1/status"
}

for user in "${users[@]}"; do
	become "$user"
	[ "$user" = caller ] || "${as[@]}" unshare -U true 2>/dev/null || { note 'no user namespaces here'; continue; }
	start_idle
	for task in /proc/"$pid"/task/*; do
		task=${task##*/}
		case $(<"/proc/$pid/task/$task/comm") in
		kvm-*) continue ;; # the kernel's own
		esac
		[ "$(status_of "$task" NoNewPrivs)" = 1 ] || fail "$user: thread $task may get new privileges"
		[ "$(status_of "$task" Seccomp)" = 2 ] || fail "$user: thread $task has no filter"
		[ "$(status_of "$task" CapEff)" = 0000000000000000 ] || fail "$user: thread $task has capabilities"
		[ "$(status_of "$task" CapPrm)" = 0000000000000000 ] || fail "$user: thread $task could have capabilities"
	done
	[ -z "$(find "/proc/$pid/root/" -mindepth 1)" ] || fail "$user: the root is not empty: $(ls -la "/proc/$pid/root/")"
	[ "$(readlink "/proc/$pid/cwd")" = / ] || fail "$user: the working directory: $(readlink "/proc/$pid/cwd")"
	for ns in mnt ipc uts; do
		[ "$(readlink "/proc/$pid/ns/$ns")" != "$(readlink /proc/self/ns/$ns)" ] || fail "$user: shares namespace $ns"
	done
	! find "/proc/$pid/fd" -lname "$vmm" | grep . || fail "$user: a descriptor of the parent is open"
	grep -qE '^Max core file size +0 +0 ' "/proc/$pid/limits" || fail "$user: writes core files"
	stop_idle
done

# Without /proc nobody knows what the parent has left open: that is told, and refused if all layers are asked for.
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
	# shellcheck disable=SC2034 # become() has its name
	no_proc=(unshare -m sh -c 'mount -t tmpfs none /proc && exec "$0" "$@"')
	become no_proc
	status=0
	"${as[@]}" "$vmm" "${hello[@]}" --log-level info 7<"$vmm" </dev/null >/dev/null 2>"$tmp/err" || status=$?
	[ "$status" = 0 ] && grep -q 'sandbox: .*; without closed descriptors (No such file or directory)' "$tmp/err" ||
		fail "no /proc: status $status, $(<"$tmp/err")"
	status=0
	echo keep >"$tmp/log"
	"${as[@]}" "$vmm" "${hello[@]}" --sandbox strict --log-level error --console file="$tmp/log" </dev/null 2>"$tmp/err" || status=$?
	[ "$status" = 125 ] && [ "$(<"$tmp/err")" = 'vmm: sandbox: cannot get closed descriptors: No such file or directory' ] ||
		fail "no /proc, strict: status $status, $(<"$tmp/err")"
	[ "$(<"$tmp/log")" = keep ] || fail "no /proc, strict: the console's file has '$(<"$tmp/log")'"
fi

become caller
start_idle --sandbox off
[ "$(status_of "$pid" Seccomp)" = 0 ] || fail 'off: there is a filter'
[ "$(readlink "/proc/$pid/ns/mnt")" = "$(readlink /proc/self/ns/mnt)" ] || fail 'off: has namespaces'
stop_idle

if [ "$(id -u)" = 0 ]; then
	# shellcheck disable=SC2034 # become() has its name
	in_a_group=(setpriv --groups 4321 --)
	become in_a_group
	for who in nobody 12345 12345:54321; do
		start_idle --user "$who"
		case $who in
		nobody) want="$(id -u nobody) $(id -g nobody)" ;;
		*) want="12345 ${who#*:}" ;;
		esac
		read -r uid _ < <(status_of "$pid" Uid)
		read -r gid _ < <(status_of "$pid" Gid)
		[ "$uid $gid" = "$want" ] || fail "--user $who: is $uid $gid"
		[ -z "$(status_of "$pid" Groups)" ] || fail "--user $who: has groups $(status_of "$pid" Groups)"
		stop_idle
	done
	become caller
fi

# What the guest needs by name is told when it cannot be had, or when all other names can be had too.
# told WHAT PATTERN OPTION... - one warning (or as many as $most), and the machine runs
told() {
	local status=0
	"${as[@]}" "$vmm" "${hello[@]}" "${@:3}" </dev/null >/dev/null 2>"$tmp/err" || status=$?
	sed -i '/neither VT-x nor AMD-V/d' "$tmp/err"
	[ "$status" = 0 ] && grep -qE -- "$2" "$tmp/err" && [ "$(wc -l <"$tmp/err")" -le "${most:-1}" ] ||
		fail "$1: status $status, $(<"$tmp/err")"
}
if [ "$(id -u)" = 0 ]; then
	mkdir -m 700 "$tmp/private"
	most=2 told 'a directory that the user may not enter' "^vmm: the guest's connections .*'$tmp/private': Permission denied" \
		--vsock "cid=5,socket=$tmp/private/vsock" --user 12345
	grep -q "^vmm: cannot remove '$tmp/private/vsock': Permission denied$" "$tmp/err" || fail "a socket that is left: $(<"$tmp/err")"
	rm "$tmp/private/vsock"
	truncate -s 1M "$tmp/disk.img"
	told "an overlay in another's directory" "^vmm: cannot remove '$tmp/private/overlay': Permission denied$" \
		--disk "$tmp/disk.img,overlay=$tmp/private/overlay" --user 12345
	told "a console in another's directory" "^vmm: cannot remove '$tmp/private/console': Permission denied$" \
		--console "socket=$tmp/private/console" --user 12345
	rm "$tmp/private/overlay" "$tmp/private/console"
	# shellcheck disable=SC2034 # become() has its name
	no_mounts=(unshare -U -r sh -c 'echo 0 >/proc/sys/user/max_mnt_namespaces && exec "$0" "$@"')
	if "${no_mounts[@]}" true 2>/dev/null; then
		become no_mounts
		told 'no empty root' '^vmm: sandbox: without an empty root .* all unix sockets' --vsock "cid=5,socket=$tmp/private/vsock"
		[ -z "$(ls "$tmp/private")" ] || fail "no empty root: left behind: $(ls "$tmp/private")"
		become caller
	else
		note 'no user namespaces here: a machine without an empty root is not tried'
	fi
fi

# lines OPTION... - what the sandbox says
lines() {
	"${as[@]}" "$vmm" "${hello[@]}" "$@" </dev/null 2>&1 >/dev/null | grep 'sandbox:' || true
}
# with_share MODE PATTERN - the one line when a directory is shared; '': there is none
mkdir "$tmp/root"
with_share() {
	local said
	said=$(lines --root "$tmp/root,$1" -- true)
	if [ -z "$2" ]; then [ -z "$said" ]; else grep -qxE -- "$2" <<<"$said" && [ "$(wc -l <<<"$said")" = 1 ]; fi ||
		fail "a share ($1) by ${as[0]}: ${said:-nothing is said}"
}
outside='a guest that breaks out could reach files outside of shared directories, as far as its user can'
if [ $layers = all ]; then
	with_share shared ''
	with_share rw ''
	if [ "$(id -u)" = 0 ] && "${no_mounts[@]}" true 2>/dev/null; then
		become no_mounts
		with_share shared ''
		with_share rw "vmm: sandbox: without namespaces .*, an empty root \\(.*\\) $outside"
	fi
	if strace -f -o /dev/null true 2>/dev/null; then
		# shellcheck disable=SC2034 # become() has its name
		no_landlock=(strace -f -qq -o /dev/null -e inject=landlock_create_ruleset:error=ENOSYS)
		become no_landlock
		with_share shared ''
		with_share rw "vmm: sandbox: without Landlock \\(Function not implemented\\) $outside"
		# shellcheck disable=SC2034 # become() has its name
		no_filters=(strace -qq -o /dev/null -e inject=seccomp:error=EINVAL)
		become no_filters
		[ "$(lines)" = 'vmm: sandbox: no filters of system calls: Invalid argument' ] || fail "no filters: $(lines)"
		[ -z "$(lines --sandbox off)" ] || fail "no sandbox, and no filters: $(lines --sandbox off)"
	else
		note 'no strace here: kernels without Landlock or filters are not tried'
	fi
	become caller
fi

# bad TEXT OPTION... - vmm refuses the options with a line that has TEXT
bad() {
	local status=0
	"$vmm" "${hello[@]}" "${@:2}" </dev/null >"$tmp/out" 2>"$tmp/err" || status=$?
	[ "$status" = 125 ] && [ ! -s "$tmp/out" ] && [ "$(wc -l <"$tmp/err")" = 1 ] && grep -q -- "$1" "$tmp/err" ||
		fail "${*:2}: status $status, $(<"$tmp/err")"
}
bad "not 'maybe'" --sandbox maybe
if [ "$(id -u)" = 0 ]; then
	bad "not 'no-such-user'" --user no-such-user
	bad "not ''" --user ''
	bad "not '1:4294967295'" --user 1:4294967295
	bad "not 'nobody:nogroup'" --user nobody:nogroup
	bad 'sandbox off' --user nobody --sandbox off
	if strace -o /dev/null true 2>/dev/null; then
		status=0
		strace -qq -o "$tmp/trace" -P /etc/passwd -e inject=openat:error=EMFILE \
			"$vmm" "${hello[@]}" --user nobody </dev/null >/dev/null 2>"$tmp/err" || status=$?
		[ "$status" = 125 ] && [ "$(<"$tmp/err")" = "vmm: cannot open '/etc/passwd': Too many open files" ] ||
			fail "a file of users that cannot be opened: status $status, $(<"$tmp/err")"
	fi
fi

# What ends with the machine is removed in the sandbox too: the names of sockets, and an overlay that was never written.
truncate -s 1M "$tmp/disk.img"
for user in "${users[@]}"; do
	dir=$tmp/$user
	mkdir -m 777 "$dir"
	become "$user"
	"${as[@]}" "$vmm" "${hello[@]}" --vsock "cid=5,socket=$dir/vsock" --console "socket=$dir/console" \
		--disk "$tmp/disk.img,overlay=$dir/overlay" </dev/null 2>"$tmp/err" || fail "$user: status $?, $(<"$tmp/err")"
	[ -z "$(ls "$dir")" ] || fail "$user: left behind: $(ls "$dir")"
done

# Where AppArmor lets a user enter a namespace without any rights there, as Ubuntu does, none is entered, and the rest holds.
if [[ " ${users[*]} " = *' unprivileged '* ]] && unshare -m mount -t tmpfs none /proc/sys/kernel 2>/dev/null; then
	become unprivileged
	dir=$tmp/restricted
	mkdir -m 777 "$dir"
	echo unconfined >"$tmp/label"
	chmod 644 "$tmp/label"
	status=0
	# shellcheck disable=SC2016 # for the inner shell
	unshare -m sh -ec 'mount -t tmpfs none /proc/sys/kernel && echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns
		mount --bind "$0" /proc/$$/attr/current && exec "$@"' "$tmp/label" \
		"${as[@]}" "$vmm" "${hello[@]}" --log-level info --console "socket=$dir/console" \
		--disk "$tmp/disk.img,overlay=$dir/overlay" </dev/null 2>"$tmp/err" || status=$?
	[ "$status" = 0 ] && grep -q 'sandbox: .* limits.*; without namespaces (kernel/apparmor_restrict_unprivileged_userns), ' "$tmp/err" &&
		[ -z "$(ls "$dir")" ] || fail "AppArmor's namespaces: status $status, $(ls "$dir"), $(<"$tmp/err")"
	become caller
fi

# Where nobody else is in its mount namespace, as with the first program of a container, directories are cut off too: those of a share, and
# those in which a name is removed.
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then
	mkdir "$tmp/mount"
	# shellcheck disable=SC2034,SC2016 # become() has its name; for the inner shell
	last=(unshare -m sh -c 'mount -t tmpfs none "$0" && mkdir "$0/dir" && exec "$@"' "$tmp/mount")
	become last
	for option in "--vsock cid=5,socket=$tmp/mount/dir/vsock" "--root $tmp/mount/dir,shared -- true"; do
		# shellcheck disable=SC2086 # words
		"${as[@]}" "$vmm" "${hello[@]}" --log-level info $option </dev/null >/dev/null 2>"$tmp/err" || true
		grep -q "sandbox: [^;]*directories without a way up" "$tmp/err" || fail "alone in its mount namespace, ${option%% *}: $(<"$tmp/err")"
	done
	become caller
fi

# ---- threads that were taken over ----

# machine KIND OPTION... - runs breakout with what makes a machine that has such a thread; sets $status and $tmp/err
machine() {
	local options=("${hello[@]}" --log-level error --timeout 10 --io-threads 1 --disk "$tmp/disk.img,readonly" "${@:2}")
	case $1 in
	sockets) options+=(--vsock "cid=5,socket=$tmp/$user/vsock") ;;
	pump) options+=(--root "$tmp/root" -- true) ;;
	fs) options+=(--root "$tmp/root,shared" -- true) ;;
	write | share) options+=(--root "$tmp/root,rw" -- true) ;;
	gdb) options+=(--gdb "$tmp/$user/gdb") ;;
	esac
	status=0
	"${as[@]}" "$breakout" "${options[@]}" </dev/null >/dev/null 2>"$tmp/err" || status=$?
}

# Calls by other numbers than the rules'. Without a sandbox they are made, but where the kernel knows no programs of i386.
become caller
abis=()
for abi in i386 x32; do
	BREAKOUT_THREAD=vcpu BREAKOUT_ACT=$abi machine vcpu --sandbox off
	case $abi-$status in
	*-99) abis+=("$abi") ;;
	i386-139) note 'this kernel runs no programs of i386: their system calls are not tried' ;;
	*-159) note "system calls of $abi are refused to this test, and not tried" ;;
	*) fail "without a sandbox, $abi: status $status, $(<"$tmp/err")" ;;
	esac
done

for user in "${users[@]}"; do
	become "$user"
	for thread in vcpu main io sockets disk starter owner pump fs write share gdb; do
		BREAKOUT_THREAD=$thread machine $thread
		[ "$status" = 42 ] || fail "$user, $thread: status $status, $(<"$tmp/err")"
		tried=$(sed -n "s/^$thread: \([0-9]*\) stopped$/\1/p" "$tmp/err")
		[ "${tried:-0}" -gt 100 ] || fail "$user, $thread: only ${tried:-0} acts: $(<"$tmp/err")"
		note "$user, $thread: $tried acts were stopped"

		# Without a handler that takes note: what a user sees.
		case $thread in
		vcpu) name='vmm-vcpu0' ;;
		io | sockets) name='vmm-io0' ;;
		owner) name='vmm_breakout' ;;
		fs | write) name='vmm-fs0' ;;
		share) name='vmm-fs-io' ;;
		*) name="vmm-$thread" ;;
		esac
		BREAKOUT_THREAD=$thread BREAKOUT_ACT=0 machine $thread
		[ "$status" = $refused ] && grep -qE "^vmm: sandbox: thread $name was refused system call 257([^0-9]|$)" "$tmp/err" ||
			fail "$user, $thread: status $status, $(<"$tmp/err")"
		# The kernel ends the process, and nobody takes the number for another call's.
		for abi in "${abis[@]}"; do
			BREAKOUT_THREAD=$thread BREAKOUT_ACT=$abi machine $thread 2>/dev/null
			[ "$status" = $refused ] && ! grep -q 'was refused' "$tmp/err" ||
				fail "$user, $thread, a call of $abi: status $status, $(<"$tmp/err")"
		done
	done
	# Its restrictions are the ring's own, with or without a sandbox.
	for sandbox in on off; do
		BREAKOUT_THREAD=ring machine ring --sandbox $sandbox
		case $status in
		42) note "$user, sandbox $sandbox, $(tail -n 1 "$tmp/err")" ;;
		77) note 'no disk has an io_uring here' ;;
		*) fail "$user, sandbox $sandbox: an io_uring takes orders: status $status, $(<"$tmp/err")" ;;
		esac
	done
done
BREAKOUT_THREAD=vcpu BREAKOUT_ACT=0 "$breakout" "${hello[@]}" --events "$tmp/events" </dev/null >/dev/null 2>&1 || true
[ "$(grep -c '"event":"ended","reason":"refused","status":159}$' "$tmp/events")" = 1 ] ||
	fail "the events of a refusal: $(<"$tmp/events")"

# The same without a sandbox: the test can fail.
become caller
BREAKOUT_THREAD=vcpu BREAKOUT_ACT=90 machine vcpu --sandbox off
[ "$status" = 99 ] || fail "without a sandbox: status $status, $(<"$tmp/err")"

# No vCPU runs before every thread has its filter, whichever is slow.
for name in vmm-main vmm-io0 vmm-starter vmm-vcpu1 vmm_breakout vmm-pump vmm-fs0 vmm-gdb; do
	kind=${name#vmm-}
	[[ $kind = @(fs0|gdb) ]] || kind=pump
	BREAKOUT_SLOW=$name machine "${kind%0}" --cpus 2
	[ "$status" = 42 ] || fail "the guest runs before $name has its filter: status $status, $(<"$tmp/err")"
done
finish
