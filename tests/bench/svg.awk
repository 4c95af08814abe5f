# What both kinds of pictures need; comes before them, by a second -f.

function colour(peer)
{
	return peer in colours ? colours[peer] : "#555555"
}

function set_colours()
{
	colours["vmm"] = "#0b5fa5"
	colours["vmm-vmlinux"] = "#5b9bd0"
	colours["vmm-guest"] = "#7aa88f"
	colours["vmm-nocache"] = "#93bfe4"
	colours["vmm-cold"] = "#2f7d8c"
	colours["kvmtool"] = "#d9822b"
	colours["qemu"] = "#6e6e6e"
	colours["qemu-noacpi"] = "#9a9a9a"
	colours["qemu-pvh"] = "#c0c0c0"
	colours["qemu-pvh-noacpi"] = "#d3c9bd"
	colours["qemu-vhost"] = "#86735e"
	colours["qemu-q35"] = "#4f4f7a"
	colours["firecracker"] = "#b8432f"
	colours["cloud-hypervisor"] = "#5c9a4c"
}

function escaped(text)
{
	gsub(/&/, "\\&amp;", text)
	gsub(/</, "\\&lt;", text)
	gsub(/>/, "\\&gt;", text)
	return text
}

function text(x, y, anchor, size, words)
{
	printf "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" font-size=\"%d\">%s</text>\n", x, y, anchor, size, escaped(words)
}

function line(x1, y1, x2, y2)
{
	printf "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"#d8d8d8\"/>\n", x1, y1, x2, y2
}

function begin_picture(width, height)
{
	printf "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" ", width, height, width, height
	print "font-family=\"sans-serif\" fill=\"#222222\">"
	printf "<rect width=\"%d\" height=\"%d\" fill=\"white\"/>\n", width, height
}

# The distance of an axis' marks: 1, 2 or 5 times a power of ten, so that there are about five.
function step_for(most, power, rest)
{
	if (most <= 0)
		return 1
	power = exp(log(10) * floor(log(most / 5) / log(10)))
	rest = most / 5 / power
	return power * (rest <= 1 ? 1 : rest <= 2 ? 2 : rest <= 5 ? 5 : 10)
}

function floor(number)
{
	return number < 0 && int(number) != number ? int(number) - 1 : int(number)
}

function digits(number)
{
	return sprintf(number >= 100 ? "%.0f" : "%.3g", number)
}
