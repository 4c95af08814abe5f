# Lines over a number: lines "SERIES X Y", separated by tabs, with -v title=, unit= (of Y) and label= (of X). The points of X
# are at equal distances, for they mostly double; Y begins at 0. Needs svg.awk.

BEGIN {
	FS = "\t"
	set_colours()
}

{
	if (!($1 in points)) {
		names[++name_count] = $1
		points[$1] = ""
	}
	points[$1] = points[$1] (points[$1] == "" ? "" : " ") $2 ":" $3
	if (!($2 in position))
		insert($2)
	if ($3 + 0 > most)
		most = $3 + 0
}

# Keeps marks[] sorted.
function insert(mark, i)
{
	position[mark] = 1
	for (i = ++mark_count; i > 1 && marks[i - 1] + 0 > mark + 0; i--)
		marks[i] = marks[i - 1]
	marks[i] = mark
}

function x_of(mark)
{
	return left + (mark_count > 1 ? plot * (position[mark] - 1) / (mark_count - 1) : plot / 2)
}

function y_of(number)
{
	return top + tall * (1 - (most > 0 ? number / most : 0))
}

END {
	left = 76; width = 760; plot = 500; top = 64; tall = 250; height = top + tall + 56
	for (i = 1; i <= mark_count; i++)
		position[marks[i]] = i
	begin_picture(width, height)
	text(16, 26, "start", 17, title)
	text(16, 44, "start", 12, unit)
	step = step_for(most)
	for (mark = 0; mark <= most * 1.0001; mark += step) {
		line(left, y_of(mark), left + plot, y_of(mark))
		text(left - 8, y_of(mark) + 4, "end", 11, digits(mark))
	}
	for (i = 1; i <= mark_count; i++) {
		line(x_of(marks[i]), top, x_of(marks[i]), top + tall)
		text(x_of(marks[i]), top + tall + 18, "middle", 11, marks[i])
	}
	text(left + plot / 2, top + tall + 40, "middle", 12, label)
	for (i = 1; i <= name_count; i++)
		line_of(names[i], i)
	print "</svg>"
}

function line_of(name, index_of, number, list, pair, i, path)
{
	number = split(points[name], list, " ")
	for (i = 1; i <= number; i++) {
		split(list[i], pair, ":")
		path = path sprintf("%s%.1f,%.1f", i > 1 ? " " : "", x_of(pair[1]), y_of(pair[2]))
		printf "<circle class=\"point\" cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x_of(pair[1]), y_of(pair[2]), colour(name)
	}
	printf "<polyline points=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", path, colour(name)
	printf "<rect x=\"%d\" y=\"%d\" width=\"14\" height=\"4\" fill=\"%s\"/>\n", left + plot + 24, top + 18 * index_of - 4, colour(name)
	text(left + plot + 44, top + 18 * index_of + 2, "start", 12, name)
}
