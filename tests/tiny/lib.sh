# Common functions of the tests that run tiny guests; sourced, not run, with the build directory as $1.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/lib.sh
. "$here/../lib.sh"
build=$(cd "${1:?usage: $0 BUILD-DIR}" && pwd)
vmm=$build/bin/vmm

[ -x "$vmm" ] || { echo "$vmm is not built"; exit 1; }
need_kvm
make_tmp
# Not the cache of whoever runs the tests.
export XDG_CACHE_HOME=$tmp/cache

# The common guests, and those of this folder, as $guests/BEHAVIOUR.FORMAT.
guests=$tmp/guests
"$repo/guest-images/tiny/build.sh" "$guests"
# make_guest BEHAVIOUR - one of guests.S, as a bzImage
make_guest() {
	gcc -c -DBZIMAGE64 "-DBEHAVIOUR=$1" "-I$repo/guest-images/tiny" -o "$tmp/$1.o" "$here/guests.S"
	ld -Ttext=0 -e 0 --oformat binary -z noexecstack -o "$guests/$1.bz64" "$tmp/$1.o"
}

# configured_kernel FILE SYMBOL... - an ELF file that resets at once, and says of itself that it is Linux 6.9-tiny and has these
configured_kernel() {
	local file=$1
	shift
	{
		printf 'Linux version 6.9-tiny (nobody)\nIKCFG_ST'
		printf 'CONFIG_%s=y\n' "$@" | gzip -9n
		printf IKCFG_ED
	} >"$tmp/says"
	gcc -c -DELF64 -DBEHAVIOUR=poweroff -o "$tmp/configured.o" "$repo/guest-images/tiny/tiny.S"
	echo ".incbin \"$tmp/says\"" | gcc -c -x assembler -o "$tmp/says.o" -
	ld -n -T "$repo/guest-images/tiny/elf64.lds" -z noexecstack -o "$file" "$tmp/configured.o" "$tmp/says.o"
}

# Real hardware runs guest instructions in nanoseconds; an emulated kernel mode takes microseconds.
fast_kvm() {
	grep -qwE '^flags.*(vmx|svm)' /proc/cpuinfo
}

sanitizer=$(sanitizer_of "$vmm")

# run COMMAND... - runs it without input; sets $status, $tmp/out and $tmp/err. A minute is taken for a hang.
run() {
	status=0
	timeout -s KILL $((60 * slower)) "$@" </dev/null >"$tmp/out" 2>"$tmp/err" || status=$?
	[ "$status" != 137 ] || echo "hangs: $*"
}

# expect STATUS WHAT COMMAND... - runs it and compares the exit status
expect() {
	local want=$1 what=$2
	shift 2
	run "$@"
	[ "$status" = "$want" ] || {
		fail "$what: status $status, not $want"
		head -n 5 "$tmp/err"
	}
}

# The clock of a machine may be set while a test runs; this one only counts, in steps of 10 ms.
now_ms() {
	local up part
	read -r up _ </proc/uptime
	part=${up#*.}00
	echo "$((10#${up%.*} * 1000 + 10#${part:0:2} * 10))"
}

# ms_since TIME - of now_ms; never less than it was
ms_since() {
	echo $(($(now_ms) + 10 - $1))
}

# between WHAT VALUE MIN MAX
between() {
	[ "$2" -ge "$3" ] && [ "$2" -le "$4" ] || fail "$1: $2, not from $3 to $4"
}

# wait_until SECONDS COMMAND... - tries every 20 ms; returns whether it came true
wait_until() {
	local end=$(($(now_ms) + $1 * 1000 * slower))
	shift
	until "$@"; do
		[ "$(now_ms)" -lt "$end" ] || return 1
		sleep 0.02
	done
}

# listing DIR - names, types, modes, sizes and times of all below it; ThreadSanitizer makes a file in $TMPDIR, and removes it
listing() {
	local times=s/x/x/
	[ "$sanitizer" != thread ] || times="s|^\(\./tmp d .*\) .* .*|\1|"
	(cd "$1" && find . -printf '%p %y %m %s %T@ %C@\n' | sed "$times" | sort)
}

# runs_guest PID - the vCPU's thread is there
runs_guest() {
	grep -qs '^vmm-vcpu0$' "/proc/$1"/task/*/comm
}

# cpu_ticks PID - user and system time so far
cpu_ticks() {
	sed 's/.*) //' "/proc/$1/stat" | awk '{print $12 + $13}'
}
