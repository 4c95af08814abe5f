# Runs one program on the terminal this is started on, and keeps what became of it in files; sourced.
# shellcheck shell=bash

# session PREFIX PROGRAM... - PREFIX.before, .running and .after hold the terminal's modes, PREFIX.status the status. The
# function "command" runs beside the program, with its process in $pid.
session() {
	local prefix=$1 status=0
	shift
	stty -g >"$prefix.before"
	# The program itself runs in the foreground, as in a user's shell.
	(
		pid=
		for _ in {1..500}; do
			pid=$(pgrep -P $$ -x vmm) && grep -qs '^vmm-vcpu0$' /proc/"$pid"/task/*/comm && break
			sleep 0.02
		done
		stty -g >"$prefix.running"
		command
	) </dev/tty &
	"$@" || status=$?
	stty -g >"$prefix.after"
	stty sane
	echo "$status" >"$prefix.status"
}
