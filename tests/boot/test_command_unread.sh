#!/usr/bin/env bash
# What a command wrote and nobody reads, or slowly: no end looks like a success when some of it is lost.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
enter_lab cloud
begin_command

mkfifo "$tmp/unread"
exec 6<>"$tmp/unread"
writes=(sh -c 'dd if=/dev/zero bs=1k count=200 2>/dev/null')
lost="vmm: the last of the command's output was not written: nobody reads it"

# told EVENT
told() {
	grep -q "\"event\":\"$1\"" "$tmp/events"
}

# wait_for EVENT
wait_for() {
	local i
	for ((i = 0; i < 600 * slower; i++)); do
		! told "$1" || return 0
		sleep 0.1
	done
	return 1
}

# unread NAME OPTION... - its output goes where nobody reads it, to an end that comes later; sets $pid
unread() {
	: >"$tmp/events"
	env --default-signal=INT,TERM "${user[@]}" "$vmm" "${options[@]}" --root "$tmp/root" --events "$tmp/events" "${@:2}" \
		</dev/null >&6 2>"$tmp/$1.err" 6>&- &
	pid=$!
}

# ends NAME STATUS REASON MESSAGES
ends() {
	local got=0
	wait "$pid" || got=$?
	equal "$1: status" "$2" "$got"
	equal "$1: the end" "\"reason\":\"$3\",\"status\":$2}" "$(tail -n 1 "$tmp/events" | grep -o '"reason.*')"
	equal "$1: says" "$4" "$(text "$1.err")"
	# What is in the pipe is of no interest.
	timeout 1 cat <&6 >/dev/null || true
}

chmod a+w "$tmp/unread"
install -m 666 /dev/null "$tmp/events"
unread signal -- "${writes[@]}"
wait_for exited || true
# The guest still says that nothing more comes.
sleep 2
kill -TERM "$pid"
ends signal 143 signal "$lost"

took=$(sed -n 's/.*"elapsed":\([0-9]*\).*"event":"exited".*/\1/p' "$tmp/events")
limit=$((2 * ${took:-10} + 6))
unread timeout --timeout $limit -- "${writes[@]}"
ends timeout 124 timeout "vmm: the machine was ended after $limit.000 s (--timeout) | $lost"
check 'timeout: the command had ended' "$(tail -n 2 "$tmp/events")" told exited

# Who is slow but reads gets all, also of a guest that has crashed.
# reads_slowly - tells how much there was
reads_slowly() {
	local n=0 k=1
	while [ "$k" != 0 ]; do
		k=$(dd bs=8k count=1 2>/dev/null | wc -c)
		n=$((n + k))
		sleep 0.25
	done
	echo "$n"
}
# What the guest still has when it crashes for want of room here is lost; so it waits until it is rid of all.
status=0
vmm_ --root "$tmp/root" -- sh -c 'dd if=/dev/zero bs=1k count=200 2>/dev/null; sleep 5; echo c >/proc/sysrq-trigger; sleep 100' </dev/null \
	2>"$tmp/crash.err" | reads_slowly >"$tmp/crash.out" || status=${PIPESTATUS[0]}
equal 'crash, a slow reader: status' 123 "$status"
equal 'crash, a slow reader: bytes' 204800 "$(text crash.out)"
equal 'crash, a slow reader: of what was lost' 0 "$(grep -c "^$lost" "$tmp/crash.err" || true)"


# Once the machine is gone a signal has nothing to wait for.
unread gone -- sh -c 'dd if=/dev/zero bs=1k count=200 2>/dev/null & sleep 1; echo c >/proc/sysrq-trigger; sleep 100'
wait_for ended || true
kill -TERM "$pid"
got=0
wait "$pid" || got=$?
equal 'a signal after the end: status' 143 "$got"
nothing_left 'all of these'
finish
