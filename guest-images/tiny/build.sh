#!/bin/sh
# Builds the tiny guests into OUTDIR, as BEHAVIOUR.FORMAT: hello.pvh, hello.elf64, hello.bz64, hello.bz32, ...
set -eu

if [ $# != 1 ]; then
	echo 'usage: build.sh OUTDIR' >&2
	exit 1
fi
out=$1
source=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
scratch=$(mktemp -d "$out/.scratch-XXXXXX")
trap 'rm -rf "$scratch"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# build FORMAT MACRO LINKER-OPTION...
build() {
	format=$1 macro=$2
	shift 2
	for behaviour in poweroff hello cmdline triple halt idle spin flood echo; do
		target=$out/$behaviour.$format
		if [ -e "$target" ] && [ -z "$(find "$source" -newer "$target" -type f)" ]; then
			continue
		fi
		gcc -c "-D$macro" "-DBEHAVIOUR=$behaviour" -o "$scratch/guest.o" "$source/tiny.S"
		ld "$@" -z noexecstack -o "$scratch/guest" "$scratch/guest.o"
		mv "$scratch/guest" "$target"
	done
}

build pvh PVH -n -T "$source/pvh.lds"
build elf64 ELF64 -n -T "$source/elf64.lds"
build bz64 BZIMAGE64 -Ttext=0 -e 0 --oformat binary
build bz32 BZIMAGE32 -Ttext=0 -e 0 --oformat binary
