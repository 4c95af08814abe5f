#!/usr/bin/env bash
# Makes the page and its pictures of the results in a directory.
#   report.sh DIRECTORY PAGE - the pictures go to the directory, which is beside the page and has its name
set -euo pipefail
# shellcheck source=tests/bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

data=$1 page=$2
link=$(basename "$data")

# fact GROUP NAME
fact() {
	awk -F '\t' -v name="$2" '$1 == "fact" && $2 == name { print $3; exit }' "$data/$1.tsv"
}

# ---- parts of a group's section ----

heading() {
	case $1 in
	boot) echo 'Boot, by kernel' ;;
	curves) echo 'Boot, as the machine grows' ;;
	disk) echo 'Disk, counted' ;;
	net) echo 'Network card, counted' ;;
	share) echo 'Shared directory, counted' ;;
	starts) echo 'Start and end of the smallest guest' ;;
	load) echo 'Disk and network card, in time' ;;
	esac
}

introduction() {
	case $1 in
	boot)
		cat <<-'END'
			From exec of the program to its end, page cache warm: one virtual CPU, 256 MiB, and an init that says a line and restarts the
			machine. With "own command lines" vmm is given `--append quiet`, the others `console=ttyS0 reboot=t panic=-1 quiet`, to which
			each adds what it adds; with "one command line" all are given that and `cryptomgr.notests`.
		END
		;;
	curves)
		cat <<-'END'
			The same as the machine grows, with the smallest of the kernels; what several machines cost that start at once is the time until
			the last has ended, divided by their number (one CPU serves them all). The last picture has vmm alone: with its defaults (`vmm`),
			with the kernel unpacked beforehand (`vmm-vmlinux`) and, as far as this vmm has the options, with a kernel that unpacks itself
			(`vmm-guest`), and with the cache of unpacked kernels off (`vmm-nocache`) or empty (`vmm-cold`). All with `cryptomgr.notests`.
		END
		;;
	disk)
		cat <<-'END'
			What a request costs guest, program and host's kernel together. The image is in memory; the guest uses Linux AIO and O_DIRECT, a
			fixed number of requests after a tenth as many to warm up. The guest is the small kernel, or Debian's where that was not built, which spends more.
		END
		;;
	net)
		cat <<-'END'
			A TAP interface; the host itself is the other side. 64 MiB by TCP each way, 10,000 UDP packets of 64 bytes, of which those count
			that arrive, and 200 echo requests. vmm and `qemu-q35` use vhost-net, as `qemu-vhost` does; `kvmtool` and `qemu` do not.
		END
		;;
	share)
		cat <<-'END'
			A directory in the host's memory that the guest has mounted by virtio-fs, written and read; with Debian's kernel, 512 MiB, and nothing
			of it in the guest's caches at the beginning of each run. Both keep what they have seen for a second (`cache=auto`). QEMU has
			virtiofsd beside it, which comes with it; what that takes counts too.
		END
		;;
	starts)
		cat <<-'END'
			A guest of some ten instructions that writes one byte to its serial port and ends the machine, started by vfork and exec. The first
			byte is when it can be read from the program's output, which is later than the guest's first instruction. `floor` is what the host's
			kernel alone takes for that: a program that makes the fewest calls of KVM with which such a guest runs (`tests/bench/floor.c`).
			A KVM that has no VT-x and AMD-V keeps 8 bytes for each page of the guest, which it makes zeros at the start.
			Of several virtual CPUs all but the first wait until the end, so they cost what it takes to make them.
		END
		;;
	load) echo 'The jobs of the two sections before this one, up to six times as long, with a CPU for the guest and one for the program. Noisy: only ratios count.' ;;
	esac
}

# What was left out, in words.
discarded() {
	awk -F '\t' '
	$1 == "fail" { failed[$2 "\t" $4 "\t" $5]++ }
	$1 == "fact" && $2 == "cut" { print "- The measurement was " $3 "; rounds after that are missing." }
	$1 == "missing" { print "- Not measured: " $2 " (" $3 ")." }
	END {
		for (item in failed) {
			split(item, part, "\t")
			print "- `" part[2] "` gave no result in `" part[1] "`, " failed[item] (failed[item] == 1 ? " time: " : " times: ") part[3]
		}
	}' "$data/$1.tsv" | sort
	awk -F '\t' '
	$11 > 0 { disturbed[$11] = disturbed[$11] ($1 == last ? "" : " `" $1 "`") }
	$11 < 0 { noisy[-$11] = noisy[-$11] ($1 == last ? "" : " `" $1 "`") }
	{ last = $1 }
	END {
		for (number in disturbed)
			print "- Disturbed and not used: " number " rounds each of" disturbed[number] "."
		for (number in noisy)
			print "- Disturbed, and used because less than five would be left: " number " rounds each of" noisy[number] "."
	}' "$summary" | sort
}

# A number with about four digits, for awk.
digits='function digits(number) {
	return number == "-" ? "" : sprintf(number >= 1000 ? "%.0f" : number >= 100 ? "%.1f" : number >= 10 ? "%.2f" : "%.3f", number)
}
'

table() {
	cat <<-'END'
		| | | best | median | ratio to vmm | 95 % interval | rounds |
		|---|---|---|---|---|---|---|
	END
	awk -F '\t' "$digits"'
	FNR == NR { if ($1 == "case") { title[$2] = $5; unit[$2] = $3 } next }
	{
		name = $1 == before ? "" : title[$1] ", " unit[$1]
		before = $1
		interval = $6 == "-" ? "" : digits($7) " to " digits($8) ($9 >= 95 ? "" : " (range)")
		printf "| %s | %s | %s | %s | %s | %s | %d |\n", name, $2, digits($4), digits($5),
			($6 == "-" ? "" : "**" digits($6) "**"), interval, ($10 == "-" ? $3 : $10)
	}' "$data/$1.tsv" "$summary"
}

# sum_up - of the group; false without results
sum_up() {
	[ -e "$data/$group.tsv" ] && awk -f "$bench/stats.awk" "$data/$group.tsv" >"$summary"
}

# A line for each case: the best of the others.
in_short() {
	awk -F '\t' "$digits"'
	FNR == NR { if ($1 == "case") { title[$2] = $5; unit[$2] = $3; better[$2] = $4; order[++cases] = $2 } next }
	$2 == "vmm" { own[$1] = $12; next }
	$2 == "floor" { next } # no program of its kind
	$6 != "-" && (!($1 in best) || (better[$1] == "lower" ? $12 < best[$1] : $12 > best[$1])) {
		best[$1] = $12
		rest[$1] = digits($12) " | " $2 " | **" digits($6) "** | " digits($7) " to " digits($8) ($9 >= 95 ? "" : " (range)")
	}
	END {
		for (i = 1; i <= cases; i++)
			if (order[i] in best)
				printf "| %s, %s | %s | %s |\n", title[order[i]], unit[order[i]], digits(own[order[i]]), rest[order[i]]
	}' "$data/$group.tsv" "$summary"
}

# picture NAME TITLE - of what comes on standard input, if anything does
picture() {
	local name=$1 title=$2 file=$data/$1.svg
	shift 2
	awk -v title="$title" -f "$bench/svg.awk" "$@" >"$file.$$"
	mv "$file.$$" "$file"
	printf '![%s](%s/%s.svg)\n\n' "$title" "$link" "$name"
}

# rows PATTERN - lines "TITLE PEER MEDIAN" of the summary
rows() {
	awk -F '\t' -v OFS='\t' -v pattern="$1" '
	FNR == NR { if ($1 == "case") title[$2] = $5; next }
	$1 ~ pattern { print title[$1], $2, $12 }' "$data/$group.tsv" "$summary"
}

# bars NAME TITLE UNIT PATTERN
bars() {
	[ -z "$(rows "$4")" ] || rows "$4" | picture "$1" "$2" -v unit="$3" -f "$bench/svg_bars.awk"
}

# lines NAME TITLE LABEL UNIT
lines() {
	local points
	points=$(awk -F '\t' -v OFS='\t' -v prefix="curve-$1." 'index($1, prefix) == 1 { print $2, substr($1, length(prefix) + 1), $12 }' "$summary")
	[ -z "$points" ] || picture "curve-$1" "$2" -v unit="$4" -v label="$3" \
		-f "$bench/svg_lines.awk" <<<"$points"
}

pictures() {
	case $1 in
	boot)
		bars boot-own 'Boot, own command lines' '10^9 instructions from exec to exit' '[.]own$'
		bars boot-same 'Boot, one command line' '10^9 instructions from exec to exit' '[.]same$'
		;;
	curves)
		lines memory 'Boot over memory' 'guest memory, MiB' '10^9 instructions from exec to exit'
		lines disks 'Boot over disks' 'disks' '10^9 instructions from exec to exit'
		lines starts 'Starts at once, each' 'machines started at once' '10^9 instructions from exec to exit'
		bars curve-kernel 'Boot by the packing of the kernel' '10^9 instructions from exec to exit' '^curve-kernel'
		;;
	disk) bars disk 'Disk' 'thousand instructions a request; less is better' . ;;
	net)
		bars net-tcp 'TCP' 'Mbit in 10^9 instructions; more is better' '[.][gh]2[gh]$'
		bars net-udp 'UDP, 64 bytes' 'thousand packets in 10^9 instructions; more is better' udp
		bars net-ping Ping 'thousand instructions; less is better' ping
		;;
	share) bars share 'Shared directory' '10^9 instructions; less is better' . ;;
	starts)
		bars starts-ended 'exec to the end of the process' 'milliseconds, median' ended
		bars starts-first "exec to the guest's first byte" 'milliseconds, median' first
		lines cpus 'exec to the end of the process, over virtual CPUs' 'virtual CPUs' 'milliseconds, median'
		;;
	load)
		bars load-disk 'Disk' 'microseconds a request, median; less is better' 'read|write|seq'
		bars load-tcp 'TCP' 'Mbit/s, median; more is better' '[.][gh]2[gh]$'
		bars load-udp 'UDP, 64 bytes' 'thousand packets/s, median; more is better' udp
		bars load-ping Ping 'microseconds, median; less is better' ping
		;;
	esac
}

section() {
	local peer version load programs=''
	group=$1
	printf '## %s\n\n' "$(heading "$1")"
	introduction "$1"
	for peer in vmm kvmtool qemu firecracker cloud-hypervisor; do
		version=$(fact "$1" $peer)
		[ -z "$version" ] || programs+="; $peer: $version"
	done
	load=$(fact "$1" load)
	[ -z "$load" ] || programs+="; load average of this machine when it ended: $load"
	printf '\n`%s` on %s, %s; measured on %s%s.\n\n' "$(fact "$1" command)" "$(fact "$1" cpu)" "$(fact "$1" kernel)" \
		"$(fact "$1" place)" "$programs"
	pictures "$1"
	table "$1"
	printf '\nNot in the figures:\n\n'
	discarded "$1" | grep . || echo '- Nothing was left out.'
	echo
}

page() {
	cat <<-'END'
		# Performance

		Made by `tests/bench/run.sh --docs`; each section names the command that made it again. That command measures vmm against the
		programs of its kind that are installed, and writes this page, its pictures and the results behind it.

		The programs run in turn, each once in a round, in an order that is shuffled for each round. A ratio compares two runs of one
		round and says how many times better vmm is than the other program: **above 1 vmm is ahead**, whether less or more is better. The table has
		the median of the rounds' ratios and an interval for it by order statistics; with less than six rounds there is none with 95 %,
		and the range is given. Each program runs as its documentation recommends for speed, with the same kernel, initramfs, memory and
		command line (`tests/bench/peers.sh` has the commands). `kvmtool` is lkvm; `qemu` is the machine type microvm with
		`pit=off,pic=off,rtc=off` and ACPI, `-noacpi` is `acpi=off`, `-pvh` an unpacked kernel, `-vhost`
		vhost-net; `qemu-q35` is a PC with an iothread and vhost-net, `qemu-virtiofsd` one with virtiofsd; QEMU's disks use io_uring.
		The small kernel is built from Debian's source with `guest-images/kernel-small.config`: what a virtual machine needs, without modules.

		Counted sections come from an emulated machine whose clock counts instructions: those of the guest, of the program and of the host's
		kernel. They do not depend on what else the real machine does, and know nothing of caches and of the cost of a single instruction.
		What the emulator adds now and then is never less than nothing, so the best value of each program counts, and the ratio is that of the
		best values; the range is that of the rounds.
		In the sections with times a fixed loop runs before each start; a round in which it took 1.3 times what it takes in a quiet moment is
		disturbed.

		## In short

		Against the best of the other programs in each; what was counted is the best of the rounds, what was timed their median.

		| | vmm | best other | | ratio | 95 % interval |
		|---|---|---|---|---|---|
	END
	local group
	for group in boot disk net share starts load; do
		! sum_up || in_short
	done
	echo
	for group in boot curves disk net share starts load; do
		! sum_up || section "$group"
	done
}

summary=$(mktemp)
trap 'rm -f "$summary" "$page.$$"' EXIT
page >"$page.$$"
mv "$page.$$" "$page"
