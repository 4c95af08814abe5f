# Horizontal bars, in groups: lines "CATEGORY SERIES VALUE", separated by tabs, with -v title= and unit=. Needs svg.awk.

BEGIN {
	FS = "\t"
	set_colours()
}

{
	if (!($1 in of_category)) {
		of_category[$1] = 1
		categories[++category_count] = $1
	}
	bars[$1] = bars[$1] SUBSEP NR
	series[NR] = $2
	value[NR] = $3
	if ($3 + 0 > most)
		most = $3 + 0
}

END {
	left = 150; width = 760; right = 70; bar = 16; gap = 26; top = 64
	plot = width - left - right
	height = top + NR * bar + category_count * gap + 42
	begin_picture(width, height)
	text(16, 26, "start", 17, title)
	text(16, 44, "start", 12, unit)
	step = step_for(most)
	for (mark = 0; mark <= most * 1.0001; mark += step) {
		x = left + plot * mark / most
		line(x, top - 8, x, height - 34)
		text(x, height - 18, "middle", 11, digits(mark))
	}
	y = top
	for (i = 1; i <= category_count; i++) {
		text(16, y + 10, "start", 12, categories[i])
		y += gap - 8
		number = split(substr(bars[categories[i]], 2), list, SUBSEP)
		for (j = 1; j <= number; j++) {
			bar_of(list[j], y)
			y += bar
		}
		y += 8
	}
	text(left + plot / 2, height - 4, "middle", 11, unit)
	print "</svg>"
}

function bar_of(number, y, length_of)
{
	length_of = most > 0 ? plot * value[number] / most : 0
	text(left - 6, y + 12, "end", 11, series[number])
	printf "<rect class=\"bar\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>\n", left, y + 1, length_of, bar - 3,
		colour(series[number])
	text(left + length_of + 4, y + 12, "start", 11, digits(value[number]))
}
