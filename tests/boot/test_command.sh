#!/usr/bin/env bash
# vmm -- COMMAND as an ordinary user: streams byte by byte, statuses, signals, what the guest looks like, events.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
enter_lab cloud
begin_command

# ---- streams ----

dd if=/dev/urandom of="$tmp/random" bs=1M count=10 2>/dev/null
stdin=$tmp/random run first --root "$tmp/root" --events "$tmp/events" -- \
	sh -c 'cat > /tmp/x; wc -c < /tmp/x; echo e >&2; exit 42'
equal 'the size on stdout' 10485760 "$(text first.out)"
equal 'e on stderr' e "$(text first.err)"
equal 'the status' 42 "$status"

sum=$(sha256sum <"$tmp/random")
stdin=$tmp/random run both --root "$tmp/root" -- sh -c 'tee /dev/stderr'
equal 'both streams: status' 0 "$status"
equal 'both streams: output' "$sum" "$(sha256sum <"$tmp/both.out")"
equal 'both streams: errors' "$sum" "$(sha256sum <"$tmp/both.err")"

# As of a program that writes to a pipe that nobody reads.
got=0
vmm_ --root "$tmp/root" -- yes </dev/null 2>"$tmp/yes.err" | head -n 1 >"$tmp/yes.out" || got=${PIPESTATUS[0]}
equal 'output that nobody reads: status' 141 "$got"
equal 'output that nobody reads' 'y ' "$(text yes.out) $(text yes.err)"

# What does not arrive is no success.
got=0
vmm_ --root "$tmp/root" -- echo hi </dev/null 2>"$tmp/full.err" >/dev/full || got=$?
equal 'no room for the output: status' 125 "$got"
check 'no room for the output: says' "$(text full.err)" matches "$(text full.err)" 'vmm: cannot write *No space left*'

got=0
vmm_ --root "$tmp/root" -- sh -c 'cat; exit 3' <"$tmp/root" 2>"$tmp/input.err" >"$tmp/input.out" || got=$?
equal 'no input to read: status' 125 "$got"
check 'no input to read: says' "$(text input.err)" matches "$(text input.err)" "vmm: cannot read the command's input: Is a directory"

# As nohup(1) gives it.
got=0
vmm_ --root "$tmp/root" -- sh -c 'cat; exit 3' 0>/dev/null 2>"$tmp/closed.err" >"$tmp/closed.out" || got=$?
equal 'no input at all: status' 3 "$got"
equal 'no input at all: says' '' "$(text closed.err)"

# ---- events ----

steps=$(sed 's/.*"event":"\([a-z-]*\)".*/\1/' "$tmp/events")
equal 'the steps' 'created first-instruction kernel-up init-reached command-started exited ended' "${steps//$'\n'/ }"
check 'lines of JSON' "$(grep -c '^{.*}$' "$tmp/events") of 7" \
	[ "$(grep -cE '^\{"time":[0-9]+\.[0-9]{6},"elapsed":[0-9]+\.[0-9]{6},"event":"[a-z-]+".*\}$' "$tmp/events")" = 7 ]
check 'what the command took' "$(grep exited "$tmp/events")" \
	grep -qE '"status":42,"signal":0,"cpu":[0-9]+\.[0-9]{6},"memory":[1-9][0-9]{5,}\}$' "$tmp/events"
equal 'the end' '"reason":"command","status":42' "$(grep -o '"reason.*42' "$tmp/events")"

# ---- what the command finds ----

run guest --root "$tmp/root" --env A=b --env C -- sh -c '
	hostname; pwd; echo "$A-${C-unset}-$PATH-$HOME-$USER"; tty
	cat /proc/uptime >/dev/null && ls /sys/class >/dev/null && echo mounts
	[ -c /dev/pts/ptmx ] && [ -d /dev/shm ] && [ -L /dev/fd ] && echo dev
	stat -c %a / /tmp /run /dev/shm; ls /; readlink /proc/1/exe
	sh -c "sleep 0.1 & exit 0"; sleep 0.5; ps -o stat,comm | grep -cE "^Z|sleep"'
mapfile -t lines <"$tmp/guest.out"
equal 'the host name' vmm "${lines[0]}"
equal 'the directory' / "${lines[1]}"
equal 'the environment' 'b-unset-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin-/root-root' "${lines[2]}"
equal 'no terminal' 'not a tty' "${lines[3]}"
equal 'file systems' 'mounts dev' "${lines[4]} ${lines[5]}"
equal 'modes' '755 1777 755 1777' "${lines[*]:6:4}"
equal 'the root' 'bin dev etc proc root run sys tmp' "${lines[*]:10:8}"
equal 'an orphan that has ended is reaped' 0 "${lines[-1]}"
equal 'errors' '' "$(text guest.err)"
# subshells would lose $status
mask=$(umask)
umask 027
run mask --root "$tmp/root" -- sh -c ': >/tmp/x; stat -c %a /tmp/x; umask'
umask "$mask"
equal 'the umask of who has started it' '640 | 0027' "$(text mask.out)"
run address --root "$tmp/root" -- sh -c 'date=$(stat -c %Y /proc/self); echo $date; cat /sys/class/net/lo/operstate; exec >&-; sleep 1000 & exit 7'
equal 'a command that leaves others running: status' 7 "$status"
mapfile -t lines <"$tmp/address.out"
check 'the time' "${lines[0]} in the guest" between "${lines[0]}" $((EPOCHSECONDS - 60)) $((EPOCHSECONDS + 5))
equal 'the loopback' unknown "${lines[1]}"

# ---- statuses ----

run 'not found' --root "$tmp/root" -- no-such-program
equal 'not found: status' 127 "$status"
equal 'not found: message' "vmm: cannot run 'no-such-program' in the guest: No such file or directory" "$(text 'not found.err')"
run 'no program' --root "$tmp/root" -- /etc
equal 'no program: status' 126 "$status"
equal 'no program: message' "vmm: cannot run '/etc' in the guest: Permission denied" "$(text 'no program.err')"
run 'killed' --root "$tmp/root" -- sh -c 'kill -KILL $$'
equal 'killed: status' 137 "$status"

# A text that does not say what runs it is the shell's, with all its arguments.
echo 'echo $# $1 ${1000}' >"$tmp/root/bin/text"
chmod +x "$tmp/root/bin/text"
# shellcheck disable=SC2046
run 'text' --root "$tmp/root" -- text $(seq 1000)
equal 'a text: with all its arguments' '1000 1 1000' "$(text text.out)"

# ---- signals ----

# background NAME COMMAND... - sets $pid when its first line was read
background() {
	mkfifo "$tmp/$1.fifo"
	env --default-signal=INT,QUIT "${user[@]}" "$vmm" "${options[@]}" --root "$tmp/root" -- "${@:2}" \
		</dev/null >"$tmp/$1.fifo" 2>"$tmp/$1.err" &
	pid=$!
	children[$pid]=$1
	pids[$1]=$pid
	exec 6<"$tmp/$1.fifo"
	read -r line <&6
}

# ended NAME WANT - its status
ended() {
	local got=0
	wait "${pids[$1]}" || got=$?
	unset "children[${pids[$1]}]"
	equal "$1: status" "$2" "$got"
}

background signals sh -c 'trap "echo hup" HUP; trap "echo usr1" USR1; trap "echo term; exit 9" TERM; echo ready
	while :; do sleep 0.1; done'
equal 'a command that waits for signals' ready "$line"
kill -USR1 "$pid" && read -r line <&6
equal 'SIGUSR1' usr1 "$line"
kill -TERM "$pid" && read -r line <&6
equal 'SIGTERM' term "$line"
ended signals 9

background interrupted sh -c 'echo ready; sleep 1000; echo not here'
kill -INT "$pid"
ended interrupted 130
equal 'SIGINT: nothing more' '' "$(cat <&6)"

# What is for the command alone waits until there is one; what asks it to end may be said again after a while.
background later sh -c 'trap "echo usr2" USR2; trap "echo int" INT; echo ready; while :; do sleep 0.1; done'
equal 'a command that is asked twice' ready "$line"
kill -INT "$pid" && read -r line <&6
equal 'SIGINT' int "$line"
sleep 3
kill -INT "$pid" && read -r line <&6
equal 'SIGINT again' int "$line"
sleep 12
check 'asked twice, 3 s apart: it still runs' "$pid" [ -e "/proc/$pid/exe" ]
for _ in 1 2 3; do
	kill -INT "$pid"
	sleep 0.5
done
ended later 130

"${user[@]}" "$vmm" "${options[@]}" --root "$tmp/root" -- sh -c "while :; do sleep 0.1; done" \
	</dev/null >"$tmp/soon.out" 2>&1 &
pid=$!
children[$pid]=soon pids[soon]=$pid
until [ "$(readlink "/proc/$pid/exe")" = "$vmm" ]; do sleep 0.01; done
sleep 0.2
kill -USR2 "$pid"
ended soon 140
equal 'SIGUSR2 during the boot reaches the command' '' "$(text soon.out)"

background quit sh -c 'trap "echo quit" QUIT; trap "echo hup; exit 3" HUP; echo ready; while :; do sleep 0.1; done'
kill -QUIT "$pid" && read -r line <&6
equal 'SIGQUIT' quit "$line"
kill -HUP "$pid" && read -r line <&6
equal 'SIGHUP' hup "$line"
ended quit 3

# Before there is a command the machine ends.
"${user[@]}" "$vmm" "${options[@]}" --root "$tmp/root" -- true </dev/null >"$tmp/early" 2>&1 &
pid=$!
children[$pid]=early pids[early]=$pid
sleep 0.7
kill -TERM "$pid"
ended early 143

# ---- the time is up ----

run timeout --timeout 7 --root "$tmp/root" -- sh -c 'echo up; sleep 1000'
equal 'timeout: status' 124 "$status"
equal 'timeout: message' 'vmm: the machine was ended after 7.000 s (--timeout)' "$(text timeout.err)"
nothing_left 'all of these'
finish
