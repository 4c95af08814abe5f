#!/usr/bin/env bash
# vmm -- sh on a terminal: it is one in the guest, with job control, sizes, keys and full-screen programs; and the terminal's
# modes are as they were, however it ends.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
enter_lab cloud
begin_command

# session NAME SCRIPT - runs SCRIPT on a new terminal, to which type_ writes; what is on its screen is NAME.screen
session() {
	mkfifo "$tmp/$1.keys"
	cat >"$tmp/$1.sh" <<-END
		tty >"$tmp/$1.tty"
		stty rows 33 cols 111
		stty -g >"$tmp/$1.before"
		vmm_() { ${user[*]} "$vmm" ${options[*]} "\$@"; }
		$2
		echo "\$?" >"$tmp/$1.status"
		stty -g >"$tmp/$1.after"
	END
	: >"$tmp/$1.screen"
	chmod 666 "$tmp/$1.screen"
	(cd "$tmp" && exec script -qefc "bash $tmp/$1.sh" "$tmp/$1.screen" <"$tmp/$1.keys" >/dev/null 2>&1) &
	children[$!]=$1
	pids[$1]=$!
	exec 6<>"$tmp/$1.keys"
	current=$1
}

type_() {
	printf '%b' "$1" >&6
}

# shows TEXT [SECONDS] - the screen has a line that ends with it
shows() {
	local since=$EPOCHREALTIME
	until tr '\r' '\n' <"$tmp/$current.screen" | grep -- "$1\$" >/dev/null; do
		if [ "$(ms_since "$since")" -gt $((${2:-40} * 1000)) ]; then
			fail "$current: shows '$1'" "not; the last lines are: $(tail -n 5 "$tmp/$current.screen" | tr -d '\r')"
			return 0
		fi
		sleep 0.1
	done
	ok "$current: shows" "$1"
}

# closed STATUS - the session has ended, and the terminal is as it was
closed() {
	local since=$EPOCHREALTIME
	while [ -e "/proc/${pids[$current]}/exe" ] && [ "$(ms_since "$since")" -lt 40000 ]; do sleep 0.1; done
	kill -KILL "${pids[$current]}" 2>/dev/null || true
	wait "${pids[$current]}" || true
	unset "children[${pids[$current]}]"
	exec 6>&-
	equal "$current: status" "$1" "$(text "$current.status")"
	equal "$current: the terminal afterwards" "$(text "$current.before")" "$(text "$current.after")"
}

session shell "vmm_ --root $tmp/root --env 'PS1=> ' -- sh"
shows '^> .*' 60
type_ 'tty; stty size\n'
shows '^/dev/pts/0'
shows '^33 111'
check 'raw while it runs' "$(stty -F "$(<"$tmp/shell.tty")" -a | grep -o '.icanon')" \
	grep -q -- '-icanon' <(stty -F "$(<"$tmp/shell.tty")" -a)
stty -F "$(<"$tmp/shell.tty")" rows 44 cols 99
type_ 'sleep 1; stty size\n'
shows '^44 99'
type_ 'sleep 1000\n'
sleep 0.5
type_ '\003'
type_ 'echo interrupted $?\n'
shows '^interrupted 130'
type_ 'sleep 1000\n'
sleep 0.5
type_ '\032'
shows 'Stopped.*sleep 1000'
type_ 'kill -KILL %1; echo killed\n'
shows '^killed'
type_ 'vi /tmp/file\n'
sleep 1
type_ 'ihello vi\033'
sleep 0.5 # else it is the beginning of a key
type_ ':wq\n'
sleep 0.5
type_ 'cat /tmp/file; exit 5\n'
shows '^hello vi'
closed 5

# Stopped from outside and continued, politely and not: the shell's modes in between, raw ones again, and the size of then.
session stopped "set -m; vmm_ --root $tmp/root --env 'PS1=> ' -- sh
		stty -g >$tmp/stopped.between; stty rows 55 cols 77; echo it stands; read -r line; fg
		stty \$(cat $tmp/stopped.before); echo it stands again; read -r line; fg"
shows '^> .*' 60
pid=$(pgrep -x vmm)
kill -TSTP "$pid"
shows 'it stands'
equal 'stopped: the modes in between' "$(text stopped.before)" "$(text stopped.between)"
type_ '\n'
shows '--boot-timeout .*' # as fg names it
type_ 'stty size\n'
shows '^55 77'
kill -STOP "$pid"
shows 'it stands again'
type_ '\n'
sleep 1
check 'stopped: raw again' "$(stty -F "$(<"$tmp/stopped.tty")" -a | grep -o '.icanon')" \
	grep -q -- '-icanon' <(stty -F "$(<"$tmp/stopped.tty")" -a)
type_ 'exit 6\n'
closed 6

# Standard error elsewhere; output elsewhere; the end of a line-wise input.
session streams "vmm_ --root $tmp/root -- sh -c 'tty; echo e >&2; test -t 2' 2>$tmp/streams.errors; echo \"first \$?\"
		vmm_ --root $tmp/root -- tty </dev/tty | cat
		vmm_ --root $tmp/root -- sh -c 'echo listening >&2; cat' >$tmp/streams.cat"
shows '^/dev/pts/0' 60
shows '^first 1'
equal 'streams: errors' e "$(text streams.errors)"
shows '^not a tty' 60
# Not before: the one that has just run reads the terminal, too, until it has ended.
shows '^listening' 60
type_ 'a line\n\004'
closed 0
equal 'streams: lines' 'a line' "$(text streams.cat)"

# Ctrl-] is a key like others, but for two of them and a third key within a second, which reach vmm beside a guest that hears
# nothing.
session deaf "vmm_ --dump-guest $tmp/deaf.core --root $tmp/root -- sh -c 'stty raw -echo; echo ready; cat -v'"
shows '^ready' 60
type_ '\035\n'
shows '^\^\]'
type_ '\035\035'
sleep 3
type_ '\035x\035\035y\n'
shows '^\^\]\^\]\^\]x\^\]\^\]y'
type_ '\035\035d\n'
shows 'vCPU 0 .*its last exit: .*'
shows '^\^\]\^\]d'
type_ '\035\035h\n'
shows 'Ctrl-\] twice.*'
type_ '\035\035c\n'
shows 'a dump of the guest was written.*'
check 'deaf: the dump is one' "$(head -c 4 "$tmp/deaf.core" | od -An -c)" matches "$(od -An -tx1 -N4 "$tmp/deaf.core")" '*7f 45 4c 46*'
shows '^\^\]\^\]c'
type_ '\035\035\035'
shows 'the machine was ended (Ctrl-\] three times)'
closed 130

# Ctrl-C before there is a command, and a terminal that hangs up.
session early "trap : INT; vmm_ --root $tmp/root -- sh"
sleep 1.5
type_ '\003'
closed 130

session hangup "vmm_ --root $tmp/root --env 'PS1=> ' -- sh -c 'trap \"\" INT; echo ready; sleep 1000'"
shows '^ready' 60
kill -KILL "${pids[hangup]}"
wait "${pids[hangup]}" || true
unset "children[${pids[hangup]}]"
exec 6>&-
for _ in {1..100}; do
	[ -n "$(pgrep -x vmm)" ] || break
	sleep 0.1
done
nothing_left 'a terminal that has hung up'
finish
