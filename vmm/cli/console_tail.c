#include "vmm/cli/console_tail.h"

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

/* Where the last lines begin, without the rest of one that is no more whole. */
static size_t console_tail_start(const struct console_tail *tail)
{
	size_t oldest = tail->len > CONSOLE_TAIL_SIZE ? tail->len - CONSOLE_TAIL_SIZE : 0;
	size_t start = tail->len, lines = 0;

	while (start > oldest) {
		if (console_tail_at(tail, start - 1) == '\n' && start < tail->len &&
		    ++lines == CONSOLE_TAIL_LINES)
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

int console_tail_show(const struct console_tail *tail)
{
	char line[512];
	size_t n = 0;
	int any = 0;

	for (size_t at = console_tail_start(tail); at < tail->len; at++) {
		char c = console_tail_at(tail, at);

		if (c != '\n' && c != '\r' && n < sizeof(line) - 1)
			line[n++] = c;
		if (n > 0 && (c == '\n' || at + 1 == tail->len)) {
			line[n] = '\0';
			report("console: %s", line);
			n = 0;
			any = 1;
		}
	}
	return any;
}
