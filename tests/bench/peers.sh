# The programs that are measured, each in the configurations that its documentation recommends for speed; sourced, not run.
#
# A configuration is called PROGRAM or PROGRAM-VARIANT, and FAMILY_command turns it and the machine described by the variables
# below into $command.
# shellcheck shell=bash disable=SC2034,SC2054,SC2154

kernel=''  # the bzImage
elf=''     # the same kernel unpacked, for those that start faster with it or know nothing else; may be missing
initrd=''  # or none
words=''   # the kernel's command line; when empty each has its own defaults, or what others need in their place
jobs=''    # more words, of the guest's own
memory=256 # MiB
cpus=1
disks=()
tap=''
share=''  # a directory, which the guest finds by the name "bench"
guest_mac=52:54:00:12:34:56
qemu_cpu=host

default_words='console=ttyS0 reboot=t panic=-1 quiet'

# program_of PEER
program_of() {
	case $1 in
	vmm*) echo "$build/bin/vmm" ;;
	floor) echo "$place/floor" ;;
	kvmtool*) echo lkvm ;;
	qemu*) echo qemu-system-x86_64 ;;
	*) echo "$1" ;;
	esac
}

# installed PEER
installed() {
	[[ $1 != *-virtiofsd || -x /usr/lib/qemu/virtiofsd ]] && command -v "$(program_of "$1")" >/dev/null
}

# version_of PROGRAM
version_of() {
	case $1 in
	*/vmm) "$1" --version ;;
	lkvm) lkvm version 2>&1 ;;
	*) "$1" --version ;;
	esac | head -n 1
}

# stage_peers - copies what is measured into memory, with its libraries: reading the files of this machine may cost more than
# running them, and differently each time
stage_peers() {
	local peer path
	mkdir -p "$place/lib" "$place/share"
	for peer in vmm kvmtool qemu firecracker cloud-hypervisor; do
		path=$(command -v "$(program_of "$peer")") || continue
		path=$(readlink -f "$path")
		cp "$path" "$place/$peer"
		{ ldd "$path" 2>/dev/null || true; } | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | xargs -r cp -nLt "$place/lib"
	done
	path=/usr/lib/qemu/virtiofsd
	if [ -x "$path" ]; then
		cp "$path" "$place/virtiofsd"
		ldd "$path" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | xargs -r cp -nLt "$place/lib"
	fi
	# Where both have a file, the first is what QEMU takes.
	for path in /usr/share/{qemu,seabios}/{qboot.rom,{bios-microvm,bios-256k,linuxboot_dma,pvh,kvmvapic}.bin}; do
		[ ! -e "$path" ] || cp -nL "$path" "$place/share/"
	done
	# These they open where they are, whatever they are told. In the lab that waits for the host, and a clock that counts leaps
	# meanwhile, unless a file was written to, which takes it into memory.
	[ ! -e /run/lab/settings ] || touch -c "$(readlink -f /lib64/ld-linux-x86-64.so.2)" \
		/etc/{ld.so.cache,nsswitch.conf,passwd,resolv.conf,localtime,libnl/classid,gnutls/config}
}

vmm_command() {
	local disk
	command=("$place/vmm" --kernel "$kernel" --cpus "$cpus" --memory "${memory}M" --log-level error)
	[ -z "$initrd" ] || command+=(--initrd "$initrd")
	for disk in "${disks[@]}"; do
		command+=(--disk "$disk")
	done
	[ -z "$tap" ] || command+=(--net "tap=$tap,mac=$guest_mac")
	[ -z "$share" ] || command+=(--share "$share:/bench")
	if [ -n "$words" ]; then
		command+=(--cmdline "$words $jobs")
	else
		command+=(--append "quiet $jobs")
	fi
	case $1 in
	vmm-vmlinux) command[2]=$elf ;;
	vmm-guest) command+=(--unpack off) ;;
	vmm-nocache) command+=(--kernel-cache off) ;;
	esac
}

# What KVM alone takes (floor.c): no program of its kind.
floor_command() {
	command=("$place/floor" "$memory")
}

kvmtool_command() {
	local disk
	command=("$place/kvmtool" run --kernel "$kernel" --cpus "$cpus" --mem "$memory" --params "${words:-$default_words} $jobs")
	[ -z "$initrd" ] || command+=(--initrd "$initrd")
	for disk in "${disks[@]}"; do
		command+=(--disk "$disk")
	done
	if [ -n "$tap" ]; then
		command+=(--network "mode=tap,tapif=$tap,script=none,guest_mac=$guest_mac")
	else
		command+=(--network mode=none)
	fi
}

# qemu             microvm, described by ACPI tables
# qemu-noacpi      the same described by an MP table and by words on the command line
# qemu-pvh         microvm with the unpacked kernel
# qemu-pvh-noacpi  both
# qemu-vhost       microvm with vhost-net
# qemu-q35         a PC with PCI devices, an iothread for the disk and vhost-net
# qemu-virtiofsd   a PC, and virtiofsd for a shared directory
qemu_command() {
	local machine=microvm,pit=off,pic=off,rtc=off,isa-serial=on image=$kernel bus=device rom='' thread='' vhost='' disk
	case $1 in
	qemu-noacpi) machine+=,acpi=off ;;
	qemu-pvh) image=$elf ;;
	qemu-pvh-noacpi) machine+=,acpi=off image=$elf ;;
	qemu-vhost) vhost=,vhost=on ;;
	qemu-q35) machine=q35 bus=pci rom=,romfile= thread=,iothread=io vhost=,vhost=on ;;
	qemu-virtiofsd) machine=q35 ;;
	esac
	command=("$place/qemu" -L "$place/share" -M "$machine" -accel kvm -cpu "$qemu_cpu" -m "$memory" -smp "$cpus"
		-nodefaults -no-user-config -display none -serial stdio -no-reboot
		-kernel "$image" -append "${words:-$default_words} $jobs")
	[ -z "$initrd" ] || command+=(-initrd "$initrd")
	[ "$bus" = pci ] || command+=(-global virtio-mmio.force-legacy=false)
	[ -z "$thread" ] || [ ${#disks[@]} = 0 ] || command+=(-object iothread,id=io)
	for disk in "${!disks[@]}"; do
		command+=(-drive "if=none,id=disk$disk,file=${disks[disk]},format=raw,aio=io_uring"
			-device "virtio-blk-$bus,drive=disk$disk$thread")
	done
	[ -z "$tap" ] || command+=(-netdev "tap,id=net,ifname=$tap,script=no,downscript=no$vhost"
		-device "virtio-net-$bus,netdev=net,mac=$guest_mac$rom")
	command+=("${qemu_more[@]}")
	[ -z "$share" ] || qemu_share
}
qemu_more=()

# The file server is a program of its own, which ends with QEMU.
qemu_share() {
	local server="$place/virtiofsd --socket-path=$place/fs.sock -o source=$share -o cache=auto -o log_level=err"
	command+=(-object "memory-backend-memfd,id=memory,size=${memory}M,share=on" -numa node,memdev=memory
		-chardev "socket,id=fs,path=$place/fs.sock" -device 'vhost-user-fs-pci,chardev=fs,tag=bench,queue-size=1024')
	cat >"$place/with-server" <<-END
		#!/bin/sh
		rm -f $place/fs.sock
		$server &
		until [ -e $place/fs.sock ]; do sleep 0.05; done
		exec "\$@"
	END
	chmod +x "$place/with-server"
	command=(/bin/sh "$place/with-server" "${command[@]}")
}

# This and the next one are written from the documentation of Firecracker 1.x and Cloud Hypervisor, and have yet to be run.
firecracker_command() {
	local disk drives='' separator=''
	for disk in "${!disks[@]}"; do
		drives+="$separator{\"drive_id\": \"disk$disk\", \"path_on_host\": \"${disks[disk]}\", \"is_root_device\": false,"
		drives+=' "is_read_only": false, "io_engine": "Async"}'
		separator=', '
	done
	cat >"$place/firecracker.json" <<-END
		{
			"boot-source": { "kernel_image_path": "${elf:-$kernel}",
				${initrd:+"\"initrd_path\": \"$initrd\","}
				"boot_args": "${words:-$default_words} $jobs" },
			"drives": [$drives],
			${tap:+"\"network-interfaces\": [{ \"iface_id\": \"eth0\", \"host_dev_name\": \"$tap\", \"guest_mac\": \"$guest_mac\" }],"}
			"machine-config": { "vcpu_count": $cpus, "mem_size_mib": $memory }
		}
	END
	command=("$place/firecracker" --no-api --config-file "$place/firecracker.json")
}

cloud_command() {
	local disk
	command=("$place/cloud-hypervisor" --kernel "${elf:-$kernel}" --cpus "boot=$cpus" --memory "size=${memory}M"
		--serial tty --console off --cmdline "${words:-$default_words} $jobs")
	[ -z "$initrd" ] || command+=(--initramfs "$initrd")
	[ ${#disks[@]} = 0 ] || command+=(--disk)
	for disk in "${disks[@]}"; do
		command+=("path=$disk")
	done
	[ -z "$tap" ] || command+=(--net "tap=$tap,mac=$guest_mac")
}
