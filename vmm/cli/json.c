#include "vmm/cli/json.h"

#include <stddef.h>

/* How many bytes the character at c has, 0 for what is none: RFC 3629, whose table of well-formed bytes this is. */
static size_t json_utf8(const unsigned char *c)
{
	size_t n = c[0] < 0x80	 ? 1
		   : c[0] < 0xc2 ? 0
		   : c[0] < 0xe0 ? 2
		   : c[0] < 0xf0 ? 3
		   : c[0] < 0xf5 ? 4
				 : 0;

	for (size_t i = 1; i < n; i++) {
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
	    (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
		return 0;
	return n;
}

void json_string(FILE *out, const char *text)
{
	const unsigned char *c = (const unsigned char *)text;

	putc('"', out);
	while (*c) {
		size_t n = json_utf8(c);

		if (n == 0)
			fputs("\\ufffd", out);
		else if (*c < ' ' || *c == 0x7f)
			fprintf(out, "\\u%04x", *c);
		else if (*c == '"' || *c == '\\')
			fprintf(out, "\\%c", *c);
		else
			fwrite(c, 1, n, out);
		c += n ? n : 1;
	}
	putc('"', out);
}
