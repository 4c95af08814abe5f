# Common functions of the bench; sourced, not run. Results are lines of words separated by tabs, in $data/GROUP.tsv:
#
#   fact NAME VALUE                         about the machine, the programs and the command
#   case CASE UNIT lower|higher TITLE       what is measured, and which is better
#   run CASE ROUND PEER VALUE SPIN          one value; SPIN is the time of a fixed loop just before, 0 where that says nothing
#   begin RUN ROUND PEER                    a run has begun; only while a group is measured
#   fail RUN ROUND PEER WHY                 a run that gave no values
#   missing PEER WHY                        a peer that is not measured at all
#
# A peer is a program in one of its configurations (peers.sh). A run is one start of a peer; it gives a value to one case or
# to several. stats.awk makes the summary, report.sh what people read.
# shellcheck shell=bash disable=SC2034,SC2154

bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../guest-images/lib.sh
. "$bench/../../guest-images/lib.sh"

group='' # that is measured
data=''  # where results go

# note KIND WORD... - a line of results
note() {
	local line
	printf -v line '%s\t' "$@"
	echo "${line%?}" >>"$data/$group.tsv"
}

# ---- what a group measures ----

runs=()
declare -A peers_of=() # by run
declare -A failed=()   # by run and peer: how often in a row

# add_run RUN PEER... - those peers that are installed
add_run() {
	local run=$1 peer present=()
	shift
	for peer; do
		! installed "$peer" || present+=("$peer")
	done
	runs+=("$run")
	peers_of[$run]=${present[*]}
}

# describe CASE UNIT lower|higher TITLE
describe() {
	has case "$@" || note case "$@"
}

# has KIND WORD... - an earlier machine, that hung, may have noted that
has() {
	local line
	printf -v line '%s\t' "$@"
	grep -qsxF -e "${line%?}" "$data/$group.tsv"
}

# ---- rounds ----

# shuffle WORD... - sets $shuffled
shuffle() {
	local i j word
	shuffled=("$@")
	for ((i = $# - 1; i > 0; i--)); do
		j=$((RANDOM % (i + 1)))
		word=${shuffled[i]} shuffled[i]=${shuffled[j]} shuffled[j]=$word
	done
}

# record CASE VALUE
record() {
	note run "$1" "$round" "$peer" "$2" "$spin"
}

# one_run RUN PEER - a peer that fails three times in a row is left alone
one_run() {
	local run=$1 peer=$2 spin=0 why=''
	[ "${failed[$run $peer]-0}" -lt 3 ] || return 0
	! has begin "$run" "$round" "$peer" || return 0
	note begin "$run" "$round" "$peer"
	if "${group}_measure" "$run" "$peer"; then
		failed[$run $peer]=0
	else
		note fail "$run" "$round" "$peer" "${why:-no result}"
		failed[$run $peer]=$((${failed[$run $peer]-0} + 1))
	fi
}

# measure_rounds NUMBER - in each round each run once by each of its peers, in an order of that round. All runs come before the
# next round, so that a group that is cut off has fewer rounds of everything, and not some things alone.
measure_rounds() {
	local round run peer shuffled
	for ((round = 1; round <= $1; round++)); do
		for run in "${runs[@]}"; do
			shuffle ${peers_of[$run]}
			for peer in "${shuffled[@]}"; do
				one_run "$run" "$peer"
			done
		done
	done
}

# ---- one run ----

limit=60   # seconds that a run may take
counted='' # the clock counts instructions; nothing disturbs it

# time_peer PEER TEXT [COPIES] - runs the machine that the variables of peers.sh describe until it ends. TEXT has to show in its
# output, which is kept in $place/out. Sets $first, $seen, $ended and $used (CPU time), in nanoseconds, and $spin; or $why.
time_peer() {
	local numbers status=0
	"${1%%-*}_command" "$1" # sets $command
	numbers=$(LD_LIBRARY_PATH=$place/lib HOME=$place "$place/stopwatch" -t "$limit" -u "$2" -n "${3:-1}" -o "$place/out" \
		"${command[@]}" 2>"$place/err") || status=$?
	read -r first seen ended used spin <<<"$numbers"
	[ -z "$counted" ] || spin=0
	# A clock that leaps may pass the limit and the end at once.
	[ "${ended:-0}" -le $((limit * 1000000000)) ] || status=124
	case $status in
	0) return 0 ;;
	1) why="says: $(last_words)" ;;
	124) why="does not end within $limit s; says: $(last_words)" ;;
	*) why="cannot be started: $(last_words)" ;;
	esac
	return 1
}

# What a run that failed said, for people: the line with its error, or else its last one.
last_words() {
	local line last=nothing error=
	while read -r line || [ -n "$line" ]; do
		line=${line//[^[:print:]]/}
		[[ $line != *[[:alnum:]]* ]] || last=${line//$place\//}
		[[ -n $error || $line != *[Ee]rror:* ]] || error=$last
	done < <(cat "$place/out" "$place/err" 2>/dev/null)
	last=${error:-$last}
	echo "${last:0:160}"
}

# million NANOSECONDS - as thousandths, by bash's own arithmetic: 1234567 gives 1.234
million() {
	printf '%d.%03d\n' $(($1 / 1000000)) $(($1 / 1000 % 1000))
}
