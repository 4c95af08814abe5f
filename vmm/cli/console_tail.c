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

/* Where the last lines begin, at most so many, without the rest of one that is no more whole. */
static size_t console_tail_start(const struct console_tail *tail, size_t most)
{
	size_t oldest = tail->len > CONSOLE_TAIL_SIZE ? tail->len - CONSOLE_TAIL_SIZE : 0;
	size_t start = tail->len, lines = 0;

	while (start > oldest) {
		if (console_tail_at(tail, start - 1) == '\n' && start < tail->len &&
		    ++lines == most)
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

/* Where the last line of a panic before end begins; SIZE_MAX: there is none. */
static size_t console_tail_panic(const struct console_tail *tail, size_t end)
{
	size_t at = console_tail_start(tail, SIZE_MAX), found = SIZE_MAX;
	char line[CONSOLE_TAIL_LINE];

	while (at < end) {
		size_t start = at;

		console_tail_line(tail, &at, line, sizeof(line));
		if (strstr(line, "Kernel panic"))
			found = start;
	}
	return found;
}

bool console_tail_show(const struct console_tail *tail)
{
	size_t at = console_tail_start(tail, CONSOLE_TAIL_LINES);
	size_t panic = console_tail_panic(tail, at);
	char line[CONSOLE_TAIL_LINE];
	bool any = false;

	/* It may have left many lines behind it, but it tells why. */
	if (panic != SIZE_MAX) {
		console_tail_line(tail, &panic, line, sizeof(line));
		report("console: %s", line);
	}
	while (at < tail->len) {
		if (console_tail_line(tail, &at, line, sizeof(line)) == 0)
			continue;
		report("console: %s", line);
		any = true;
	}
	return any;
}
