# What the parser knows: names from its sources, and what the program says to them. Sourced, not run, by lints that have set $vmm.
# shellcheck shell=bash

vmm=${vmm:?}
# shellcheck disable=SC2034 # for those who source this
lists='disk net vsock console memory root share image-cache gdb'
source_of() {
	case $1 in
	disk) echo vmm/cli/options_disk.c vmm/cli/options_image.c ;;
	root) echo vmm/cli/options_command.c ;;
	image-cache) echo vmm/cli/options_container.c ;;
	*) echo "vmm/cli/options_$1.c" ;;
	esac
}

# parser_options - of the table, but for those that no version supports yet
parser_options() {
	local name
	sed -n 's/^\t{"\([a-z-]*\)", option_.*/\1/p' vmm/cli/options.c | while read -r name; do
		! knows_option "$name" || echo "$name"
	done
}

# parser_items LIST
parser_items() {
	local word=item
	[ "$1" != console ] || word=value
	# shellcheck disable=SC2046 # two files
	grep -ohE "(value_of|strcmp)\\($word, \"[a-z-]+\"|\{\"[a-z-]+\", *(&|OPTIONS_)" $(source_of "$1") |
		sed 's/[^"]*"\([a-z-]*\)".*/\1/' | sort -u
}

# says WORD... - the one line with which these words are refused; the last one is never right
says() {
	"$vmm" "$@" ++ 2>&1 >/dev/null </dev/null || true
}

knows_option() {
	[[ ! $(says "--$1" x) =~ (unknown option|not supported) ]]
}

# knows_item LIST ITEM - alone or with a value
knows_item() {
	local prefix='' form
	[[ $1 != @(disk|root|image-cache|gdb) ]] || prefix=x,
	[ "$1" != share ] || prefix=x:/y,
	[ "$1" != memory ] || prefix=1G,
	for form in "$2" "$2=1"; do
		[[ $(says "--$1" "$prefix$form") =~ (has no option|--console takes|behind the directory) ]] || return 0
	done
	return 1
}
