#!/usr/bin/env bash
# The completions of bash, zsh and fish know each option, item and topic that there is, and none else; and bash's works.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
build=${1:?usage: $0 BUILD-DIR}
vmm=$build/bin/vmm
if [ ! -x "$vmm" ]; then
	echo "skipped: there is no $vmm"
	exit 77
fi
# shellcheck source=tests/lint/parser.sh
. tests/lint/parser.sh

bad=0
complain() {
	echo "$*"
	bad=1
}
here=vmm/cli/completions

# shown_options SHELL - but for those of the commands
shown_options() {
	case $1 in
	bash) sed -n "/local options='/,/'\$/p" $here/vmm.bash | grep -oE -- '--[a-z-]+' ;;
	zsh) sed -n '/^local -a options/,/^)/p' $here/_vmm | grep -oE -- '--[a-z-]+[=[]' | tr -d '=[' ;;
	fish) grep '^complete' $here/vmm.fish | grep -oE -- ' -l [a-z-]+' | grep -v json | sed 's/ -l /--/' ;;
	esac | sort -u
}

# shown_items FILE LIST - the line with the list's name has them between quotes
shown_items() {
	sed -nE "s/^[[:space:]]*(case )?$2[); ][^']*'([^']*)'.*/\\2/p" "$1" | tr ' ' '\n' | sed 's/=.*//' | sort -u
}

# compare WHAT WANTED SHOWN
compare() {
	[ "$2" = "$3" ] || complain "$1: $(diff <(echo "$2") <(echo "$3") | grep '^[<>]' | tr '\n' ' ') (<: missing, >: too many)"
}

options=$(parser_options | sed 's/^/--/' | sort -u)
[ "$(wc -l <<<"$options")" -ge 20 ] || complain 'too few options found: the lint is broken'
topics=$("$vmm" --help | sed -n 's/^ \(.* all\)$/\1/p')
for shell in bash zsh fish; do
	case $shell in
	bash) file=$here/vmm.bash ;;
	zsh) file=$here/_vmm ;;
	fish) file=$here/vmm.fish ;;
	esac
	compare "options in $file" "$options" "$(shown_options $shell)"
	for list in $lists; do
		compare "items of --$list in $file" "$(parser_items "$list")" "$(shown_items $file "$list")"
	done
	grep -qF "$topics" $file || complain "$file does not have the topics of vmm help: $topics"
	if ! command -v $shell >/dev/null; then
		echo "note: $shell is not installed, which would check $file"
	elif ! $shell -n $file; then
		complain "$file: $shell finds errors"
	fi
done

# ---- bash's in use ----

# completes WANTED WORD... - what it offers for the last of the words, as one line
completes() {
	local want=$1 got
	shift
	got=$(bash -c '
		compopt() { :; }
		. "$1"
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
		_vmm
		echo "${COMPREPLY[*]}"' bash $here/vmm.bash "$@")
	[ "$got" = "$want" ] || complain "bash completes '$*' with '$got', not '$want'"
}
completes '--kernel --kernel-cache' vmm --kern
completes 'doctor' vmm doc
completes '' vmm --cpus 2 doc
completes 'README.md' vmm --root d -- READ
completes 'd,mounts' vmm --root d,m
completes 'on off' vmm --kaslr ''
completes 'off' vmm --kaslr = of
completes 'README.md' vmm --disk READM
completes 'x,readonly' vmm --disk x,r
completes 'x,direct,serial=' vmm --disk x,direct,s
completes '--json' vmm doctor --j
completes 'machine' vmm help mac
completes '' vmm --cpus ''
# Words come in pieces.
completes 'raw' vmm --disk x,format = r
completes 'README.md' vmm --disk x,overlay = READ
completes 'README.md' vmm --console = file = READ
completes '3,socket=' vmm --vsock cid = 3,s
completes 't0,queues=' vmm --net tap = t0,q
completes 'README.md' vmm --root docker-archive : READ
completes 'a,mounts' vmm --root docker-archive : a,m
completes 'ro rw' vmm --share d : /x : ''
completes '/x,cache=always' vmm --share d : /x,cache=al
completes 'off' vmm --net user,vhost = of
completes 'user,forward=tcp:1:2,forward=tcp: user,forward=tcp:1:2,forward=udp:' vmm --net user,forward=tcp:1:2,f
completes '' vmm --console virtio,v
completes '' vmm --net tap =
completes 'ls' vmm image --image-cache d l
completes 'd,size=' vmm --image-cache d,s
completes 'README.md' vmm --image-cache READ
completes 'README.md' vmm image build READ
blanks=$(mktemp -d)
touch "$blanks/blank "
completes "$blanks/blank " vmm --kernel "$blanks/bl"
rm -r "$blanks"

# ---- fish's, which can be asked ----

# fish_completes WANTED LINE
fish_completes() {
	local got
	got=$(fish --no-config -c "source $here/vmm.fish; complete -C '$2'" | cut -f 1 | tr '\n' ' ')
	[ "$got" = "$1" ] || complain "fish completes '$2' with '$got', not '$1'"
}
if command -v fish >/dev/null; then
	fish_completes '--kernel --kernel-cache ' 'vmm --kern'
	fish_completes '--console=virtio ' 'vmm --console=v'
	fish_completes 'x,queues= ' 'vmm --disk x,q'
	fish_completes 'machine ' 'vmm help mac'
	fish_completes 'd:/x:ro d:/x:rw ' 'vmm --share d:/x:r'
	fish_completes 'd,size= ' 'vmm --image-cache d,s'
	fish_completes '--help --json --kernel ' 'vmm doctor --'
fi
exit $bad
