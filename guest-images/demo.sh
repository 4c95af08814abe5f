#!/usr/bin/env bash
# Boots Debian's own kernel in vmm, with a disk and a network card, to a shell on this terminal; where there
# is no real KVM, inside the machine that tests/lab emulates. Needs Debian 12 and root rights: it installs
# what is missing, builds vmm and makes the images, which takes a minute or two the first time.
#
#   guest-images/demo.sh [--kernel cloud|cloud-5.10|cloud-6.12|full|rt] [-- COMMAND [ARG...]]
#
# With a command it runs that in the guest, without needing a terminal, and ends with its exit status.
# The guest works on a copy of its disk, and reaches this side of its network card as 172.30.0.1.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

tap=vmm-demo
host_address=172.30.0.1/30
guest_address=172.30.0.2/30
# What a kernel's command line has room for, beside the rest.
command_max=1500

usage() {
	die "usage: demo.sh [--kernel cloud|cloud-5.10|cloud-6.12|full|rt] [-- COMMAND [ARG...]]"
}

install_tools() {
	local lab_tools=()
	kvm_is_real || lab_tools=(qemu-system-x86_64:qemu-system-x86)
	need "${build_tools[@]}" "${image_tools[@]}" ip:iproute2 "${lab_tools[@]}"
}

build_vmm() {
	[ -x "$repo/build/bin/vmm" ] || say "building vmm"
	mkdir -p "$repo/build"
	{ cmake -S "$repo" -B "$repo/build" && cmake --build "$repo/build" --target vmm -j "$(nproc)"; } \
		>"$repo/build/demo.log" 2>&1 || { cat "$repo/build/demo.log" >&2 && die "vmm does not build"; }
}

make_images() {
	kernel_of "$flavour"
	"$guest_images/initramfs.sh" "$flavour"
	"$guest_images/disk.sh"
}

# The command as text for the guest's shell, as it goes on the kernel's command line.
encode_command() {
	local word text=
	for word; do
		text+="'${word//\'/\'\\\'\'}' "
	done
	text=$(printf %s "$text" | base64 -w 0)
	[ ${#text} -le $command_max ] || die "the command is too long"
	echo "$text"
}

# Passes on what the guest's command wrote, without the lines that mark its start and end, and ends with its
# status. A line is shown as soon as it comes; its newline only when it turns out to be the command's own.
only_command_output() {
	busybox awk '
		ended { next }
		started && /^vmm-run: exit [0-9]+$/ { status = $3; ended = 1; next }
		started { printf "%s%s", separator, $0; fflush(); separator = "\n" }
		/^vmm-run: start$/ { started = 1 }
		END { exit ended ? status : 125 }'
}

# Runs where there is a real KVM, in a network of its own that ends with it.
run_machine() {
	local append=(root=/dev/vda rw quiet "vmm.ip=$guest_address" "vmm.gw=${host_address%/*}") status=0
	cp "$images/root.ext4" "$scratch/disk"
	ip tuntap add "$tap" mode tap
	ip address add "$host_address" dev "$tap"
	ip link set "$tap" up
	if [ -n "$encoded_command" ]; then
		run_vmm "${append[@]}" "vmm.run=$encoded_command" </dev/null | only_command_output || status=$?
		[ "$status" != 125 ] || say "the guest ended without having run the command"
	else
		append+=("TERM=${TERM:-linux}" "vmm.size=$(stty size 2>/dev/null | tr ' ' x || true)")
		say "starting the guest; poweroff or Ctrl-A x ends it"
		run_vmm "${append[@]}" || status=$?
	fi
	exit $status
}

run_vmm() {
	"$repo/build/bin/vmm" --memory 256M --cpus 1 --kernel "$kernel/vmlinuz" \
		--initrd "$images/initramfs-$flavour.cpio" --append "$*" --disk "$scratch/disk" --net "tap=$tap"
}

# The second half of the work is this script once more, on a real KVM.
if [ "${1-}" = --inside ]; then
	flavour=$2 encoded_command=$3
	kernel=$images/kernel-$flavour
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	run_machine
fi

flavour=cloud
if [ "${1-}" = --kernel ]; then
	[ $# -ge 2 ] || usage
	flavour=$2
	shift 2
fi
encoded_command=
if [ "${1-}" = -- ] && [ $# -gt 1 ]; then
	shift
	encoded_command=$(encode_command "$@")
elif [ $# -gt 0 ]; then
	usage
fi
install_tools
build_vmm
make_images
kvm_is_real || say "no VT-x or AMD-V here: using an emulated machine, which takes some seconds more"
exec "$repo/tests/lab/run.sh" -- "$guest_images/demo.sh" --inside "$flavour" "$encoded_command"
