# A directory that the guest shares with the host, under load: counted. Sourced, not run.
#
# The load is made by the guest (load_share.c), which also takes the time, by its own clock; a nanosecond is an instruction of guest,
# program, file server and host's kernel together. The directory is in memory.
# shellcheck shell=bash disable=SC2154,SC2034

share_peers=(vmm qemu-virtiofsd)

# NAME KIND:COUNT TITLE; what is run first finds little of it in the host's caches, and nothing in the guest's
share_jobs='write write:256 256 MiB written in sequence
read read:256 256 MiB read in sequence
git git:1 git status in 6,000 files of Linux
tar tar:1 tar x of 2,000 files of Linux
create create:2000 2,000 files of 1 KiB created'

share_prepare() {
	local name rest title
	while read -r name rest title; do
		describe "$group.$name" '10^9 instructions' lower "$title"
	done <<<"$share_jobs"
	if [ ! -e "$place/share.cpio" ]; then
		note missing share 'no source tree, or no kernel for it'
		return
	fi
	share=$place/shared
	mkdir "$share"
	tar -C "$share" -xf "$images/source-tree.tar"
	chmod 0755 "$share"
	# A job has a run of its own, that it can fail and be cut off by itself.
	while read -r name rest title; do
		add_run "$name" "${share_peers[@]}"
	done <<<"$share_jobs"
	limit=${counted:+300}
	limit=${limit:-120}
	dd if=/dev/zero of="$share/large" bs=1M count=256 status=none
}

# share_measure RUN PEER
share_measure() {
	local words="$default_words init=/bench" jobs memory=512 result=0 word name value
	kernel=$place/kernel-cloud elf=$place/vmlinux-cloud initrd=$place/share.cpio
	rm -rf "$share/out" "$share/small"
	mkdir "$share/out" "$share/small"
	jobs=bench.jobs=share:$1:$(awk -v name="$1" '$1 == name { print $2 }' <<<"$share_jobs")
	time_peer "$2" 'bench end' || result=1
	while read -r word name value _; do
		[[ $word != bench || $name = end ]] || record "$group.$name" "${value%$'\r'}"
	done < <(tr -d '\r' <"$place/out")
	return $result
}
