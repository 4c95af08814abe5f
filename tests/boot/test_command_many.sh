#!/usr/bin/env bash
# Commands side by side, each with its own status; and vmm interrupted at any moment: nothing is left, whatever it was doing.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
enter_lab cloud
begin_command
side_by_side=${MANY:-8}
interrupted=${INTERRUPTED:-16}

many=()
for ((i = 1; i <= side_by_side; i++)); do
	"${user[@]}" "$vmm" "${options[@]}" --memory 96 --root "$tmp/root" -- sh -c "cat; exit $i" <<<"$i" >"$tmp/many.$i" 2>&1 &
	children[$!]=many
	many+=($!)
done
right=0
for ((i = 1; i <= side_by_side; i++)); do
	got=0
	wait "${many[i - 1]}" || got=$?
	unset "children[${many[i - 1]}]"
	[ "$got $(<"$tmp/many.$i")" != "$i $i" ] && echo "number $i: status $got, $(text "many.$i")" || right=$((right + 1))
done
equal 'side by side: right statuses and outputs' "$side_by_side" "$right"
nothing_left 'side by side'

# At moments that are spread over a whole run, whose length the first one tells.
since=$EPOCHREALTIME
run whole --root "$tmp/root" -- sh -c 'echo out; cat /bin/busybox | sha256sum; sleep 0.2'
equal 'a whole run' 0 "$status"
length=$(ms_since "$since")
stopped=0
for ((i = 0; i < interrupted; i++)); do
	"${user[@]}" "$vmm" "${options[@]}" --root "$tmp/root" -- sh -c 'echo out; cat /bin/busybox | sha256sum; sleep 0.2' \
		</dev/null >"$tmp/stopped" 2>&1 &
	pid=$!
	children[$pid]=interrupted
	at=$((length * i / interrupted + RANDOM % (length / interrupted + 1)))
	sleep "$((at / 1000)).$(printf %03d $((at % 1000)))"
	case $((i % 3)) in
	0) signal=TERM ;;
	1) signal=HUP ;;
	2) signal=KILL ;;
	esac
	kill -$signal "$pid" 2>/dev/null || true
	got=0
	wait "$pid" || got=$?
	unset "children[$pid]"
	case $got in
	0 | 129 | 137 | 143) stopped=$((stopped + 1)) ;;
	*) echo "at $at ms, by $signal: status $got, $(text stopped)" ;;
	esac
done
equal 'interrupted: statuses' "$interrupted" "$stopped"
nothing_left 'interrupted'
finish
