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
# run_ KIND - with the root packed or shared; sets $pid
run_() {
	local options=$run_options
	[ $1 = packed ] || options=$run_shared
	env --default-signal=INT,QUIT $run_user "$vmm" $options --root "$tmp/root,$1" -- \
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
run_ packed
wait $pid # and the kernel is in the cache
declare -A lengths
for kind in packed shared; do
	since=${EPOCHREALTIME/[.,]/}
	run_ $kind
	wait $pid || echo "a whole run, $kind: status $?"
	lengths[$kind]=$(((${EPOCHREALTIME/[.,]/} - since) / 1000))
done
kinds=(packed shared)
RANDOM=$seed
ended=0
exec 7<>"$tmp/never"
SECONDS=0 # a slow machine does not do all of them
for ((i = 0; i < interrupted && SECONDS < 300; i++)); do
	signals=(INT 130 TERM 143 KILL 137)
	which=$((RANDOM % 3 * 2))
	signal=${signals[which]}
	kind=${kinds[RANDOM % 2]}
	at=$(((RANDOM << 15 | RANDOM) % lengths[$kind]))
	((i % 8 != 0)) || rm -rf "$tmp/cache/vmm" # so that it is written, too
	run_ $kind
	printf -v seconds '%d.%03d' $((at / 1000)) $((at % 1000))
	read -rt "$seconds" -u 7
	kill -$signal $pid 2>/dev/null
	wait $pid
	status=$?
	case $status in
	0 | 1) ;; # it was too late, or so early that it was not vmm yet
	${signals[which + 1]}) ended=$((ended + 1)) ;;
	*) echo "number $i, $kind, at $at ms, by SIG$signal: status $status: $(<"$tmp/loop.err")" ;;
	esac
	now=$(left)
	[ "$now" = "$left_before" ] || echo "number $i, $kind, at $at ms, by SIG$signal: left: $now"
	# Nobody can do it after SIGKILL.
	if [ $signal = KILL ]; then
		stty "$modes"
	elif [ "$(stty -g)" != "$modes" ]; then
		echo "number $i, $kind, at $at ms, by SIG$signal: the terminal's modes are others"
		stty "$modes"
	fi
done
echo "ended $ended of $i, of ${lengths[*]} ms"
END

# What is shared needs more modules, beside the kernel.
place_kernel cloud "$tmp/place"

mkdir "$tmp/work" "$tmp/run"
mkfifo "$tmp/never"
! is_root || chown 1000 "$tmp/work" "$tmp/run"
export vmm tmp interrupted seed run_user="${user[*]}" run_options="${options[*]} --memory 96" \
	run_shared="--kernel $kernel ${options[*]:4} --memory 96" XDG_RUNTIME_DIR=$tmp/run
note "seed $seed"
script -qefc "bash $tmp/loop.sh >$tmp/found 2>$tmp/killed" /dev/null </dev/null >/dev/null 2>&1 || true
grep -v '^ended' "$tmp/found" || true
equal "$interrupted times, or 300 s" '' "$(grep -v '^ended' "$tmp/found" | cut -d : -f 1 | tr '\n' ' ')"
read -r ended tried < <(sed -n 's/^ended \([0-9]*\) of \([0-9]*\),.*/\1 \2/p' "$tmp/found") || true
note "$(grep '^ended' "$tmp/found") that a run takes"
check 'tried' "${tried:-none} times" [ "${tried:-0}" -ge $((interrupted < 10 ? interrupted : 10)) ]
check 'ended by a signal' "${ended:-none}" [ "${ended:-0}" -ge $((tried / 2)) ]

# What was being written to the cache when vmm was killed, of either kernel, is in nobody's way.
run after --root "$tmp/root" -- true
equal 'a run afterwards' '0 ' "$status $(text after.err)"
options[1]=$kernel
run after --root "$tmp/root" -- true
equal "a run afterwards with the other's kernel" '0 ' "$status $(text after.err)"
names=("$tmp"/cache/vmm/*)
equal 'two kernels are in the cache, and nothing else' '2 2' "${#names[@]} $(printf '%s\n' "${names[@]}" | grep -c '\.vmmkernel$')"
nothing_left 'afterwards'
finish
