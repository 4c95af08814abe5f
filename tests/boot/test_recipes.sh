#!/usr/bin/env bash
# The commands of docs/recipes.md, as they stand there, by an ordinary user. What they take from the network, or would change on this
# machine for good, is put in their place.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"
# shellcheck source=tests/boot/lib_recipes.sh
. "$here/lib_recipes.sh"
# shellcheck source=tests/boot/lib_image.sh
. "$here/lib_image.sh"

applets+=(ip ping tar test)
prepare_more() {
	local tool
	for tool in passt git make mke2fs unshare gdb as ld; do
		command -v "$tool" >/dev/null || skip "no $tool"
	done
	make_or_skip "$repo/guest-images/kernel.sh" cloud-6.12
	make_or_skip "$repo/guest-images/tiny/build.sh" "$stage/tiny"
	cat >"$command_root/bin/make" <<-'END'
		#!/bin/sh
		[ "$1" = test ] && [ -e Makefile ] && mkdir results && echo passed >results/log
	END
	chmod +x "$command_root/bin/make"
	! command -v sqfstar >/dev/null || stage_container
}

# An image of the root, as docker save would make one.
stage_container() {
	echo 'NAME=container' >"$command_root/etc/os-release"
	(cd "$stage" && rm -rf container.tar* && tar -C "$command_root" --owner=0 --group=0 -cf container-1.tar . &&
		make_docker container.tar debian:12 '"Cmd":["echo","of the image"]' container-1.tar)
}
enter_lab cloud
is_root || skip 'making interfaces needs root rights'
begin_command

# What stands for the machine of an ordinary user with sudo: its own kernel with modules, and a way out for passt.
mkdir "$tmp/stub" "$tmp/work"
stub() {
	printf '%s\n' '#!/bin/sh' "$2" >"$tmp/stub/$1"
	chmod +x "$tmp/stub/$1"
}
real=$vmm
# shellcheck disable=SC2016
{
	stub sudo '[ "$1" = apt-get ] || exec "$@"'
	stub debootstrap 'exec cp -a '"$command_root"' "$4"'
	stub uname '[ "$1" != -r ] || exec echo '"$(<"$VMM_IMAGES/kernel-cloud/version")"
	stub unshare 'AS=; export AS; exec setpriv --reuid=1000 --regid=1000 --clear-groups '"$(command -v unshare)"' "$@"'
	# Emulated, guests take their time.
	stub vmm '[ "$1" != image ] || exec setpriv --reuid=1000 --regid=1000 --clear-groups '"$real"' "$@"
		for word; do [ "$word" != -- ] || slow="--boot-timeout 100"; done
		exec ${AS-setpriv --reuid=1000 --regid=1000 --clear-groups} '"$real"' $VMM_KERNEL $slow "$@"'
}
kernel=/boot/vmlinuz-$(<"$VMM_IMAGES/kernel-cloud/version")
export PATH=$tmp/stub:$PATH USER=1000 HOME=$tmp/work VMM_KERNEL="--kernel $kernel"
hash -r
mkdir -p /boot
cp "$tmp/kernel-cloud" "$kernel"
for flavour in cloud cloud-6.12; do
	ln -sfn "$VMM_IMAGES/kernel-$flavour/modules" "/lib/modules/$(<"$VMM_IMAGES/kernel-$flavour/version")"
done
chmod 666 /dev/net/tun
modprobe bridge
lead_out
chown -R 1000 "$tmp/work" "$tmp/cache"
chmod -R a+rX "$tmp"
cd "$tmp/work"

# done_ NAME WANT - runs it
done_() {
	local status=0
	run_recipe "$1" || status=$?
	equal "$1" "$2" "$status"
	[ "$status" = "$2" ] || tail -n 5 "$tmp/$1.out" "$tmp/$1.err"
}

if [ -e "$stage/container.tar" ] && ! lacks_images "$real" "$tmp"; then
	cp "$stage/container.tar" debian.tar
	done_ container 0
	equal 'container: output' 'of the image,NAME=container,debian:12' "$(sed 's/^[0-9a-f]\{12\} .* debian:12$/debian:12/; /^DIGEST/d' "$tmp/container.out" | paste -sd ,)"
else
	note 'container: no sqfstar, or a vmm without container images'
fi

done_ image 0
mkdir project
echo 'test:' >project/Makefile
done_ tests 0
equal 'tests: results' passed "$(tar -xOf results.tar results/log)"
chown -R 1000 project
done_ share 0
equal 'share: results, of this user' 'passed 1000' "$(cat project/results/log) $(stat -c %u project/results/log)"
rm -r project/results
rm project/Makefile
done_ tests 1

done_ lan 0
check 'lan: the other machine answers' "$(grep -m 1 'bytes from' "$tmp/lan.out")" grep -q '64 bytes from 10.0.0.1' "$tmp/lan.out"
nothing_left lan
interfaces=$(ls /sys/class/net)
done_ lan-root 0
check 'lan-root: the card' "$(head -n 1 "$tmp/lan-root.out")" grep -q ' eth0: .*UP' "$tmp/lan-root.out"
equal 'lan-root: the interfaces afterwards' "$interfaces" "$(ls /sys/class/net)"

chmod 600 "$kernel"
done_ ci-host 0
done_ ci-job 0
check 'ci-job: said' "$(tail -n 1 "$tmp/ci-job.out")" grep -q '^all is well' "$tmp/ci-job.out"
check 'ci-job: the network' "$(grep -m 1 default job.log)" grep -q '^default via 192.0.2.1' job.log
check 'ci-job: events' "$(tail -n 1 events.json)" grep -q '"event": *"ended"' events.json

# Debian's kernels come without symbols, so a guest is asked, and an ELF file is made that has nothing but the names.
vmm --root debian --kaslr off -- grep -E ' [Tt] (start_kernel|ksys_sync)$' /proc/kallsyms </dev/null >"$tmp/names" || true
{
	echo '.section .kernel, "ax", @nobits'
	while read -r address _ name; do
		printf '.globl %s\n.type %s, @function\n.set %s, .kernel + 0x%s - 0xffffffff81000000\n' "$name" "$name" "$name" "$address"
	done <"$tmp/names"
	echo '.skip 0x4000000'
} | as -o "$tmp/names.o" -
ld -e 0 --section-start=.kernel=0xffffffff81000000 -o vmlinux "$tmp/names.o"
done_ debug 0
check 'debug: where it stopped' "$(grep -m 1 'Breakpoint 1, ' "$tmp/debug.out")" grep -q 'Breakpoint 1, .* in ksys_sync ()' "$tmp/debug.out"
equal 'debug: the end' 'it ended with status 143' "$(tail -n 1 "$tmp/debug.out")"
cp "$tmp/initramfs-cloud" test.cpio
done_ dump 123 # this initramfs has no root: its init fails
check 'dump: where the CPU was' "$(grep -m 1 -E '^#0 ' "$tmp/dump.out")" grep -qE '^#0 +0xffffffff[89a-f][0-9a-f]{7} in ' "$tmp/dump.out"

# The kernel just built, of three: the first bad one crashes, which is as bad as what others lack.
VMM_KERNEL=
for n in 1 2 3; do cp "$VMM_IMAGES/kernel-cloud/vmlinuz" "$tmp/kernel-of-$n"; done
for n in 4 5 6 7 8; do cp "$VMM_IMAGES/kernel-cloud-6.12/vmlinuz" "$tmp/kernel-of-$n"; done
cp "$stage/tiny/triple.bz64" "$tmp/kernel-of-4"
fake_kernel_tree "$tmp/work/linux"
done_ bisect-command 0
equal 'bisect-command: the first bad one' 'commit 4' "$(first_bad)"
finish
