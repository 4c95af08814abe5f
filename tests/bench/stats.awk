# Sums up results (lib.sh): for each case and peer a line of words separated by tabs,
#
#   CASE PEER VALUES BEST MEDIAN RATIO LOW HIGH COVERAGE ROUNDS DISTURBED SHOWN
#
# RATIO is the median over the rounds of how many times better vmm was than the peer in the same round: the peer's value by
# ours where less is better, ours by the peer's where more is. It is between LOW and HIGH with a confidence of at least COVERAGE
# percent, by order statistics, which ask nothing of the distribution: of n ratios the k-th from either end, for the greatest k
# that gives 95; with less than six ratios none does, and LOW and HIGH are their range. ROUNDS counts the ratios. Without one,
# and for vmm itself, those five are "-". BEST is the greatest value where more is better, else the least.
#
# A round of a case is disturbed, and not used, when the fixed loop before one of its runs took more than LIMIT times what it
# takes in a quiet moment (the tenth percentile): LIMIT is 1.3. When less than five rounds would be left, all are used.
# DISTURBED is the number of rounds not used, or of all that are disturbed, negative, when they were used.
#
# Values that were counted (without a SPIN) are exact but for what the emulator adds now and then, so there RATIO is that of the two
# best values, and LOW and HIGH are the range of the rounds' ratios. SHOWN is what stands for the peer: BEST there, else MEDIAN.

BEGIN {
	FS = OFS = "\t"
	LIMIT = 1.3
}

$1 == "case" { better[$2] = $4; order[++cases] = $2 }

$1 == "run" {
	value[$2, $3, $4] = $5
	if (!(($2, $4) in seen)) {
		seen[$2, $4] = 1
		peers[$2, ++peer_count[$2]] = $4
	}
	if ($3 > last[$2])
		last[$2] = $3
	if ($6 > 0)
		timed[$2] = 1
	if ($6 > 0)
		spins[++spin_count] = $6
	if ($6 > worst[$2, $3])
		worst[$2, $3] = $6
}

END {
	if (spin_count) {
		sort(spins, spin_count)
		quiet = spins[int((spin_count + 9) / 10)]
	}
	for (i = 1; i <= cases; i++)
		sum_up(order[i])
}

# Shell sort, for there may be some thousands, and only one awk has a sort of its own.
function sort(list, number, gap, i, j, item)
{
	for (gap = int(number / 2); gap > 0; gap = int(gap / 2))
		for (i = gap + 1; i <= number; i++) {
			item = list[i] + 0
			for (j = i; j > gap && list[j - gap] > item; j -= gap)
				list[j] = list[j - gap]
			list[j] = item
		}
}

# Of a sorted list.
function median(list, number)
{
	if (number % 2)
		return list[(number + 1) / 2]
	return (list[number / 2] + list[number / 2 + 1]) / 2
}

# Sets rank and coverage for a number of ratios: the median is between the rank-th from below and from above but for the
# chance that less than rank of them are on one side of it.
function choose_rank(number, k, term, tail)
{
	term = 0.5 ^ number
	tail = term
	rank = 1
	coverage = 100 * (1 - 2 * tail)
	for (k = 1; k < number / 2; k++) {
		term *= (number - k + 1) / k
		tail += term
		if (1 - 2 * tail < 0.95)
			break
		rank = k + 1
		coverage = 100 * (1 - 2 * tail)
	}
	if (coverage < 0)
		coverage = 0
}

function find_disturbed(name, round, number, left)
{
	split("", skipped)
	for (round = 1; round <= last[name]; round++) {
		skipped[round] = quiet > 0 && worst[name, round] > LIMIT * quiet
		number += skipped[round]
		left += !skipped[round] && (name, round, "vmm") in value
	}
	if (number && left < 5) {
		split("", skipped)
		return -number
	}
	return number + 0
}

# Peers in an order that does not depend on that of the rounds; those that are not known here come last.
function sum_up(name, i, disturbed, number, known)
{
	disturbed = find_disturbed(name)
	counted = !(name in timed)
	number = split("vmm vmm-vmlinux vmm-guest vmm-nocache vmm-cold floor kvmtool qemu qemu-noacpi qemu-pvh qemu-pvh-noacpi qemu-vhost " \
		"qemu-q35 firecracker cloud-hypervisor", known, " ")
	for (i = 1; i <= number; i++)
		if ((name, known[i]) in seen) {
			sum_up_peer(name, known[i], disturbed)
			delete seen[name, known[i]]
		}
	for (i = 1; i <= peer_count[name]; i++)
		if ((name, peers[name, i]) in seen)
			sum_up_peer(name, peers[name, i], disturbed)
}

function sum_up_peer(name, peer, disturbed, round, own, number, ratio_count, values, ratios, first, shown, ratio)
{
	number = ratio_count = 0
	for (round = 1; round <= last[name]; round++) {
		if (skipped[round] || !((name, round, peer) in value))
			continue
		values[++number] = value[name, round, peer]
		if (peer == "vmm" || !((name, round, "vmm") in value))
			continue
		own = value[name, round, "vmm"]
		if (own <= 0 || values[number] <= 0)
			continue
		ratios[++ratio_count] = better[name] == "lower" ? values[number] / own : own / values[number]
	}
	if (!number)
		return
	sort(values, number)
	first = values[better[name] == "lower" ? 1 : number]
	shown = counted ? first : median(values, number)
	if (peer == "vmm")
		best_of_ours = first
	if (!ratio_count) {
		print name, peer, number, first, median(values, number), "-", "-", "-", "-", "-", disturbed, shown
		return
	}
	sort(ratios, ratio_count)
	if (counted) {
		rank = 1
		coverage = 0
		ratio = better[name] == "lower" ? first / best_of_ours : best_of_ours / first
	} else {
		choose_rank(ratio_count)
		ratio = median(ratios, ratio_count)
	}
	print name, peer, number, first, median(values, number), ratio, ratios[rank], ratios[ratio_count + 1 - rank], coverage,
		ratio_count, disturbed, shown
}
