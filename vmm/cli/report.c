#include "vmm/cli/report.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

size_t report_character(const char *text)
{
	const uint8_t *t = (const uint8_t *)text;
	size_t n = t[0] < 0x80 ? 1 : t[0] < 0xc2 ? 0 : t[0] < 0xe0 ? 2 : t[0] < 0xf0 ? 3 : 4;

	if (t[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((t[i] & 0xc0) != 0x80)
			return 0;
	}
	/* longer than need be, halves of a pair, and what is beyond the last character */
	if ((t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xed && t[1] > 0x9f) ||
	    (t[0] == 0xf0 && t[1] < 0x90) || (t[0] == 0xf4 && t[1] > 0x8f))
		return 0;
	return n;
}

/* What was typed, and what a guest writes, may hold anything; a message is one line, and does not steer a terminal. */
static void report_clean(char *line)
{
	while (*line) {
		const uint8_t *c = (const uint8_t *)line;
		size_t n = report_character(line);

		/* U+0080 to U+009F are controls too. */
		if (n > 0 && c[0] >= ' ' && c[0] != 0x7f && !(c[0] == 0xc2 && c[1] < 0xa0)) {
			line += n;
			continue;
		}
		*line++ = '?';
	}
}

void report(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	report_clean(line);
	fprintf(stderr, "vmm: %s\n", line);
}
