# What the tests of docs/recipes.md share; sourced.
# shellcheck shell=bash disable=SC2154

# recipe NAME - the commands of that name, or nothing
recipe() {
	awk -v "mark=<!-- recipe: $1 -->" '
		$0 == mark {found = 1; next}
		found && /^```/ {if (inside) exit; inside = 1; next}
		inside' "$repo/docs/recipes.md"
}

# run_recipe NAME - its commands as one script, in the current directory; its status, and $tmp/NAME.out and .err
run_recipe() {
	recipe "$1" >"$tmp/$1.sh"
	[ -s "$tmp/$1.sh" ] || { echo "docs/recipes.md has no recipe $1" >&2 && return 99; }
	bash -eu "$tmp/$1.sh" </dev/null >"$tmp/$1.out" 2>"$tmp/$1.err"
}

# fake_kernel_tree DIRECTORY - a repository with eight commits between v6.1 and v6.12 in which `make bzImage modules` "builds" kernels by a
# shell script; commit N takes the kernel $tmp/kernel-of-N, and does not build where there is none
fake_kernel_tree() {
	local n
	mkdir "$1"
	cd "$1" || return
	git init -q
	git config user.name somebody
	git config user.email somebody@localhost
	: >Kconfig
	printf '%s\n' 'modules:' 'bzImage:' "	mkdir -p arch/x86/boot && cp $tmp/kernel-of-\$\$(cat number) arch/x86/boot/bzImage" >Makefile
	echo arch >.gitignore
	for n in 1 2 3 4 5 6 7 8; do
		echo $n >number
		git add .
		git commit -q -m "commit $n"
		[ $n != 1 ] || git tag v6.1
	done
	git tag v6.12
}

# first_bad - the subject of the commit that the bisection found
first_bad() {
	git log -1 --format=%s refs/bisect/bad 2>/dev/null
}
