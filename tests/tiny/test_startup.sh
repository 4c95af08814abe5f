#!/usr/bin/env bash
# What a VM costs: starting it, keeping it, and letting it idle. Counts are bounds, times are printed.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

! sanitized "$vmm" || skip 'a vmm with sanitizers costs more'

# Today's number is 250 to 262 with glibc 2.36, of which the C library takes about 70, and the sandbox 40; threads that meet add some.
max_syscalls=270
max_resident=1024 # KiB
max_guest=128	  # KiB, of a tiny guest's memory
max_idle_ticks=3  # of 10 ms, in 3 s

poweroff=("$vmm" --kernel "$guests/poweroff.bz64" --log-level error)

# ---- start to exit ----

times=()
for _ in {1..31}; do
	since=${EPOCHREALTIME/[.,]/}
	"${poweroff[@]}" </dev/null >/dev/null || fail "poweroff: status $?"
	times+=($((${EPOCHREALTIME/[.,]/} - since)))
done
mapfile -t times < <(printf '%s\n' "${times[@]}" | sort -n)
note "start to exit, 31 runs: median ${times[15]} us, best ${times[0]} us, worst ${times[30]} us"

if command -v strace >/dev/null; then
	strace -f -qq -e signal=none -o "$tmp/trace" "${poweroff[@]}" </dev/null >/dev/null || fail "strace: status $?"
	# Each call once, whether it is seen in one line or two.
	grep -vE '<\.\.\. .* resumed>|^[0-9]+ +(\+\+\+|---)' "$tmp/trace" >"$tmp/calls" || true
	syscalls=$(wc -l <"$tmp/calls")
	note "system calls from start to exit: $syscalls"
	[ "$syscalls" -le "$max_syscalls" ] || {
		fail "$syscalls system calls, more than $max_syscalls"
		sed -E 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/' "$tmp/calls" | sort | uniq -c | sort -rn | head -n 15
	}
	# These make KVM wait for all CPUs, or are the parts that the machine does without.
	for call in KVM_IOEVENTFD KVM_CREATE_IRQCHIP KVM_CREATE_PIT KVM_IRQFD KVM_SET_GSI_ROUTING; do
		! grep "$call" "$tmp/calls" || fail "$call when a VM starts"
	done
	# One for the vCPU and one for the main loop.
	threads=$(grep -cE '^[0-9]+ +clone3?\(' "$tmp/calls" || true)
	[ "$threads" -le 2 ] || fail "$threads threads when a VM without disks starts"
	# The vCPU that ends the machine does not enter the guest once more, to be called back.
	! grep EINTR "$tmp/trace" || fail 'the vCPU is called back'
	# The end of the VM is not waited for where io_uring is there.
	if grep -qE "io_uring_setup.* = [0-9]" "$tmp/trace"; then
		grep -qE "io_uring_register\(.*IORING_REGISTER_FILES" "$tmp/calls" || fail "the VM's end is waited for"
		# Nor that of the mount namespace, where the kernel tells what is in it.
		! grep -qE 'ioctl\(.*0xb7, 0xa, 0x10\).* = 0' "$tmp/trace" ||
			grep -qE 'IORING_REGISTER_FILES, \[[0-9]+, [0-9]+\]' "$tmp/calls" || fail "the mount namespace's end is waited for"
	else
		note "no io_uring here: the VM's end is waited for"
	fi
	[ "$(grep -c KVM_CREATE_VM "$tmp/calls")" = 1 ] || fail "strace sees no KVM calls"
	# Memory is there before anything that would have to follow its changes.
	order=$(grep -oE 'KVM_SET_USER_MEMORY_REGION|KVM_ENABLE_CAP|KVM_CREATE_VCPU' "$tmp/calls" | uniq | tr '\n' ' ')
	[ "$order" = 'KVM_SET_USER_MEMORY_REGION KVM_ENABLE_CAP KVM_CREATE_VCPU ' ] ||
		fail "the order of KVM calls: $order"
else
	note 'strace is missing: system calls are not counted'
fi

# ---- resident memory and idle CPU ----

# start PROGRAM GUEST - sets $pid
start() {
	"$1" --kernel "$guests/$2.bz64" --log-level error </dev/null >/dev/null &
	pid=$!
	wait_until 10 runs_guest "$pid" || fail "$2 does not start"
}

# breakdown PID - KiB resident outside the guest's memory, by kind: "program N", "libraries N", "heap N", ...; and "guest N"
breakdown() {
	awk '
	/^[0-9a-f]+-[0-9a-f]+ / {
		kind = $6
		if (kind == "") kind = "anonymous"
		else if (kind ~ /\/vmm$/) kind = "program"
		else if (kind ~ /\.so/) kind = "libraries"
		gsub(/[][]/, "", kind)
	}
	/^Rss:/ { rss = $2 }
	/^Shared_Clean:/ && kind == "libraries" { shared += $2 }
	# What is left out of core dumps is the memory of the guest.
	/^VmFlags:/ { kib[/ dd( |$)/ ? "guest" : kind] += rss }
	END {
		for (kind in kib)
			if (kib[kind])
				print kind, kib[kind]
		print "shared", shared + 0
	}' "/proc/$1/smaps"
}

# resident WHAT PROGRAM [shared] - what it has besides the memory of the guest is within the bound; pages of
# libraries that are shared with every other program on the host do not count when told so
resident() {
	local kib kinds all=0 shared=0 guest=0 kind
	start "$2" idle
	sleep 2.5 # when two have passed, the machine is made smaller
	kinds=$(breakdown "$pid" | sort)
	kill -HUP "$pid"
	wait "$pid" || true
	while read -r kind kib; do
		case $kind in
		shared) shared=$kib ;;
		guest) guest=$kib ;;
		*) all=$((all + kib)) ;;
		esac
	done <<<"$kinds"
	[ "$all" -gt 100 ] || fail "$1: only $all KiB resident: not measured"
	note "resident besides the guest's memory, $1: $all KiB" \
		"($(grep -vE '^(shared|guest) ' <<<"$kinds" | tr '\n' ' ' | sed 's/ \([0-9]*\) /: \1, /g; s/, $//'))," \
		"of which shared pages of libraries: $shared KiB"
	[ "${3:-}" = shared ] || shared=0
	[ $((all - shared)) -le "$max_resident" ] ||
		fail "$1: $((all - shared)) KiB resident, more than $max_resident"
	# Its tables and its page of code, whether the host has huge pages or not.
	note "of the guest's memory, $1: $guest KiB"
	[ "$guest" -gt 8 ] && [ "$guest" -le "$max_guest" ] || fail "$1: $guest KiB of a tiny guest's memory, more than $max_guest"
}

resident 'as built' "$vmm" shared
# With libraries inside, every page is the program's own.
read -ra libs < <(sed -n 's/^Libs:.*-lvmm //p' "$build/lib/vmm.pc")
mapfile -t objects < <(find "$build"/vmm/cli/CMakeFiles/{cli,guest_init_packed,help_packed}.dir -name '*.o')
mkdir "$tmp/static"
[ ${#objects[@]} -gt 0 ] || fail "the program's objects are not in $build/vmm/cli"
if cc -static -o "$tmp/static/vmm" "${objects[@]}" "$build"/lib/lib{image,vmm}.a "${libs[@]}" -Wl,--gc-sections 2>"$tmp/err"; then
	resident 'static' "$tmp/static/vmm"
elif echo 'int main(void) { return 0; }' | cc -static -xc - -o "$tmp/static/any" "${libs[@]}" 2>"$tmp/any"; then
	fail "the static program cannot be linked: $(grep -v warning "$tmp/err" | tail -n 3)"
else
	note "no static program can be linked here, so its resident memory is not measured: $(tail -n 1 "$tmp/any")"
fi

for guest in idle halt; do
	start "$vmm" "$guest"
	sleep 0.2
	ticks=$(cpu_ticks "$pid")
	sleep 3
	ticks=$(($(cpu_ticks "$pid") - ticks))
	note "$guest: $ticks ticks of CPU time in 3 s"
	[ "$ticks" -le "$max_idle_ticks" ] || fail "$guest: $ticks ticks of CPU time in 3 s, more than $max_idle_ticks"
	kill -HUP "$pid"
	wait "$pid" || true
done
finish
