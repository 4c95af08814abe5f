#!/usr/bin/env bash
# The bench's statistics and pictures, on results that are known.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../bench"

failures=0
# equal WHAT WANT GOT
equal() {
	[ "$2" = "$3" ] || {
		echo "$1 is '$3', not '$2'"
		failures=$((failures + 1))
	}
}

# summary CASE PEER FIELD... - of the results on standard input; numbers with three digits
summary() {
	awk -f stats.awk | awk -F '\t' -v name="$1" -v peer="$2" -v fields="${*:3}" '
		$1 == name && $2 == peer {
			for (i = 1; i <= split(fields, list, " "); i++)
				printf "%s%s", (i > 1 ? " " : ""), ($list[i] ~ /^-?[0-9.]+$/ ? sprintf("%.3g", $list[i]) : $list[i])
			print ""
		}'
}

# results CASE BETTER SPIN PEER VALUE... - a peer's values, round by round
results() {
	local name=$1 better=$2 spin=$3 peer=$4 round=0 value
	shift 4
	printf 'case\t%s\tunit\t%s\ttitle\n' "$name" "$better"
	for value; do
		round=$((round + 1))
		[ "$value" = - ] || printf 'run\t%s\t%s\t%s\t%s\t%s\n' "$name" $round "$peer" "$value" "$spin"
	done
}

seven=$(results a lower 1000 vmm 1 2 1 2 1 2 1 && results a lower 1000 other 3 4 2.5 9 2 2 7 | grep -v ^case)
equal 'what is said of seven rounds' '7 2 3 2.5 1 7 98.4 7 0' "$(summary a other 3 4 5 6 7 8 9 10 11 <<<"$seven")"
equal 'what is said of ours' '7 1 1 - - - - - 0' "$(summary a vmm 3 4 5 6 7 8 9 10 11 <<<"$seven")"
# The order of lines does not matter, nor do rounds in which one is missing.
equal 'seven rounds, in another order' '2.5' "$(sort -r <<<"$seven" | summary a other 6)"
equal 'rounds of both' '2 1' "$({ results a lower 1000 vmm 1 - 2 && results a lower 1000 other 2 4 - | grep -v ^case; } |
	summary a other 6 10)"
equal 'an even number of values' 2.5 "$(results a lower 1000 vmm 4 1 3 2 | summary a vmm 5)"
equal 'more is better' '4 8 0.625' "$({ results a higher 1000 vmm 1 4 && results a higher 1000 other 4 4 8 | grep -v ^case; } |
	summary a other 5 4 6)"

# Of 20 ratios 1 to 20 the interval is from the 6th to the 15th, with 95.9 %; of 200 from the 86th to the 115th, with 96 %.
mapfile -t ones < <(yes 1 | head -n 200)
mapfile -t numbers < <(seq 200)
equal 'twenty rounds' '10.5 6 15 95.9' "$({ results a lower 1000 vmm "${ones[@]:0:20}" &&
	results a lower 1000 other "${numbers[@]:0:20}" | grep -v ^case; } | summary a other 6 7 8 9)"
equal 'two hundred rounds' '100 86 115 96' "$({ results a lower 1000 vmm "${ones[@]}" &&
	results a lower 1000 other "${numbers[@]}" | grep -v ^case; } | summary a other 6 7 8 9)"
# Six are the first for which there is such an interval, their range; of five and one the range is given for what it is.
equal 'six rounds' '1 6 96.9' "$({ results a lower 1000 vmm 1 1 1 1 1 1 && results a lower 1000 other 6 5 4 3 2 1 | grep -v ^case; } |
	summary a other 7 8 9)"
equal 'five rounds' '1 5 93.8' "$({ results a lower 1000 vmm 1 1 1 1 1 && results a lower 1000 other 5 4 3 2 1 | grep -v ^case; } |
	summary a other 7 8 9)"
equal 'one round' '3 3 3 0' "$({ results a lower 1000 vmm 1 && results a lower 1000 other 3 | grep -v ^case; } | summary a other 6 7 8 9)"

# The eighth round was disturbed while the peer ran: both lose it, and another case's rounds do not.
eight=$(results a lower 1000 vmm 1 1 1 1 1 1 1 1 && results a lower 1299 other 2 2 2 2 2 2 2 - | grep -v ^case &&
	printf 'run\ta\t8\tother\t50\t1400\n' && results b lower 1000 vmm 1 1 1 1 1 1 1 1)
equal 'a disturbed round' '7 2 2 7 1' "$(summary a other 3 5 8 10 11 <<<"$eight")"
equal 'a disturbed round, ours' '7 1' "$(summary a vmm 3 11 <<<"$eight")"
equal 'no disturbed round' '8 0' "$(summary b vmm 3 11 <<<"$eight")"
# When too little would be left, all is used and said to be disturbed.
equal 'everything disturbed' '5 -4' "$({ results a lower 1000 vmm 1 && results a lower 9000 vmm - 1 1 1 1 | grep -v ^case; } |
	summary a vmm 3 11)"

# What was counted is judged by its best values.
equal 'counted values' '1.5 0.8 1.5 0 2 3' "$({ results a lower 0 vmm 2 5 && results a lower 0 other 3 4 | grep -v ^case; } |
	summary a other 6 7 8 9 10 12)"
equal 'counted values, ours' '3.5 2' "$(results a lower 0 vmm 2 5 | summary a vmm 5 12)"

# xml FILE WHAT - each element is closed in its order, and no number is missing
xml() {
	equal "$2: broken" '' "$(sed 's/></>\n</g' "$1" | awk '
		/nan|inf[^o]/ { print "a number is missing: " $0 }
		/^<[a-z][^>]*[^\/]>/ && !/<\/[a-z]+>$/ { match($0, /^<[a-z]+/); open[++depth] = substr($0, 2, RLENGTH - 1) }
		/^<\/[a-z]+>/ { match($0, /[a-z]+/); if (open[depth--] != substr($0, RSTART, RLENGTH)) print "closes " $0 }
		END { if (depth) print "stays open: " open[depth] }')"
}
picture=$(mktemp)
trap 'rm -f "$picture"' EXIT

printf 'First & last\tvmm\t0.5\nFirst & last\tkvmtool\t1\nSecond\tvmm\t0.25\n' |
	awk -v title='A title' -v unit='a unit' -f svg.awk -f svg_bars.awk >"$picture"
xml "$picture" 'the bars'
equal 'bars' 3 "$(grep -c 'class="bar"' "$picture")"
mapfile -t widths < <(sed -n 's/.*class="bar".* width="\([0-9]*\).*/\1/p' "$picture")
equal 'the ratio of two bars' 2 $(((widths[1] + 1) / widths[0]))
for text in 'A title' 'a unit' 'First &amp; last' Second vmm kvmtool; do
	grep -q -- "$text" "$picture" || equal "'$text' in the bars" there missing
done

printf 'vmm\t1\t10\nvmm\t2\t20\nkvmtool\t1\t30\nkvmtool\t4\t30\n' |
	awk -v title='A title' -v unit='a unit' -v label='a label' -f svg.awk -f svg_lines.awk >"$picture"
xml "$picture" 'the lines'
equal 'lines' 2 "$(grep -c '<polyline' "$picture")"
equal 'points' 4 "$(grep -c 'class="point"' "$picture")"
for text in 'A title' 'a unit' 'a label' vmm kvmtool; do
	grep -q -- "$text" "$picture" || equal "'$text' in the lines" there missing
done
[ $failures = 0 ]
