#!/usr/bin/env bash
# A kernel module is built on a share by this host's own gcc, which runs in the guest, and loaded there; by an ordinary user.
set -euo pipefail
# shellcheck source=tests/boot/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=tests/boot/lib_command.sh
. "$here/lib_command.sh"

prepare_more() {
	command -v make >/dev/null || skip 'no make'
	make_or_skip "$repo/guest-images/headers.sh" cloud
	local gcc
	gcc=$(tar -xOf "$VMM_IMAGES/headers-cloud.tar" --wildcards "usr/src/*/.kernelvariables" | grep -o -m 1 "gcc-[0-9]*")
	command -v "$gcc" >/dev/null || skip "no $gcc, which the kernel was built with"
}
enter_lab cloud
begin_command

place=$(mktemp -d /var/tmp/share-XXXXXX) # not in /dev/shm, which is the guest's own
undo+=("rm -rf $place")
chmod 0755 "$place"
mkdir "$place/headers" "$place/work"
place_kernel cloud "$place"
tar -C "$place/headers" --no-same-owner -xf "$VMM_IMAGES/headers-cloud.tar"
options=(--kernel "$kernel" --boot-timeout $((100 * slower)))
note "headers after $(ms_since "$began") ms"

cat >"$place/work/hello.c" <<'END'
#include <linux/module.h>
static int __init hello_init(void)
{
	pr_info("hello from a module that was built on a share\n");
	return 0;
}
static void __exit hello_exit(void)
{
}
module_init(hello_init);
module_exit(hello_exit);
MODULE_LICENSE("GPL");
END
echo 'obj-m := hello.o' >"$place/work/Makefile"
cat >"$place/build" <<SCRIPT
cd $place/headers && for name in usr/src/* usr/lib/linux-kbuild*; do
	[ -e /\$name ] || ln -s $place/headers/\$name /\$name || exit
done
cd /mnt/module || exit
PATH=/usr/sbin:/usr/bin:/sbin:/bin
make -C /usr/src/linux-headers-$release M=/mnt/module modules >log 2>&1 || { tail -n 20 log && exit 1; }
sha256sum hello.ko
insmod hello.ko && sed -n 's,^hello .*,hello,p' /proc/modules && dmesg | grep -o 'hello from .*'
rmmod hello && ! grep '^hello ' /proc/modules
SCRIPT
if is_root; then chown -R 1000:1000 "$place/work"; fi

since=$EPOCHREALTIME
cd /
run module --memory 1G --sandbox "$strict" --root / --share "$place/work:/mnt/module" -- sh "$place/build"
note "built in $(($(ms_since "$since") / 1000)) s"
cd "$place/work"
equal 'status' 0 "$status"
equal 'errors' '' "$(text module.err)"
sum=$(sha256sum hello.ko || true)
equal 'built, loaded, heard and gone' "$sum | hello | hello from a module that was built on a share" "$(text module.out)"
me=$(id -u)
if is_root; then me=1000; fi
check 'here: the module' "$(stat -c '%u %s' hello.ko)" [ "$(stat -c %u hello.ko)" = "$me" ]
check "here: what it is" "$release" grep -q "vermagic=$release " hello.ko
check "here: the compiler's log" "$(tail -n 1 log)" grep -q 'LD \[M\] .*hello.ko' log
finish
