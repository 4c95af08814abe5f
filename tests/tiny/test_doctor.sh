#!/usr/bin/env bash
# vmm doctor sees what is wrong with a host and a kernel, in both its forms; vmm help; the kernel that is taken without --kernel.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# It writes out twice what was not written yet when a program forks.
[ "$sanitizer" != thread ] || skip 'the doctor has one thread, and ThreadSanitizer spoils what it says'

# What others have to find, when the doctor is run as another user.
chmod 755 "$tmp"
cp "$vmm" "$tmp/vmm"

# has WHAT LINE-PATTERN - a line of the last output matches
has() {
	grep -qE -- "$2" "$tmp/out" || fail "$1: no /$2/ in: $(cat "$tmp/out")"
}

# has_not WHAT LINE-PATTERN
has_not() {
	! grep -qE -- "$2" "$tmp/out" || fail "$1: $(grep -E -- "$2" "$tmp/out")"
}

# well_formed WHAT - findings, what to type, and nothing else; the status is that of the findings
well_formed() {
	local bad want=0
	bad=$(grep -vE '^(ok  |warn|fail)  [a-z_-]+: .|^      type: .' "$tmp/out" || true)
	[ -z "$bad" ] || fail "$1: other lines: $bad"
	! grep -q '^fail' "$tmp/out" || want=1
	[ "$status" = "$want" ] || fail "$1: status $status, not $want: $(cat "$tmp/out")"
	[ ! -s "$tmp/err" ] || fail "$1: stderr: $(cat "$tmp/err")"
}

# ---- this host ----

run "$vmm" doctor
well_formed 'this host'
checks='kvm cpu start memory huge-pages hugetlb io_uring tap vhost-net passt images sqfstar namespaces landlock seccomp limits kernel'
for check in $checks; do
	has 'this host' "^(ok  |warn|fail)  $check: "
done
has 'this host' '^ok    kvm: /dev/kvm has '
if fast_kvm; then
	has 'this host' '^ok    cpu: '
else
	has 'this host' '^fail  cpu: neither VT-x nor AMD-V'
	[ "$status" = 1 ] || fail "an emulated KVM: status $status"
fi
cp "$tmp/out" "$tmp/plain"

# ---- the form of --json: one object, each finding on a line of its own, with the same texts ----

string='"([^"\\]|\\["\\]|\\u[0-9a-f]{4})*"'
finding="^  \\{\"check\": \"[a-z_-]+\", \"result\": \"(ok|warn|fail)\", \"text\": $string, \"mend\": (null|$string)\\}"
# json WHAT
json() {
	local lines
	lines=$(wc -l <"$tmp/out")
	head -n 1 "$tmp/out" | grep -qxE '\{"vmm": "[0-9.]+", "findings": \[' || fail "$1: begins with $(head -n 1 "$tmp/out")"
	tail -n 1 "$tmp/out" | grep -qxE '\], "well": (true|false)\}' || fail "$1: ends with $(tail -n 1 "$tmp/out")"
	[ "$(sed '1d;$d' "$tmp/out" | grep -cE "$finding,?\$")" = $((lines - 2)) ] ||
		fail "$1: no findings: $(sed '1d;$d' "$tmp/out" | grep -vE "$finding,?\$")"
	[ "$(sed '1d;$d' "$tmp/out" | grep -c '},$')" = $((lines - 3)) ] || fail "$1: commas: $(cat "$tmp/out")"
	grep -q "\"well\": $([ "$status" = 0 ] && echo true || echo false)" "$tmp/out" || fail "$1: well is not status $status"
	[ ! -s "$tmp/err" ] || fail "$1: stderr: $(cat "$tmp/err")"
}
run "$vmm" doctor --json
json 'as JSON'
results() {
	sed -nE 's/^(ok|warn|fail) +([a-z_-]+): .*/\2 \1/p' "$1"
}
[ "$(results "$tmp/plain")" = "$(sed -nE 's/^  \{"check": "([^"]*)", "result": "([^"]*)".*/\1 \2/p' "$tmp/out")" ] ||
	fail 'the findings of --json are others'
run "$vmm" doctor --json --kernel $'no"such\\\n\xff\xc3\xa9'
json 'an odd name'
has 'an odd name' $'no\\\\"such\\\\\\\\\\\\u000a\\\\ufffd\xc3\xa9'

# ---- what is wrong, provoked ----

mkdir "$tmp/bin"
run env "PATH=$tmp/bin" "$vmm" doctor
well_formed 'no passt'
has 'no passt' '^warn  passt: .*not installed'
has 'no passt' '^      type: sudo apt install passt$'
if [ ! -e /usr/sbin/sqfstar ]; then
	has 'no sqfstar' '^warn  sqfstar: .*not installed'
	has 'no sqfstar' '^      type: sudo apt install squashfs-tools$'
fi
: >"$tmp/bin/sqfstar"
chmod +x "$tmp/bin/sqfstar"
run env "PATH=$tmp/bin" "$vmm" doctor
has 'sqfstar' '^ok    sqfstar: '
if grep -q '^ok    images: ' "$tmp/plain"; then
	mkdir "$tmp/no-library"
	echo no library >"$tmp/no-library/libarchive.so.13"
	run env "LD_LIBRARY_PATH=$tmp/no-library" "$vmm" doctor
	well_formed 'no libarchive'
	has 'no libarchive' '^warn  images: .*need libarchive.so.13 \(Debian: apt install libarchive13\)'
else
	has 'images' '^warn  images: '
fi
: >"$tmp/bin/passt"
chmod +x "$tmp/bin/passt"
run env "PATH=/nowhere::$tmp/bin" "$vmm" doctor
has 'passt' '^ok    passt: '
# shellcheck disable=SC2016 # for the shell inside
run sh -c 'ulimit -n 200; exec "$1" doctor' sh "$vmm"
well_formed 'few files'
has 'few files' '^warn  limits: 200 open files'
if ! sanitized "$vmm"; then # which need terabytes of it
	# shellcheck disable=SC2016
	run sh -c 'ulimit -v 8000000; exec "$1" doctor' sh "$vmm"
	has 'little address space' '^warn  limits: address space'
	has 'little address space' '^      type: ulimit -v unlimited'
fi

if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null &&
	! setpriv --reuid 65534 --regid 65534 --clear-groups sh -c ': <>/dev/kvm' 2>/dev/null; then
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$tmp/vmm" doctor
	well_formed 'nobody'
	has 'nobody' '^fail  kvm: cannot open /dev/kvm: Permission denied'
	has 'nobody' '^      type: sudo (usermod -aG \$\(stat -c %G /dev/kvm\) \$USER|setfacl -m u:\$USER:rw /dev/kvm) '
	has_not 'nobody' '^....  cpu: '
else
	note 'no permission for /dev/kvm: not tried, needs root, setpriv and a /dev/kvm that is not for all'
fi

# elsewhere SCRIPT - of the doctor, where the script has changed the mounts
elsewhere() {
	run unshare -m sh -ec "$1"'; exec "$0" doctor' "$tmp/vmm"
}
if [ "$(id -u)" = 0 ] && unshare -m sh -ec 'mount -t tmpfs none /mnt' 2>/dev/null; then
	elsewhere 'mount -t tmpfs none /dev'
	well_formed 'an empty /dev'
	has 'an empty /dev' '^fail  kvm: cannot open /dev/kvm: '
	if fast_kvm; then
		has 'an empty /dev' '^      type: sudo modprobe -a kvm_intel kvm_amd$'
	else
		has 'an empty /dev' 'neither VT-x nor AMD-V; switch it on'
	fi
	has 'an empty /dev' '^      type: sudo modprobe tun$'
	has 'an empty /dev' '^      type: sudo modprobe vhost_net$'
	# What lets a user in depends on what the device is like.
	for mode in 660:55 600:55 660:0; do
		run unshare -m sh -ec 'mount -t tmpfs -o mode=755 none /dev
			for name in kvm vhost-net; do
				: >"/dev/$name"
				chgrp "${1#*:}" "/dev/$name"
				chmod "${1%:*}" "/dev/$name"
			done
			exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" doctor' "$tmp/vmm" "$mode"
		for name in kvm vhost-net; do
			want="setfacl -m u:\\\$USER:rw /dev/$name    # until the next boot"
			[ "$mode" != 660:55 ] || want="usermod -aG \\\$\(stat -c %G /dev/$name\) \\\$USER    # and log in again"
			has "/dev/$name of $mode" "^      type: sudo $want\$"
		done
	done
	elsewhere 'mount --bind /dev/null /dev/kvm'
	has 'no KVM in /dev/kvm' '^fail  kvm: /dev/kvm speaks version -1, not 12'
	if [ -e /sys/kernel/mm/transparent_hugepage/enabled ]; then
		echo 'always madvise [never]' >"$tmp/enabled"
		elsewhere "mount --bind '$tmp/enabled' /sys/kernel/mm/transparent_hugepage/enabled"
		has 'no huge pages' '^warn  huge-pages: switched off'
		has 'no huge pages' '^      type: echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled$'
		: >"$tmp/enabled"
		elsewhere "mount --bind '$tmp/enabled' /sys/kernel/mm/transparent_hugepage/enabled"
		has 'no huge pages at all' '^warn  huge-pages: the kernel has none'
	fi
	printf 'MemTotal: 1 kB\nMemAvailable:   %d kB\n' 300000 >"$tmp/meminfo"
	elsewhere "mount --bind '$tmp/meminfo' /proc/meminfo"
	has 'little memory' '^warn  memory: 292 MiB'
	printf 'MemAvailable:   %d kB\n' 3000 >"$tmp/meminfo"
	elsewhere "mount --bind '$tmp/meminfo' /proc/meminfo"
	well_formed 'no memory'
	has 'no memory' '^fail  memory: 2 MiB'
	elsewhere 'mount --bind /dev/null /proc/meminfo'
	has 'no list of memory' '^warn  memory: /proc/meminfo does not tell how much is available$'
	echo 2 >"$tmp/overcommit"
	elsewhere "mount --bind '$tmp/overcommit' /proc/sys/vm/overcommit_memory"
	has 'no overcommit' "^warn  overcommit: a guest's memory counts as used from the start on, shared memory as it is touched\$"
else
	note 'other mounts: not tried, needs root and unshare'
fi
if [ -e /proc/sys/user/max_user_namespaces ] && unshare -Ur true 2>/dev/null; then
	# shellcheck disable=SC2016
	run unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && exec "$1" doctor' sh "$tmp/vmm"
	has 'no namespaces' '^warn  namespaces: .*max_user_namespaces is 0'
	has 'no namespaces' '^      type: sudo sysctl user.max_user_namespaces=10000$'
else
	note 'no namespaces: not tried, as there are none'
fi

if [ "$(id -u)" = 0 ] && unshare -m sh -ec 'mount -t tmpfs none /proc/sys/kernel' 2>/dev/null && setpriv --reuid 65534 unshare -U true 2>/dev/null; then
	# restricted LABEL - as Ubuntu has it for users' programs
	restricted() {
		echo "$1" >"$tmp/label"
		# shellcheck disable=SC2016 # for the inner shell
		run unshare -m sh -ec 'mount -t tmpfs none /proc/sys/kernel
			echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns
			mount --bind "$1" /proc/$$/attr/current
			exec setpriv --reuid 65534 --regid 65534 --clear-groups "$0" doctor' "$tmp/vmm" "$tmp/label"
	}
	restricted unconfined
	well_formed 'AppArmor'
	has 'AppArmor' '^warn  namespaces: .*AppArmor'
	has 'AppArmor' "^      type: echo 'abi <abi/4.0>, profile vmm "
	restricted 'vmm (unconfined)'
	has 'AppArmor, with a profile' '^ok    namespaces: '
else
	note 'namespaces with AppArmor: not tried, needs root, unshare and namespaces'
fi

# ---- a kernel ----

# kernel WHAT STATUS FILE - the findings on it
kernel() {
	run "$vmm" doctor --kernel "$3"
	well_formed "$1"
	if grep '^....  kernel:' "$tmp/out" | grep -q ^fail; then
		[ "$2" = fail ] || fail "$1: fails: $(cat "$tmp/out")"
	else
		[ "$2" != fail ] || fail "$1: does not fail: $(cat "$tmp/out")"
	fi
}
kernel 'no kernel' fail "$tmp/none"
has 'no kernel' "kernel: cannot use '$tmp/none': No such file"
seq 1000 >"$tmp/text"
kernel 'a text' fail "$tmp/text"
kernel 'a folder' fail "$tmp"
kernel 'a name that makes lines, and colours' fail "$tmp/none"$'\nok    kernel: \e[31m'
has 'a name that makes lines, and colours' "^fail  kernel: cannot use '$tmp/none\?ok    kernel: \?\[31m': No such file"
for format in bz64 pvh; do
	kernel "a kernel that is not Linux, $format" fail "$guests/hello.$format"
	has "a kernel that is not Linux, $format" "kernel: cannot use '$guests/hello.$format': it is no kernel of Linux that vmm knows"
done
images=${VMM_IMAGES:-$repo/build/images}/kernel-cloud
if [ -e "$images/version" ]; then
	release=$(cat "$images/version")
	mkdir -p "$tmp/boot" "$tmp/lib/modules"
	cp "$images/vmlinuz" "$tmp/boot/vmlinuz-$release"
	kernel 'Debian, nothing known' good "$tmp/boot/vmlinuz-$release"
	has 'Debian, nothing known' "Linux $release; configuration: not found; modules: none found"
	cp "$images/config" "$tmp/boot/config-$release"
	kernel 'Debian without its modules' fail "$tmp/boot/vmlinuz-$release"
	has 'Debian without its modules' '^fail  kernel: it lacks virtio on PCI \(CONFIG_VIRTIO_PCI\), without which no command runs in it$'
	has 'Debian without its modules' '^fail  kernel: it lacks shared directories \(CONFIG_VIRTIO_FS\)'
	# what a command is refused for is what fails
	run "$vmm" --kernel "$tmp/boot/vmlinuz-$release" -- true
	refused=$(grep -oE 'lacks .*: it is' "$tmp/err" | grep -oE 'CONFIG_[A-Z0-9_]+' | sort)
	run "$vmm" doctor --kernel "$tmp/boot/vmlinuz-$release"
	failed=$(sed -nE 's/^fail  kernel: it lacks .*\((CONFIG_[A-Z0-9_]+)\).*/\1/p' "$tmp/out" | sort)
	[ -n "$failed" ] && [ "$failed" = "$refused" ] ||
		fail "the doctor fails for $failed; a command is refused for $refused"
	has 'Debian without its modules' '^warn  kernel: it lacks squashfs'
	has_not 'Debian without its modules' 'lacks ext4'
	ln -s "$images/modules" "$tmp/lib/modules/$release"
	kernel 'Debian' good "$tmp/boot/vmlinuz-$release"
	has_not 'Debian' 'kernel: it lacks'
	has 'Debian' "modules: $tmp/boot/../lib/modules/$release"
else
	note "no kernel of Debian in $images: not looked at"
fi

# ---- bad usage ----

# refused STATUS WHAT PATTERN WORD...
refused() {
	local want=$1 what=$2 pattern=$3
	shift 3
	run "$vmm" "$@"
	[ "$status" = "$want" ] || fail "$what: status $status"
	[ ! -s "$tmp/out" ] || fail "$what: stdout: $(cat "$tmp/out")"
	[ "$(wc -l <"$tmp/err")" = 1 ] && grep -qE -- "$pattern" "$tmp/err" || fail "$what: $(cat "$tmp/err")"
}
refused 125 'an option that is none' "takes --kernel FILE and --json, not '--jsn'" doctor --jsn
refused 125 'a word' "not 'x'" doctor x
refused 125 '--kernel without a file' "not '--kernel'" doctor --kernel
refused 125 'the doctor in second place' "the command 'doctor' goes first: vmm doctor --json" --cpus 1 doctor --json

# ---- help ----

run "$vmm" help
cp "$tmp/out" "$tmp/help"
run "$vmm" --help
cmp -s "$tmp/out" "$tmp/help" || fail 'help is not --help'
[ "$(wc -l <"$tmp/out")" -le 50 ] && [ "$(wc -L <"$tmp/out")" -le 80 ] || fail '--help is larger than a screen'
topics=$(sed -n 's/^ \(.*\) all$/\1/p' "$tmp/out")
[ "$(wc -w <<<"$topics")" -ge 8 ] || fail "few topics: $topics"
for topic in $topics; do
	run "$vmm" help "$topic"
	[ "$status" = 0 ] && [ -s "$tmp/out" ] && [ ! -s "$tmp/err" ] || fail "help $topic: status $status"
	cat "$tmp/out" >>"$tmp/each"
done
run "$vmm" help all
cmp -s "$tmp/out" "$tmp/each" || fail 'help all is not all of them'
for word in net --net; do
	run "$vmm" help "$word"
	has "help $word" '^      ,vhost=on\|off '
done
run "$vmm" help --share
[ "$(grep -c '^  --' "$tmp/out")" = 1 ] || fail "help --share: $(<"$tmp/out")"
has 'help --share' '^      ,cache='
run "$vmm" help --rng exit
has 'help of two' '^  --rng '
has 'help of two' '^Exit status: '
run "$vmm" help cpus disc
[ "$status" = 125 ] && grep -q "no help on 'disc'" "$tmp/err" || fail "a second topic that is none: status $status, $(<"$tmp/err")"
run "$vmm" help keys
has 'help keys' 'Ctrl-A x ends.*'
run "$vmm" help signals
has 'help signals' 'SIGUSR1'
run "$vmm" help cpus
has 'help cpus' '^  --cpus N '
refused 125 'no such topic' "no help on 'disc'; did you mean 'disk'" help disc
refused 125 'no such topic' "no help on 'frobnicate'; see" help frobnicate
refused 125 'an empty topic' "no help on ''" help ''
refused 125 'dashes' "no help on '--'" help --

# ---- the kernel that is taken ----

mkdir -p "$tmp/tree/arch/x86/boot"
cd "$tmp/tree"
cp "$guests/poweroff.bz64" arch/x86/boot/bzImage
# Without these files it is no source tree; what else this host has is not started here.
touch Makefile Kconfig
expect 0 'a source tree' "$vmm" --log-level info --timeout 30
grep -q "^vmm: kernel 'arch/x86/boot/bzImage', just built in this source tree" "$tmp/err" ||
	fail "a source tree: says $(cat "$tmp/err")"
expect 0 'a source tree, and a kernel' "$vmm" --kernel "$guests/poweroff.bz32" --log-level info --timeout 30
! grep -q "bzImage" "$tmp/err" || fail "a kernel that is given: says $(cat "$tmp/err")"
rm -r arch
if [ "$(id -u)" = 0 ] && unshare -m sh -ec 'mount -t tmpfs none /boot' 2>/dev/null && [ ! -e /vmlinuz ] &&
	[ ! -e "/lib/modules/$(uname -r)/vmlinuz" ]; then
	# with_boot SCRIPT COMMAND...
	with_boot() {
		run unshare -m sh -ec 'mount -t tmpfs -o mode=755 none /boot; '"$1"'; shift; exec "$@"' sh "$@"
	}
	with_boot : "$vmm" doctor
	has 'no kernel to take' '^fail  kernel: which kernel\? There is no /boot/vmlinuz'
	[ "$status" = 1 ] || fail "no kernel to take: doctor's status is $status"
	with_boot : "$vmm"
	[ "$status" = 125 ] && grep -q "^vmm: which kernel? There is no /boot/vmlinuz-$(uname -r): .*--kernel FILE" "$tmp/err" ||
		fail "no kernel: status $status, $(cat "$tmp/err")"
	# shellcheck disable=SC2016
	with_boot "cp '$guests/poweroff.bz64' /boot/vmlinuz-\$(uname -r)" "$vmm" --log-level info --timeout 30
	[ "$status" = 0 ] && grep -q "^vmm: kernel '/boot/vmlinuz-$(uname -r)', the host's own" "$tmp/err" ||
		fail "the host's own: status $status, $(cat "$tmp/err")"
	# shellcheck disable=SC2016
	with_boot "cp '$guests/poweroff.bz64' /boot/vmlinuz-\$(uname -r); chmod 600 /boot/vmlinuz-*" \
		setpriv --reuid 65534 --regid 65534 --clear-groups "$tmp/vmm"
	[ "$status" = 125 ] && grep -q "^vmm: cannot read kernel '/boot/vmlinuz-.*Permission denied; type: sudo chmod a+r /boot/" "$tmp/err" ||
		fail "a kernel for root alone: status $status, $(cat "$tmp/err")"
else
	note "the host's own kernel: not tried, needs root and unshare, and a host with no other kernels"
fi
cd /
finish
