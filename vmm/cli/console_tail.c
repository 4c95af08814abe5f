#include "vmm/cli/console_tail.h"

#include <stdint.h>
#include <string.h>

#include "vmm/cli/report.h"

#define CONSOLE_TAIL_LINE 512

void console_tail_put(struct console_tail *tail, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tail->ring[tail->len++ % CONSOLE_TAIL_SIZE] = bytes[i];
}

static char console_tail_at(const struct console_tail *tail, size_t at)
{
	return tail->ring[at % CONSOLE_TAIL_SIZE];
}

/* Where the last lines before end begin, at most so many, without the rest of one that is no more whole. */
static size_t console_tail_start(const struct console_tail *tail, size_t end, size_t most)
{
	size_t oldest = tail->len > CONSOLE_TAIL_SIZE ? tail->len - CONSOLE_TAIL_SIZE : 0;
	size_t start = end, lines = 0;

	while (start > oldest) {
		if (console_tail_at(tail, start - 1) == '\n' && start < end && ++lines == most)
			return start;
		start--;
	}
	if (oldest > 0) {
		do
			start++;
		while (start < tail->len && console_tail_at(tail, start - 1) != '\n');
	}
	return start;
}

/* The line at *at, which moves behind it. Returns its length. */
static size_t console_tail_line(const struct console_tail *tail, size_t *at, char *line,
				size_t size)
{
	size_t n = 0;

	while (*at < tail->len) {
		char c = console_tail_at(tail, (*at)++);

		if (c == '\n')
			break;
		if (c != '\r' && n < size - 1)
			line[n++] = c;
	}
	line[n] = '\0';
	return n;
}

/* Where the first line of the last panic begins; SIZE_MAX: there is none. */
static size_t console_tail_panic(const struct console_tail *tail)
{
	size_t at = console_tail_start(tail, tail->len, SIZE_MAX), found = SIZE_MAX;
	char line[CONSOLE_TAIL_LINE];

	while (at < tail->len) {
		size_t start = at;

		console_tail_line(tail, &at, line, sizeof(line));
		/* Its end says so once more. */
		if (strstr(line, "Kernel panic") && !strstr(line, "end Kernel panic"))
			found = start;
	}
	return found;
}

bool console_tail_show(const struct console_tail *tail)
{
	size_t panic = console_tail_panic(tail), lines = CONSOLE_TAIL_LINES, at;
	char line[CONSOLE_TAIL_LINE];
	bool any = false;

	/* What led to it and the trace behind it; its end, often long, are the registers of a program. */
	if (panic != SIZE_MAX) {
		at = console_tail_start(tail, panic, CONSOLE_TAIL_BEFORE);
		lines = CONSOLE_TAIL_PANIC;
	} else {
		at = console_tail_start(tail, tail->len, lines);
	}
	while (at < tail->len && lines-- > 0) {
		if (console_tail_line(tail, &at, line, sizeof(line)) == 0)
			continue;
		report("console: %s", line);
		any = true;
	}
	return any;
}
