# What the tests of "-- COMMAND" share; sourced after lib.sh.
# shellcheck shell=bash disable=SC2154,SC2034

applets=(sh cat cp dd echo ifconfig route env false find grep head hostname id kill ls mkdir mount ps pwd readlink sed seq sha256sum sleep sort
	stat stty sync tee tr true tty umount uname vi wc yes)

# Of each test its own: the lab of one may still read it when another makes its own.
command_root=$stage/root-of-$(basename "${BASH_SOURCE[-1]}" .sh)

# Here: the modules of the guest's kernel, and a root with busybox.
prepare() {
	local applet
	make_or_skip "$repo/guest-images/modules.sh" cloud
	rm -rf "$command_root"
	mkdir -p "$command_root"/{bin,dev,etc,proc,root,run,sys,tmp}
	cp "$(type -P busybox)" "$command_root/bin/"
	for applet in "${applets[@]}"; do
		ln -s busybox "$command_root/bin/$applet"
	done
	if declare -F prepare_more >/dev/null; then prepare_more; fi
}

# Here: stage_modules KIND... - the same modules as files of each kind that distributions have (plain, xz, zst, gz), in $stage/modules-KIND;
# only those that guests of commands may want.
stage_modules() {
	local from=$VMM_IMAGES/kernel-cloud/modules kind file tree
	for kind; do
		tree=$stage/modules-$kind
		! compgen -G "$tree/kernel/arch/x86/crypto/sha256-ssse3.ko*" >/dev/null || continue
		rm -rf "$tree"
		mkdir -p "$tree"
		cp "$from"/modules.{alias,builtin,softdep} "$tree/"
		(cd "$from" && find . -name 'virtio*.ko' -o -name '*vsock*.ko' -o -name 'crc*.ko' -o -name 'failover.ko' -o -name 'net_failover.ko' \
			-o -name 'fuse.ko' -o -name 'overlay.ko' -o -name 'sha256-ssse3.ko') |
			while read -r file; do
				mkdir -p "$tree/${file%/*}"
				case $kind in
				plain) cp "$from/$file" "$tree/$file" ;;
				xz) make_or_skip sh -c "xz -c --check=crc32 --lzma2=dict=1MiB '$from/$file' >'$tree/$file.xz'" ;;
				zst) make_or_skip sh -c "zstd -q -19 -c '$from/$file' >'$tree/$file.zst'" ;;
				gz) gzip -9nc "$from/$file" >"$tree/$file.gz" ;;
				esac
			done
		case $kind in
		plain) cp "$from/modules.dep" "$tree/modules.dep" ;;
		*) sed "s/\\.ko/&.$kind/g" "$from/modules.dep" >"$tree/modules.dep" ;;
		esac
	done
}

# There: an ordinary user, who may use KVM.
begin_command() {
	cp -a "$command_root" "$tmp/root"
	cp "$VMM_IMAGES/command-modules-cloud.cpio" "$tmp/modules"
	user=()
	if is_root; then
		chmod 0666 /dev/kvm
		mkdir -p "$tmp/cache"
		chown 1000 "$tmp" "$tmp/vmm.d" "$tmp/cache"
		user=(setpriv --reuid=1000 --regid=1000 --clear-groups)
	fi
	# Emulated, with others beside it, a guest takes its time.
	options=(--kernel "$tmp/kernel-cloud" --initrd "$tmp/modules" --boot-timeout $((100 * slower)))
}

# place_kernel FLAVOUR DIRECTORY - a kernel as packages have it, with all its modules, for those of begin_command know no shares; sets
# $release and $kernel
place_kernel() {
	release=$(<"$VMM_IMAGES/kernel-$1/version")
	kernel=$2/boot/vmlinuz-$release
	mkdir -p "$2/boot" "$2/lib/modules"
	cp "$VMM_IMAGES/kernel-$1/vmlinuz" "$kernel"
	ln -sfn "$VMM_IMAGES/kernel-$1/modules" "$2/lib/modules/$release"
}

# vmm_ OPTION... - vmm with the kernel and the modules, as that user
vmm_() {
	"${user[@]}" "$vmm" "${options[@]}" "$@"
}

# run NAME OPTION... - vmm to its end; sets $status, and leaves NAME.out and NAME.err
run() {
	status=0
	vmm_ "${@:2}" <"$stdin" >"$tmp/$1.out" 2>"$tmp/$1.err" || status=$?
}

# text FILE - of a small file, for messages
text() {
	local content
	content=$(tr -d '\0' <"$tmp/$1")
	echo "${content//$'\n'/ | }"
}
