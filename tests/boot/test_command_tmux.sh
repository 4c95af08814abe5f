#!/usr/bin/env bash
# An interactive vmm -- sh under tmux behaves as a shell here does: job control, a full-screen editor, sizes, and the terminal
# afterwards.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
command -v tmux >/dev/null || skip 'no tmux (Debian: tmux)'
enter_lab cloud
begin_command

tmux_() {
	tmux -S "$tmp/tmux" -f /dev/null "$@"
}

# keys WORD... - each is a key's name, or text
keys() {
	tmux_ send-keys -t pane "$@"
}

# type_ LINE
type_() {
	keys -l "$1"
	keys Enter
}

screen() {
	tmux_ capture-pane -p -t pane
}

# shows WHAT PATTERN [SECONDS] - soon the screen has a line that matches
shows() {
	local since=$EPOCHREALTIME
	until grep -qE -- "$2" <(screen); do
		if [ "$(ms_since "$since")" -gt $((${3:-40} * 1000)) ]; then
			fail "$1" "no /$2/ on the screen: $(screen)"
			return 0
		fi
		sleep 0.1
	done
	ok "$1" "$2"
}

# Locally there is a shell with job control, as there is for a user.
undo+=('tmux_ kill-server')
tmux_ new-session -d -s pane -x 90 -y 25 "exec env 'PS1=host> ' bash --noprofile --norc"
shows 'a local shell' '^host>'
type_ "stty -g >$tmp/before; ${user[*]} $vmm ${options[*]} --root $tmp/root --env PS1='guest> ' -- sh; echo \"ended \$?\"; stty -g >$tmp/after"
shows 'a shell of the guest' '^guest>' 60
type_ 'stty size'
shows 'its size' '^25 90'

# ---- job control ----

type_ 'sleep 1000'
keys C-z
shows 'Ctrl-Z' '\[1\]\+ +Stopped +sleep 1000'
type_ 'fg'
shows 'fg' '^sleep 1000'
keys C-c
type_ 'echo "fg $?"'
shows 'Ctrl-C' '^fg 130'
type_ 'clear; sleep 1000'
keys C-z
shows 'Ctrl-Z again' '\[1\]\+ +Stopped +sleep 1000'
type_ 'bg; jobs'
shows 'bg' '\[1\]\+ +Running +sleep 1000'
type_ 'kill %1; wait %1; echo "bg $?"'
shows 'the end of a job in the background' '^bg 143'

# ---- an editor, and another size while it runs ----

type_ 'vi /tmp/file'
shows 'vi: a full screen' '/tmp/file.* 1/1'
keys i
type_ 'one'
keys -l 'two'
keys Escape
shows 'vi: what was typed' '^two'
equal 'vi: lines without text' 22 "$(screen | grep -c '^~')"
tmux_ resize-window -t pane -x 70 -y 20
sleep 1
keys C-l
shows 'vi: the status is in the last line' '/tmp/file.* 2/2'
equal 'vi: the screen has become smaller' 17 "$(screen | grep -c '^~')"
keys k
keys x
type_ ':wq'
shows 'vi: ends' '^guest>'
type_ 'cat /tmp/file; stty size'
shows 'vi: the file' '^on$'
shows 'the new size' '^20 70'

# ---- the end ----

type_ 'exit 5'
shows 'the status' '^ended 5'
equal 'the terminal afterwards' "$(text before)" "$(text after)"
type_ 'echo local'
shows 'the local shell goes on' '^local'
nothing_left 'afterwards'
finish
