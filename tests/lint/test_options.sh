#!/usr/bin/env bash
# The parser, --help and the manual agree: each option and each item of a list that the parser knows is in both, with its
# default, and both have none that it does not know.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:?usage: $0 BUILD-DIR}
vmm=$build/bin/vmm
manual=docs/vmm.1
if [ ! -x "$vmm" ]; then
	echo "skipped: there is no $vmm"
	exit 77
fi

bad=0
complain() {
	echo "$*"
	bad=1
}

# shellcheck source=tests/lint/parser.sh
. tests/lint/parser.sh

# ---- help all, which has all that --help has: "  --option", "      ,item ,item"; what follows belongs to them ----

help_options() {
	echo help
	echo version
	"$vmm" help all | sed -n '/^  --/p' | grep -oE -- '--[a-z-]+' | cut -c3-
}

# help_items LIST
help_items() {
	"$vmm" help all | awk -v list="$1" '
		/^  --/ {
			mine = $1 == "--" list
			# the places of a console are in the line itself
			if (mine && list == "console") {
				gsub(/[][]/, "", $2)
				gsub(/,/, "|", $2)
				n = split($2, words, "|")
				for (i = 1; i <= n; i++)
					print words[i]
			}
		}
		mine && /^      ,/ {
			for (i = 1; $i ~ /^,/; i++)
				print substr($i, 2)
		}' | sed 's/[=[].*//' | sort -u
}

# help_without_default - options and items
help_without_default() {
	"$vmm" help all | awk '
		function finish() { if (name && text !~ /default|required/) print name }
		/^$/ || /^[^ ]/ { finish(); name = "" }
		/^  --/ || /^      ,/ { finish(); name = $1; text = "" }
		name { text = text $0 }' | grep -v -- '^--help' || true
}

# ---- the manual: ".It Fl \-option", and within it ".It Cm item" ----

# manual_part FIRST LAST - the lines from one section to another
manual_part() {
	sed -n "/^\.S[hs] $1/,/^\.S[hs] $2/p" "$manual"
}

# A section that tells of what is refused is no documentation of it.
manual_mentions() {
	sed '/^\.Sh CAVEATS/,/^\.Sh/d; /^\.Sh COMMANDS/,/^\.Sh/d' "$manual" | sed '/doctor/d' | grep -oE 'Fl \\-[a-z-]+' | sed 's/^Fl ..//' | grep -v '^$' | sort -u
}

# manual_items LIST
manual_items() {
	manual_part Kernel 'KERNEL COMMAND LINE' | awk -v list="$1" '
		/^\.It Fl/ { mine = $3 == "\\-" list }
		mine && /^\.It/ {
			for (i = 2; i < NF; i++)
				if ($i == "Cm" && $(i - 1) != "Ns" && $(i - 1) !~ /^[|]/)
					print $(i + 1)
		}
		mine && list == "console" && /^\.Cm virtio\\&,/ { print "virtio" }' | sed 's/=.*//' | sort -u
}

# What stands in one list under several names has one default. The places of a console have the one of --console.
manual_without_default() {
	manual_part Kernel 'KERNEL COMMAND LINE' | awk '
		function finish() { if (name && text !~ /[Dd]efault|Required/) print name }
		/^\.It Fl/ { option = $3 }
		/^\.It/ {
			if (!again) { finish(); name = ""; text = "" }
			if ($2 == "Fl" || option != "\\-console") name = name " " $0
			again = 1
			next
		}
		{ again = 0; text = text " " $0 }
		END { finish() }' | grep -vE 'Fl .-(help|version)$' || true
}

# ---- the comparison ----

# compare WHAT KNOWN-WORDS SHOWN-WORDS WHERE
compare() {
	local missing
	missing=$(comm -23 <(sort -u <<<"$2") <(sort -u <<<"$3") | tr '\n' ' ')
	[ -z "$missing" ] || complain "$1 that the parser knows, but not $4: $missing"
}

options=$(parser_options)
[ "$(wc -l <<<"$options")" -ge 20 ] || complain "only $(wc -l <<<"$options") options found: the lint is broken"
synopsis=$(manual_part SYNOPSIS DESCRIPTION | grep -oE 'Fl \\-[a-z-]+' | sed 's/^Fl ..//')
described=$(manual_part Kernel 'KERNEL COMMAND LINE' | sed -n 's/^\.It Fl \\-\([a-z-]*\).*/\1/p')
compare options "$options" "$(help_options)" '--help'
compare options "$options" "$synopsis" "the manual's synopsis"
compare options "$options" "$described" 'the manual'
for name in $(help_options) $(manual_mentions); do
	knows_option "$name" || complain "--$name is documented, but the parser refuses it"
done

count=0
for list in $lists; do
	items=$(parser_items "$list")
	count=$((count + $(wc -w <<<"$items")))
	compare "items of --$list" "$items" "$(help_items "$list")" '--help'
	compare "items of --$list" "$items" "$(manual_items "$list")" 'the manual'
	for name in $(help_items "$list") $(manual_items "$list"); do
		knows_item "$list" "$name" || complain "'$name' of --$list is documented, but the parser refuses it"
	done
done
[ "$count" -ge 35 ] || complain "only $count items found: the lint is broken"

while read -r name; do
	[ -z "$name" ] || complain "no default in --help: $name"
done <<<"$(help_without_default)"
while read -r name; do
	[ -z "$name" ] || complain "no default in the manual: $name"
done <<<"$(manual_without_default)"
exit $bad
