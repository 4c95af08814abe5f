#include "vmm/cli/report.h"

#include <stdarg.h>
#include <stdio.h>

void report(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	/* What was typed may hold anything; a message is one line. */
	for (char *c = line; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	fprintf(stderr, "vmm: %s\n", line);
}
