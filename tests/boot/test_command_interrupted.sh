#!/usr/bin/env bash
# vmm is interrupted at random moments of a whole run on a terminal, from its start on, by each of three signals: nothing is left,
# whatever it was doing. SEED=N for the same moments again, INTERRUPTED=N for more or fewer.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
enter_lab cloud -- --timeout 570
begin_command
interrupted=${INTERRUPTED:-100}
seed=${SEED:-$((EPOCHSECONDS % 32768))}

# What is run on the terminal. Its process group is the terminal's, or vmm would take itself for a background job.
cat >"$tmp/loop.sh" <<'END'
# run_ - sets $pid
run_() {
	env --default-signal=INT,QUIT $run_user "$vmm" $run_options --root "$tmp/root" -- \
		sh -c 'echo out; sha256sum </bin/busybox; sleep 0.1' </dev/tty >/dev/tty 2>"$tmp/loop.err" &
	pid=$!
}

# left - what is there now and was not before
left() {
	local process
	for process in /proc/[0-9]*; do
		[ ! "$process/exe" -ef "$vmm" ] || echo "process ${process##*/}"
	done
	echo "$tmp"/{work,vmm.d,run}/* /dev/shm/*
	cat /proc/locks
}

shopt -s nullglob dotglob
cd "$tmp/work"
modes=$(stty -g)
left_before=$(left)
run_
wait $pid # and the kernel is in the cache
since=${EPOCHREALTIME/[.,]/}
run_
wait $pid || echo "a whole run: status $?"
length=$(((${EPOCHREALTIME/[.,]/} - since) / 1000))
RANDOM=$seed
ended=0
exec 7<>"$tmp/never"
for ((i = 0; i < interrupted; i++)); do
	signals=(INT 130 TERM 143 KILL 137)
	which=$((RANDOM % 3 * 2))
	signal=${signals[which]}
	at=$(((RANDOM << 15 | RANDOM) % length))
	((i % 8 != 0)) || rm -rf "$tmp/cache/vmm" # so that it is written, too
	run_
	printf -v seconds '%d.%03d' $((at / 1000)) $((at % 1000))
	read -rt "$seconds" -u 7
	kill -$signal $pid 2>/dev/null
	wait $pid
	status=$?
	case $status in
	0 | 1) ;; # it was too late, or so early that it was not vmm yet
	${signals[which + 1]}) ended=$((ended + 1)) ;;
	*) echo "number $i, at $at ms, by SIG$signal: status $status: $(<"$tmp/loop.err")" ;;
	esac
	now=$(left)
	[ "$now" = "$left_before" ] || echo "number $i, at $at ms, by SIG$signal: left: $now"
	# Nobody can do it after SIGKILL.
	if [ $signal = KILL ]; then
		stty "$modes"
	elif [ "$(stty -g)" != "$modes" ]; then
		echo "number $i, at $at ms, by SIG$signal: the terminal's modes are others"
		stty "$modes"
	fi
done
echo "ended $ended of $length ms"
END

mkdir "$tmp/work" "$tmp/run"
mkfifo "$tmp/never"
! is_root || chown 1000 "$tmp/work" "$tmp/run"
export vmm tmp interrupted seed run_user="${user[*]}" run_options="${options[*]} --memory 96" XDG_RUNTIME_DIR=$tmp/run
note "seed $seed"
script -qefc "bash $tmp/loop.sh >$tmp/found 2>$tmp/killed" /dev/null </dev/null >/dev/null 2>&1 || true
grep -v '^ended' "$tmp/found" || true
equal "$interrupted times" '' "$(grep -v '^ended' "$tmp/found" | cut -d : -f 1 | tr '\n' ' ')"
ended=$(sed -n 's/^ended \([0-9]*\) .*/\1/p' "$tmp/found")
note "$(grep '^ended' "$tmp/found") that a run takes"
check 'ended by a signal' "${ended:-none}" [ "${ended:-0}" -ge $((interrupted / 2)) ]

# What was being written to the cache when vmm was killed is in nobody's way.
run after --root "$tmp/root" -- true
equal 'a run afterwards' '0 ' "$status $(text after.err)"
names=("$tmp"/cache/vmm/*)
check 'one kernel is in the cache' "${names[*]##*/}" matches "${names[*]##*/}" '*.vmmkernel'
nothing_left 'afterwards'
finish
