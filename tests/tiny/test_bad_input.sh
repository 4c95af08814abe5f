#!/usr/bin/env bash
# What cannot be done is refused by one line on stderr and status 125, and nothing is created or changed.
set -euo pipefail
# shellcheck source=tests/tiny/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

place=$tmp/place
mkdir -p "$place/directory" "$place/tmp"
cd "$place"
cp "$guests"/{poweroff,hello,halt}.bz64 "$guests"/poweroff.{bz32,pvh,elf64} .
: >empty
seq 1000 >text
head -c 100 text >small
head -c 4096 text >initrd
truncate -s 1M disk.img other.img private.img
truncate -s 300M "$tmp/huge"
mkfifo fifo
truncate -s 1M image
for image in image private.img; do
	printf '\x53\xef' | dd of=$image bs=1 seek=1080 conv=notrunc status=none # as ext4 begins
done
# A kernel with its configuration inside, and nothing beside it; and one in the source tree where it was built, with a module of another.
needed=(BLK_DEV_INITRD BINFMT_ELF X86_64 DEVTMPFS KVM_GUEST PCI PCI_MSI VIRTIO_PCI VSOCKETS)
configured_kernel configured.elf64 "${needed[@]}"
mkdir -p tree/arch/x86/boot tree/net
cp configured.elf64 tree/vmlinux
printf 'CONFIG_%s=y\n' "${needed[@]}" FUSE_FS VIRTIO_FS >tree/.config
echo net/vmw_vsock_virtio_transport.ko >tree/modules.order
printf 'depends=\0vermagic=6.8-tiny SMP \0' >tree/net/vmw_vsock_virtio_transport.ko
cp -r tree tree-whole
printf 'depends=\0vermagic=6.9-tiny SMP \0' >tree-whole/net/vmw_vsock_virtio_transport.ko
configured_kernel bare.elf64 BINFMT_ELF
chmod 755 "$tmp" "$place"
good=(--kernel poweroff.bz64)
# What unpacks zstd is loaded when it is needed; this one cannot be.
mkdir no-library
echo no library >no-library/libzstd.so.1
qemu-img create -q -f qcow2 -o compression_type=zstd zstd.img 1M 2>/dev/null || rm -f zstd.img

before=$(listing .)

# unchanged WHAT
unchanged() {
	local now
	now=$(listing .)
	[ "$now" = "$before" ] || {
		fail "$1: files have changed"
		diff <(echo "$before") <(echo "$now") || true
	}
}

# one_line WHAT [PATTERN] - of stderr after a refusal
one_line() {
	[ "$status" = 125 ] || fail "$1: status $status, not 125"
	[ ! -s "$tmp/out" ] || fail "$1: stdout has $(head -n 3 "$tmp/out")"
	if [ "$(wc -l <"$tmp/err")" != 1 ] || ! grep -q '^vmm: [^ ]' "$tmp/err"; then
		fail "$1: stderr is not one line of vmm's: $(head -n 5 "$tmp/err")"
	elif ! grep -qE -- "${2:-.}" "$tmp/err"; then
		fail "$1: no /$2/ in: $(cat "$tmp/err")"
	fi
}

# refused WHAT PATTERN ARGUMENT... - vmm's arguments
refused() {
	local what=$1 pattern=$2
	shift 2
	run env "TMPDIR=$place/tmp" "$vmm" "$@"
	one_line "$what" "$pattern"
	unchanged "$what"
}

# ---- options ----

refused 'an unknown option' "unknown option '--kernal'" --kernal x
refused 'a short option' "unknown option '-k'" -k x
refused 'two dashes too many' "unknown option '----kernel'" ----kernel x
refused 'part of an option' "unknown option '--kern'" --kern poweroff.bz64
refused 'a stray word' "unknown argument 'poweroff.bz64'" poweroff.bz64
refused 'a command behind options' "the command 'image' goes first: vmm image ls" "${good[@]}" image ls
refused 'an empty word' "unknown argument ''" ''
for option in kernel initrd cmdline append disk net cpus memory transport timeout root env boot-timeout console events log-level tables dump-dtb dump-guest \
	unpack kernel-cache; do
	refused "--$option without a value" "--$option needs a value" "--$option"
done
# What was asked for on standard output is there, or is told not to be.
for words in --help --version 'help all' doctor 'doctor --json' "image --image-cache $tmp/images du"; do
	read -ra asked <<<"$words"
	status=0
	"$vmm" "${asked[@]}" </dev/null >/dev/full 2>"$tmp/err" || status=$?
	one_line "$words to a full disk" 'cannot write to standard output: No space left on device'
done
refused '--help with a value' '--help takes no value' --help=yes
refused 'contradictory command lines' 'give one of them' "${good[@]}" --cmdline a --append b
for option in kernel=poweroff.bz64 initrd=initrd cmdline=x append=x cpus=1 memory=64M transport=pci timeout=5 \
	console=none log-level=warn tables=acpi dump-dtb=x dump-guest=x unpack=on kernel-cache=on; do
	refused "--${option%%=*} twice" "--${option%%=*} is given twice" "--$option" "--$option"
done
for cpus in 0 10000 255 many -1 1.5 1x 0x2 '' 99999999999999999999 ' 1'; do
	refused "--cpus '$cpus'" '--cpus takes a number from 1 to 254' "${good[@]}" --cpus "$cpus"
done
for memory in much -1 12Q 1.5G 1GB '' 0x10 99999999999999999999G 18446744073709551615M; do
	refused "--memory '$memory'" '--memory takes a size' "${good[@]}" --memory "$memory"
done
for memory in 0 1 1M 1024K 0G; do
	refused "--memory $memory" 'too small' "${good[@]}" --memory "$memory"
done
for memory in 4398046511104M 15000000000G; do
	refused "--memory $memory" 'cannot (give the guest|reserve)' "${good[@]}" --memory "$memory"
done
# Linux has 64 bytes for each page of its memory.
memory=$(($(awk '/^(MemTotal|SwapTotal):/ {n += $2} END {print n}' /proc/meminfo) * 65))K
refused "--memory $memory" "a kernel's list of its pages alone would be more than this host has" "${good[@]}" --memory "$memory"
for seconds in 0 -1 soon 1s '' nan inf 1e3 1.2.3 999999999999; do
	refused "--timeout '$seconds'" '--timeout takes a number of seconds above 0, at most 31622400 \(366 days\), not' "${good[@]}" --timeout "$seconds"
done
for console in '' terminal file file= stdio=x pty=x socket socket= 'virtio,' virtio,x; do
	refused "--console '$console'" '--console takes' "${good[@]}" --console "$console"
done
refused '--console in a missing directory' "console file 'no/console'" "${good[@]}" --console file=no/console
run setsid -w "$vmm" "${good[@]}" --console file=/dev/tty
one_line '--console on a terminal that is not there' "console file '/dev/tty': No such device or address$"
refused '--console on a directory' "console file 'directory'" "${good[@]}" --console file=directory
for option in unpack kernel-cache; do
	refused "--$option" "--$option takes on or off" "${good[@]}" "--$option" maybe
done
refused '--log-level' '--log-level takes' "${good[@]}" --log-level loud
refused '--transport' '--transport takes' "${good[@]}" --transport isa
refused '--events' 'takes the name of a file' "${good[@]}" --events ''
refused '--events on no descriptor' 'no such descriptor' "${good[@]}" --events fd=77
for fd in 1 2; do
	# shellcheck disable=SC2016 # for the inner shell
	run sh -c 'fd=$1; shift; eval "exec \"\$@\" $fd>&-"' sh $fd "$vmm" "${good[@]}" --events fd=$fd
	[ "$status" = 125 ] || fail "--events fd=$fd, which is closed: status $status"
	[ $fd = 2 ] || one_line '--events on a closed descriptor' "'fd=1': there is no such descriptor$"
done
refused '--events on a descriptor to read from' "'fd=0': there is no such descriptor to write to" "${good[@]}" --events fd=0
refused '--events in a missing directory' "cannot open 'no/events'" "${good[@]}" --events no/events
# Who reads the events hears of a file that is not there; who reads the kernel does not.
refused '--events and a missing disk' "cannot open disk 'none.img': No such file or directory" "${good[@]}" --disk none.img --events "$tmp/failed.events"
[ "$(grep -c '"event":"ended","reason":"failed","status":125}$' "$tmp/failed.events")" = 1 ] || fail "the events of a missing disk: $(<"$tmp/failed.events")"
refused '--events over the kernel and a missing disk' 'the machine is made of this file' "${good[@]}" --disk none.img --events ./poweroff.bz64
refused '--events over the kernel' "cannot write events to './poweroff.bz64': the machine is made of this file" "${good[@]}" --events ./poweroff.bz64
refused '--events over the root' "cannot write events to 'image': the machine is made of this file" "${good[@]}" --root image --events image -- ls
refused '--events to the console' "events to './text': the console goes to this file" "${good[@]}" --console file=text --events ./text
# onto FILE WHAT PATTERN ARGUMENT... - with standard output appended to it
onto() {
	local file=$1 what=$2 pattern=$3
	shift 3
	status=0
	timeout -s KILL $((60 * slower)) "$vmm" "$@" </dev/null >>"$file" 2>"$tmp/err" || status=$?
	: >"$tmp/out"
	one_line "$what" "$pattern"
	unchanged "$what"
}
onto text '--events to standard output' "events to './text': the console goes to this file" "${good[@]}" --events ./text
onto text "--events to a command's output" "events to 'text': the console goes to this file" "${good[@]}" --events text -- ls
onto text '--dump-guest to standard output' "guest to 'text': the console goes to this file" "${good[@]}" --dump-guest text
onto disk.img 'standard output that is a disk' "console to 'standard output': the machine is made of this file" "${good[@]}" --disk disk.img
onto image "a command's output that is its root" "console to 'standard output': the machine is made of this file" "${good[@]}" --root image -- ls
# One descriptor is written to in turn.
"$vmm" "${good[@]}" --log-level error --events fd=1 </dev/null >"$tmp/one" 2>&1 && [ "$(grep -c '^{"time"' "$tmp/one")" = 3 ] ||
	fail "--events fd=1: $(<"$tmp/one")"
for dump in dump-guest dump-dtb; do
	refused "--events and --$dump" "events to './text': a dump goes to this file" "${good[@]}" "--$dump" text --events ./text
done
for kind in docker-archive oci-archive; do
	refused "--console to the root's $kind" "cannot write console to './text': the machine is made of this file" "${good[@]}" --root "$kind:text" \
		--console file=./text -- true
	refused "--events to the root's $kind" "events to './text': the machine is made of this file" "${good[@]}" --root "$kind:text" \
		--events ./text -- true
done
refused '-- without a command' 'which command' "${good[@]}" --
refused 'a root of two kinds' "'shared' or 'packed', not both" "${good[@]}" --root directory,shared,packed -- ls
refused 'mounts of a directory that is shared' 'not both; what is mounted' "${good[@]}" --root directory,mounts,shared -- ls
refused 'an image that is shared' "'shared' goes with a directory" "${good[@]}" --root initrd,shared -- ls
refused "a view into the kernel" "a view into this host's kernel" "${good[@]}" --root /proc,shared -- ls
refused 'a kernel that lacks all' "'bare.elf64' lacks an initramfs .* programs of 64 bits \(CONFIG_X86_64\), devtmpfs \(CONFIG_DEVTMPFS\), .* PCI \(CONFIG_PCI\), MSI-X \(CONFIG_PCI_MSI\), .* sockets of VMs \(CONFIG_VSOCKETS\), virtio sockets \(CONFIG_VIRTIO_VSOCKETS\): it is not" --kernel bare.elf64 --root directory -- ls
refused 'a kernel that says what it lacks' "'configured.elf64' lacks virtio sockets \(CONFIG_VIRTIO_VSOCKETS\): it is not built in" --kernel configured.elf64 --root directory -- ls
run "$vmm" --kernel tree/vmlinux --root directory -- ls
[ "$status" = 125 ] || fail "modules of another kernel: status $status, not 125"
[ "$(wc -l <"$tmp/err")" = 2 ] &&
	grep -q "^vmm: module 'tree/./net/vmw_vsock_virtio_transport.ko' is of Linux 6.8-tiny, not of 6.9-tiny, and counts as missing; type: make modules$" "$tmp/err" &&
	grep -q "^vmm: kernel 'tree/vmlinux' lacks virtio sockets (CONFIG_VIRTIO_VSOCKETS): it is not built in, and no module in 'tree/.'$" "$tmp/err" ||
	fail "modules of another kernel: $(<"$tmp/err")"
run "$vmm" --kernel tree-whole/vmlinux --root directory --timeout 30 -- ls
[ "$status" = 123 ] || fail "modules of this kernel: status $status, not 123, of a guest that ends: $(<"$tmp/err")"
refused 'a root without a command' '--root goes with a command' "${good[@]}" --root directory
refused 'a command beside the console' '--console stdio' "${good[@]}" --root directory --console stdio -- ls
refused 'a root that is not there' "cannot open root 'missing'" "${good[@]}" --root missing -- ls
refused 'a root that is no image' 'no image of an ext4, squashfs or erofs' "${good[@]}" --root initrd -- ls
refused 'a copy to be kept' "'rw' and 'packed' exclude each other" "${good[@]}" --root directory,rw,packed -- ls
refused 'a copy of mounts to be kept' "'rw' and 'mounts' exclude each other" "${good[@]}" --root directory,mounts,rw -- ls
refused '--share' '--share takes DIRECTORY:PATH' "${good[@]}" --share directory
refused 'no directory to be shared' '--share takes DIRECTORY:PATH' "${good[@]}" --share :/a
refused 'a place that is not absolute' '--share takes DIRECTORY:PATH' "${good[@]}" --share directory:a
refused 'a place with ..' "has a part that is empty, '.' or '..'" "${good[@]}" --share directory:/a/../b
refused 'a place without a name' "has a part that is empty, '.' or '..'" "${good[@]}" --share directory:/a//b
refused 'a place with a colon' "/a:z' has a colon: behind the place is :ro, :rw or nothing" "${good[@]}" --share directory:/a:z
refused 'the root as a place' 'for which there is --root' "${good[@]}" --share directory:/
refused 'a place twice' 'has a directory already' "${good[@]}" --share directory:/a --share .:/a:ro
refused 'a place that is no tag' 'at most 36 bytes' "${good[@]}" --share directory:/a23456789b123456789c123456789d123456789
refused '--share cache=' 'cache= takes auto, always or never' "${good[@]}" --share directory:/a,cache=some
refused "--share's items" "--share has no option 'ro'" "${good[@]}" --share directory:/a,ro
refused 'a share that is not there' "cannot open directory 'missing'" "${good[@]}" --share missing:/a
refused 'a share of the kernel' "view into this host's kernel" "${good[@]}" --share /proc:/a
refused '--boot-timeout' '--boot-timeout takes a number of seconds' "${good[@]}" --boot-timeout soon
refused '--boot-timeout alone' '--boot-timeout goes with a command' "${good[@]}" --boot-timeout 5
refused '--env' '--env takes NAME' "${good[@]}" --env =x -- ls

# A failed start neither leaves a new console file nor empties the one that is there.
mkdir "$tmp/consoles"
echo old >"$tmp/consoles/old"
refused 'a new console file' 'missing.bz64' --kernel missing.bz64 --console "file=$tmp/consoles/new"
refused 'an old console file' 'missing.bz64' --kernel missing.bz64 --console "file=$tmp/consoles/old"
# What is in the way of a socket is seen later than other things.
refused 'a new console file, and no vsock' "cannot listen on socket 'text'" "${good[@]}" --log-level error \
	--vsock cid=3,socket=text --console "file=$tmp/consoles/new"
refused 'an old console file, and no vsock' "cannot listen on socket 'text'" "${good[@]}" --log-level error \
	--vsock cid=3,socket=text --console "file=$tmp/consoles/old"
[ "$(grep -r . "$tmp/consoles")" = "$tmp/consoles/old:old" ] && [ ! -e "$tmp/consoles/new" ] ||
	fail "console files after failed starts: $(ls -l "$tmp/consoles")"

# ---- the kernel ----

# missing, wrong, or no kernel at all
refused 'a missing kernel' "cannot open kernel 'missing': No such file or directory" --kernel missing
refused 'a kernel below a file' "cannot open kernel 'text/kernel': Not a directory" --kernel text/kernel
refused 'a directory as kernel' "'directory': Is a directory" --kernel directory
refused 'an empty kernel' "'empty': the file is empty" --kernel empty
refused 'a text file as kernel' "'text': this is a text file" --kernel text
refused 'a pipe as kernel' "'fifo': it is not a regular file" --kernel fifo
refused '/dev/null as kernel' 'it is not a regular file' --kernel /dev/null
refused 'zeros as kernel' 'begins with zeros alone' --kernel disk.img
refused 'an empty name' "cannot open kernel ''" --kernel ''

# number FILE OFFSET SIZE - a little-endian number in a file
number() {
	od -An -v -t "u$3" -j "$((16#$2))" -N "$3" "$1" | tr -d ' '
}

# cut_in_pieces FILE - a bzImage cut at each of 20 places, after the first byte and before the last paragraph among them, which need not be
# full. (What is behind the length in its header is a signature for firmware.)
cut_in_pieces() {
	local size at i
	size=$((($(number "$1" 1f1 1) + 1) * 512 + $(number "$1" 1f4 4) * 16))
	for i in {0..19}; do
		at=$((1 + (size - 17) * i / 19))
		head -c "$at" "$1" >"$tmp/cut"
		refused "${1##*/}, $at of $size bytes" "cannot boot '$tmp/cut': " --kernel "$tmp/cut"
	done
}
cut_in_pieces "$guests/poweroff.bz64"
for at in 512 513 514 518 544 600 1023 1024; do
	head -c "$at" poweroff.bz64 >"$tmp/cut"
	refused "bzImage of $at bytes" "cannot boot '$tmp/cut': " --kernel "$tmp/cut"
done
linux=${VMM_IMAGES:-$repo/build/images}/kernel-cloud/vmlinuz
if [ -e "$linux" ]; then
	cut_in_pieces "$linux"
else
	note "no bzImage of Linux at $linux: it is not cut"
fi

# Header fields, each with absurd values in turn: OFFSET:SIZE:NAME (boot.rst, "The Real-Mode Kernel Header").
fields='1f1:1:setup_sects 1f2:2:root_flags 1f4:4:syssize 1f8:2:ram_size 1fa:2:vid_mode 1fc:2:root_dev 1fe:2:boot_flag
	200:1:jump_opcode 201:1:jump_length 202:4:magic 206:2:version 208:4:realmode_swtch 20c:2:start_sys_seg
	20e:2:kernel_version 210:1:type_of_loader 211:1:loadflags 212:2:setup_move_size 214:4:code32_start
	218:4:ramdisk_image 21c:4:ramdisk_size 224:2:heap_end_ptr 226:1:ext_loader_ver 227:1:ext_loader_type
	228:4:cmd_line_ptr 22c:4:initrd_addr_max 230:4:kernel_alignment 234:1:relocatable 235:1:min_alignment
	236:2:xloadflags 238:4:cmdline_size 23c:4:hardware_subarch 240:8:hardware_subarch_data
	248:4:payload_offset 24c:4:payload_length 250:8:setup_data 258:8:pref_address 260:4:init_size
	264:4:handover_offset 268:4:kernel_info_offset'

# patch FILE OFFSET BYTES - hex digits, in the file's order
patch() {
	local escaped
	# shellcheck disable=SC2001
	escaped=$(sed 's/../\\x&/g' <<<"$3")
	printf '%b' "$escaped" | dd of="$1" bs=1 seek="$((16#$2))" conv=notrunc status=none
}

# absurd SIZE - such values, as bytes in the file's order
absurd() {
	local zeros=0000000000000000 ones=ffffffffffffffff n=$(($1 * 2))
	echo "${zeros:0:n} ${ones:0:n} 01${zeros:2:n-2} ${zeros:2:n-2}80 ${ones:2:n-2}7f"
}

# absurd_header FILE STATUS - each field of a copy, at most five values: it is refused, or the guest starts and the end
# has this status. Sets $summary.
absurd_header() {
	local kernel=$1 want=$2 field offset size name value counts
	cp "$kernel" "$tmp/absurd"
	summary=
	for field in $fields; do
		IFS=: read -r offset size name <<<"$field"
		counts=0
		for value in $(absurd "$size" | tr ' ' '\n' | sort -u); do
			patch "$tmp/absurd" "$offset" "$value"
			run "$vmm" --kernel "$tmp/absurd" "${absurd_options[@]}"
			if [ "$status" = 125 ]; then
				grep -v note: "$tmp/err" >"$tmp/lines" || true
				mv "$tmp/lines" "$tmp/err"
				one_line "$name $value"
				counts=$((counts + 1))
			elif [ "$name" = xloadflags ] && [[ $status =~ ^12[34]$ ]]; then
				: # which entry there is cannot be seen from outside: the guest crashes or hangs, not vmm
			elif [ "$status" != "$want" ]; then
				fail "$name $value: status $status: $(grep -v note: "$tmp/err")"
			fi
		done
		# back to what it was
		dd if="$kernel" of="$tmp/absurd" bs=1 skip="$((16#$offset))" seek="$((16#$offset))" \
			count="$size" conv=notrunc status=none
		[ "$counts" = 0 ] || summary="$summary $name:$counts"
	done
}
absurd_options=(--timeout 1 --initrd initrd)
absurd_header poweroff.bz64 0
note "header fields of the tiny bzImage and how many values are refused:$summary"
absurd_header poweroff.bz32 0
note "the same for the 32-bit one:$summary"
if [ -e "$linux" ]; then
	# It would take long to boot: whether it starts is enough.
	absurd_options=(--timeout 0.001 --console none --initrd initrd)
	fields=$(tr -s ' \t\n' '\n' <<<"$fields" |
		grep -E 'setup_sects|syssize|init_size|pref_address|alignment|payload|code32|version|xload|initrd_addr')
	absurd_header "$linux" 124
	note "the same for Linux, some fields:$summary"
fi

# ---- memory, initrd, command line ----

refused 'too little memory' 'needs at least [0-9]+ MiB of guest memory, has 4 MiB' "${good[@]}" --memory 4M
[ ! -e "$linux" ] ||
	refused 'too little memory for Linux' 'MiB of guest memory, has 32 MiB' --kernel "$linux" --memory 32M
refused 'an initrd larger than memory' 'of guest memory, has 256 MiB' "${good[@]}" --initrd "$tmp/huge"
refused 'a missing initrd' "cannot open initrd 'missing': No such file" "${good[@]}" --initrd missing
refused 'an empty initrd' "'empty': the file is empty" "${good[@]}" --initrd empty
refused 'a directory as initrd' "'directory': Is a directory" "${good[@]}" --initrd directory
refused 'a pipe as initrd' "'fifo': it is not a regular file" "${good[@]}" --initrd fifo
long=$(printf '%02048d' 0)
refused 'a command line too long' 'the command line has 2048 characters, the kernel takes 2047' \
	"${good[@]}" --cmdline "$long"
expect 0 'a command line as long as can be' "$vmm" "${good[@]}" --cmdline "${long:1}"
refused 'an addition too long' 'the command line has' "${good[@]}" --append "$long"
for format in pvh elf64; do
	refused "a command line too long, $format" 'the command line has' --kernel "poweroff.$format" \
		--cmdline "$(printf '%0100000d' 0)"
done

# ---- disks ----

refused 'a missing disk' "cannot open disk 'missing': No such file or directory" "${good[@]}" --disk missing
refused 'a directory as disk' "cannot open disk 'directory': it is a directory" "${good[@]}" --disk directory
refused 'an empty disk' "cannot open disk 'empty': it is empty" "${good[@]}" --disk empty
refused 'a disk of 100 bytes' "'small': it is smaller than one sector" "${good[@]}" --disk small
refused 'a pipe as disk' "it is a pipe" "${good[@]}" --disk fifo
refused '/dev/null as disk' 'it is a character device' "${good[@]}" --disk /dev/null
refused 'no name' '--disk needs the name of a file' "${good[@]}" --disk ''
refused 'no name but an option' '--disk needs the name of a file' "${good[@]}" --disk ,readonly
refused 'an unknown disk option' "no option 'readwrite'" "${good[@]}" --disk disk.img,readwrite
refused 'an empty disk option' "no option ''" "${good[@]}" --disk disk.img,
refused 'qcow2 for writing' "a qcow2 image is never written; add ',overlay'" "${good[@]}" --disk disk.img,format=qcow2
refused 'what is not qcow2' "'disk.img'" "${good[@]}" --disk disk.img,format=qcow2,readonly
if [ -e zstd.img ] && grep -qF libzstd.so "$vmm"; then
	LD_LIBRARY_PATH=$PWD/no-library refused 'zstd without its library' \
		"'zstd.img': it is compressed with zstd, and libzstd.so.1 cannot be loaded" "${good[@]}" --disk zstd.img,format=qcow2,readonly
	expect 0 'zstd with its library' "$vmm" --kernel poweroff.bz64 --log-level error --disk zstd.img,format=qcow2,readonly
else
	note 'no qemu-img that knows zstd, or zstd is a part of this vmm: its absence is not tried'
fi
refused 'an overlay that is read-only' 'an overlay is for writing' "${good[@]}" --disk disk.img,overlay,readonly
refused 'a backing file of a raw image' 'only a qcow2 image has a backing file' "${good[@]}" --disk disk.img,backing=disk.img
refused 'direct I/O under an overlay' 'direct I/O is for raw images' "${good[@]}" --disk disk.img,overlay,direct
refused 'a kept overlay that is none' 'it is not an overlay' "${good[@]}" --disk disk.img,overlay=disk.img
refused 'an unknown format' 'takes raw or qcow2' "${good[@]}" --disk disk.img,format=vhd
refused 'a serial too long' 'serial= takes 1 to 20 bytes' "${good[@]}" --disk disk.img,serial=123456789012345678901
refused 'an empty serial' 'serial= takes 1 to 20 bytes' "${good[@]}" --disk disk.img,serial=
refused 'a disk read-only twice' 'readonly is given twice' "${good[@]}" --disk disk.img,readonly,readonly
refused "a console's file that is the kernel" "console to 'poweroff.bz64': the machine is made of this file" "${good[@]}" --console file=poweroff.bz64
refused "a console's file that is a disk" "console to './disk.img': the machine is made of this file" "${good[@]}" --disk disk.img --console file=./disk.img
refused 'two serials' 'serial= takes 1 to 20 bytes, once' "${good[@]}" --disk disk.img,serial=a,serial=b
refused 'the same disk twice' "disk 'disk.img' is in use" "${good[@]}" --disk disk.img --disk disk.img
refused 'the same disk twice, once to read' "disk 'disk.img' is in use" "${good[@]}" --disk disk.img \
	--disk disk.img,readonly
refused 'the same disk by another name' "is in use" "${good[@]}" --disk disk.img --disk "$place/disk.img"
expect 0 'the same disk twice to read' "$vmm" "${good[@]}" --disk disk.img,readonly --disk disk.img,readonly
many=()
for _ in {1..33}; do
	many+=(--disk "disk.img,readonly")
done
refused '33 disks' 'room for 32 disks' "${good[@]}" "${many[@]}"
expect 0 '32 disks' "$vmm" "${good[@]}" "${many[@]:2}"

# holds DISK - another vmm has it
holds() {
	"$vmm" --kernel halt.bz64 --disk "$1" --timeout 30 </dev/null >/dev/null 2>&1 &
	holder=$!
	wait_until 10 runs_guest "$holder" || fail "a vmm with $1 does not start"
}
holds disk.img
refused 'a locked disk' "disk 'disk.img' is in use .locked." "${good[@]}" --disk disk.img
refused 'a locked disk, to read' "disk 'disk.img' is in use .locked." "${good[@]}" --disk disk.img,readonly
kill -HUP "$holder"
wait "$holder" || true
holds disk.img,readonly
refused 'a disk that others read' "disk 'disk.img' is in use .locked." "${good[@]}" --disk disk.img
expect 0 'a disk shared to read' "$vmm" "${good[@]}" --disk disk.img,readonly
kill -HUP "$holder"
wait "$holder" || true
expect 0 'a disk that was released' "$vmm" "${good[@]}" --disk disk.img

# ---- permissions ----

# run_as COMMAND... - without the rights that let root into every file
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	run_as() {
		run setpriv "--bounding-set=-dac_override,-dac_read_search" --groups 65534 "$@"
	}
	owner=65534
else
	run_as() {
		run "$@"
	}
	owner=$(id -u)
fi
# may_not WHAT PATTERN MODE ARGUMENT... - with private.img of that mode
may_not() {
	local what=$1 pattern=$2
	[ "$owner" = "$(id -u)" ] || chown "$owner" private.img
	chmod "$3" private.img
	shift 3
	before=$(listing .)
	run_as "$vmm" "$@"
	one_line "$what" "$pattern"
	unchanged "$what"
}
private_mode=$(stat -c %a private.img)
private_owner=$(stat -c %u private.img)
may_not 'a disk that may not be read' 'no permission to read' 000 "${good[@]}" --disk private.img
may_not 'a disk that may not be read, readonly' 'no permission to read' 000 "${good[@]}" --disk private.img,readonly
may_not 'a disk that may not be written' "no permission to write; add ',readonly'" 444 "${good[@]}" --disk private.img
may_not 'a root that may not be written' "'private.img': nothing can be written to it; leave 'rw' out" 444 "${good[@]}" \
	--root private.img,rw -- ls
may_not 'a kernel that may not be read' "cannot open kernel 'private.img': Permission denied" 000 --kernel private.img
may_not 'an initrd that may not be read' "cannot open initrd 'private.img': Permission denied" 000 "${good[@]}" \
	--initrd private.img
may_not 'a console file that may not be written' "console file 'private.img': Permission denied" 444 "${good[@]}" \
	--console file=private.img
chown "$private_owner" private.img
chmod "$private_mode" private.img
before=$(listing .) # ours changed a ctime

if unshare -Ur sh -c ': <>/dev/kvm' 2>/dev/null; then
	run unshare -Ur "$vmm" "${good[@]}" --log-level error --user 12345
	one_line 'a user that is not in the namespace' 'cannot get another user: .*; it takes CAP_SETUID and CAP_SETGID, and a user namespace that maps it and allows setgroups$'
	unchanged 'a user that is not in the namespace'
else
	note 'a user that is not in the namespace: not tried, needs user namespaces and /dev/kvm there'
fi

# nobody finds the program where nobody may go
cp "$vmm" "$tmp/vmm"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null &&
	! setpriv --reuid 65534 --regid 65534 --clear-groups sh -c ': <>/dev/kvm' 2>/dev/null; then
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$tmp/vmm" "${good[@]}"
	hint='vmm doctor tells how to let your user in$'
	case $(stat -c %g:%a /dev/kvm) in
	0:*) ;; # to be of root's group is no mend
	*:?[67]?) hint='let your user in with: sudo usermod -aG \$\(stat -c %G /dev/kvm\) ' ;;
	esac
	one_line 'no permission for /dev/kvm' "cannot open /dev/kvm: Permission denied; $hint"
	unchanged 'no permission for /dev/kvm'
else
	note 'no permission for /dev/kvm: not tested, needs root, setpriv and a /dev/kvm that is not for all'
fi

# ---- network ----

refused '--net of nothing' '--net has no option' "${good[@]}" --net ''
refused '--net without tap' '--net needs tap=NAME, tap-fd=N or user' "${good[@]}" --net mtu=1500
refused '--net with an empty tap' 'needs the name of a TAP' "${good[@]}" --net tap=
refused '--net with two taps' 'one tap=, tap-fd= or user' "${good[@]}" --net tap=a,tap=b
refused '--net with tap and fd' 'one tap=, tap-fd= or user' "${good[@]}" --net tap=a,tap-fd=9
refused '--net unknown' "no option 'bridge=b'" "${good[@]}" --net tap=a,bridge=b
refused 'a name too long' 'an interface name has 1 to 15 characters' "${good[@]}" --net tap=0123456789012345
refused 'a missing TAP' "'vmmtest9': no such interface; make one with: ip tuntap add" "${good[@]}" --net tap=vmmtest9
refused 'a fd that is not open' "tap-fd=99: no such file descriptor is open" "${good[@]}" --net tap-fd=99
for fd in 0 2 -1 x '' 99999999999; do
	refused "tap-fd=$fd" 'tap-fd= takes the number' "${good[@]}" --net "tap-fd=$fd"
done
exec 9</dev/null
refused 'a fd that is no TAP' "'fd 9': it is not a TAP" "${good[@]}" --net tap-fd=9
exec 9<&-
for mac in '' x 52:54:00:12:34 52:54:00:12:34:5 52:54:00:12:34:56:78 52-54-00-12-34-56 52:54:00:12:34:5g \
	00:00:00:00:00:00 ff:ff:ff:ff:ff:ff 01:00:5e:00:00:01 5254:00:12:34:56; do
	refused "mac=$mac" '--net mac= takes' "${good[@]}" --net "tap=a,mac=$mac"
done
for mtu in 0 67 65536 x '' -1; do
	refused "mtu=$mtu" '--net mtu= takes' "${good[@]}" --net "tap=a,mtu=$mtu"
done
refused 'two addresses' '--net mac= takes .*, once' "${good[@]}" \
	--net tap=a,mac=52:54:00:12:34:56,mac=52:54:00:12:34:57
refused 'disks and cards, 33' 'room for 32 disks and network cards' "${good[@]}" "${many[@]:2}" --net tap=a

# with_tap COMMAND... - beside a TAP that belongs to nobody
with_tap() {
	unshare -n sh -ec 'ip tuntap add dev vmmtap0 mode tap user 65534; exec "$@"' sh "$@"
}
if [ "$(id -u)" = 0 ] && [ -e /dev/net/tun ] && command -v ip >/dev/null && with_tap true 2>/dev/null; then
	run_with_tap() {
		status=0
		with_tap timeout -s KILL 60 "$@" </dev/null >"$tmp/out" 2>"$tmp/err" || status=$?
	}
	run_with_tap "$vmm" "${good[@]}" --net tap=vmmtap0
	[ "$status" = 0 ] || fail "a TAP: status $status: $(cat "$tmp/err")"
	run_with_tap "$vmm" "${good[@]}" --net tap=vmmtap0 --net tap=vmmtap0
	one_line 'the same TAP twice' 'share a TAP|given twice'
	# shellcheck disable=SC2016 # for the shell inside
	run_with_tap sh -c '"$1" --kernel halt.bz64 --net tap=vmmtap0 --timeout 20 >/dev/null 2>&1 &
		until grep -qs vcpu /proc/$!/task/*/comm; do sleep 0.05; done
		"$1" --kernel poweroff.bz64 --net tap=vmmtap0
		status=$?
		kill -HUP $!
		exit $status' sh "$vmm"
	one_line 'a TAP that another vmm has' "'vmmtap0': it is in use, by another process or given twice"
	run_with_tap "$vmm" "${good[@]}" --net tap=lo
	one_line 'an interface that is no TAP' "'lo': it is not a TAP interface"
	run_with_tap setpriv --bounding-set=-net_admin "$vmm" "${good[@]}" --net tap=vmmtap0
	one_line "another user's TAP" "'vmmtap0': it belongs to another user; make it yours with: ip tuntap del"
	unchanged 'TAPs'
else
	note 'TAPs are not tested: needs root, ip, unshare, setpriv and /dev/net/tun'
fi

# ---- the note about slow hosts ----

run "$vmm" "${good[@]}"
if fast_kvm; then
	[ ! -s "$tmp/err" ] || fail "stderr of a good start has $(cat "$tmp/err")"
else
	[ "$(cat "$tmp/err")" = "$(grep '^vmm: note: this CPU shows neither VT-x nor AMD-V' "$tmp/err")" ] &&
		[ "$(wc -l <"$tmp/err")" = 1 ] || fail "the note is not the only line: $(cat "$tmp/err")"
	run "$vmm" "${good[@]}" --log-level error
	[ ! -s "$tmp/err" ] || fail "--log-level error: stderr has $(cat "$tmp/err")"
fi
expect 0 --help "$vmm" --help
[ -s "$tmp/out" ] && [ ! -s "$tmp/err" ] || fail '--help does not go to stdout alone'
expect 0 --version "$vmm" --version
grep -qxE 'vmm [0-9]+\.[0-9]+\.[0-9]+' "$tmp/out" || fail "--version says $(cat "$tmp/out")"
unchanged 'all of it'
# An overlay is made before the kernel is looked at, and goes again.
status=0
"$vmm" --kernel text --disk disk.img,overlay=new.overlay >/dev/null 2>&1 || status=$?
[ "$status" = 125 ] || fail "a new overlay, and no kernel: status $status"
[ ! -e new.overlay ] || fail 'a new overlay, and no kernel: the overlay is there'
finish
