#include "vmm/cli/console_tail.h"

#include <stdint.h>
#include <string.h>

#include "vmm/cli/report.h"

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

/* A panic may have left many lines behind it, but this one tells why. */
bool console_tail_show(const struct console_tail *tail)
{
	size_t start = console_tail_start(tail, CONSOLE_TAIL_LINES);
	size_t at = console_tail_start(tail, SIZE_MAX);
	bool any = false;
	char line[512];

	while (at < tail->len) {
		bool last = at >= start;

		if (console_tail_line(tail, &at, line, sizeof(line)) == 0 ||
		    (!last && !strstr(line, "Kernel panic")))
			continue;
		report("console: %s", line);
		any = true;
	}
	return any;
}
