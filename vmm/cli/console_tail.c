#include "vmm/cli/console_tail.h"

#include <stdbool.h>

void console_tail_put(struct console_tail *tail, const char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		tail->ring[tail->len++ % CONSOLE_TAIL_SIZE] = bytes[i];
}

char *console_tail_text(struct console_tail *tail)
{
	size_t at = tail->len > CONSOLE_TAIL_SIZE ? tail->len - CONSOLE_TAIL_SIZE : 0;
	bool whole = at == 0; /* the line */
	char *text = tail->text;

	while (at < tail->len) {
		char c = tail->ring[at++ % CONSOLE_TAIL_SIZE];

		if (whole && c != '\0' && c != '\r')
			*text++ = c;
		whole |= c == '\n';
	}
	*text = '\0';
	return tail->text;
}
