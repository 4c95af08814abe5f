#!/bin/sh
# First half of the lab's start, in the initramfs of the emulated machine: builds a root of the host's own
# files, seen through 9p and covered by a layer in memory that takes what is written, and switches to it.
# As much as can be is done here, by busybox: under emulation the start of a dynamic program takes long.
# The session directory of run.sh is shared with it, as /run/lab.
set -eu
export PATH=/bin
busybox --install -s /bin

options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$options,ro,cache=loose" host /host
mount -t tmpfs -o size=90% changes /changes
mkdir /changes/upper /changes/work
mount -t overlay -o lowerdir=/host,upperdir=/changes/upper,workdir=/changes/work,xino=off host /root

mount -t tmpfs -o mode=755 run /root/run
mkdir /root/run/lab
mount -t 9p -o "$options" session /root/run/lab
cp /bin/busybox /bin/hold_vm /bin/tick /root/run/
# shellcheck source=/dev/null
. /root/run/lab/settings
mkdir -p /root/lib/modules
ln -sfn "$LAB_MODULES" "/root/lib/modules/$(uname -r)"

# Directories whose contents the host shall see: one a line.
number=0
while read -r directory; do
	mount -t 9p -o "$options,rw,cache=mmap" "share$number" "/root/$directory"
	number=$((number + 1))
done <"/root/run/lab/shares"

mkdir /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
hostname lab
ip link set lo up
for directory in proc sys dev; do
	mount --move "/$directory" "/root/$directory"
done
exec switch_root /root /bin/bash /run/lab/session.sh
