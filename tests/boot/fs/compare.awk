# Compares two runs of fs_cases, "NAME: OUTCOME" a line. Differences that "allowed" has for one of the words in "when" are told, others
# are failures, and so are, when strict, lines of "allowed" of which nothing is seen.
function name_of(line) {
	sub(/: .*/, "", line)
	return line
}

BEGIN {
	n = split(when " all", words, " ")
	while ((getline line <allowed) > 0) {
		if (line ~ /^#/ || split(line, part, / *\| */) < 3)
			continue
		for (i = 1; i <= n; i++)
			if (index(" " part[2] " ", " " words[i] " "))
				reason[part[1]] = part[3]
	}
}

FNR == NR {
	want[name_of($0)] = $0
	next
}

{
	name = name_of($0)
	seen[name] = 1
	if (want[name] == $0)
		next
	if (name in reason)
		print "differs " $0 "  (" reason[name] ")"
	else
		print "FAIL " name "\n  here:" substr(want[name], length(name) + 2) "\n  share:" substr($0, length(name) + 2)
	differs[name] = 1
}

END {
	for (name in want)
		if (!(name in seen))
			print "FAIL " name ": was not run"
	for (name in reason)
		if (strict && !(name in differs))
			print "FAIL " name ": is allowed to differ, and does not"
}
