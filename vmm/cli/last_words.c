#include "vmm/cli/last_words.h"

#include <ctype.h>
#include <string.h>

#include "vmm/cli/report.h"

/* What Linux says of a fault, one behind the other, the first ones also of one that ends a process alone. "[#1]" counts them. */
#define LAST_WORDS_CAUSES   "BUG: \0BUG at \0 [#\0Out of memory\0cut here\0INFO: "
#define LAST_WORDS_SURVIVED 4
#define LAST_WORDS_ALL	    6

/* Where so many lines before at begin, or the first one; 1 of the middle of a line is that line. */
static char *last_words_before(char *text, char *at, unsigned int lines)
{
	while (at > text && lines > 0) {
		at--;
		if (at > text && at[-1] == '\n')
			lines--;
	}
	return at;
}

/* The line of the last panic, whose end says so once more; NULL: there is none. */
static char *last_words_panic(char *text)
{
	char *found = NULL;

	for (char *at = text; (at = strstr(at, "Kernel panic")); at++) {
		if (at - text < 4 || memcmp(at - 4, "end ", 4) != 0)
			found = at + 1;
	}
	return found ? last_words_before(text, found, 1) : NULL;
}

/* What of the first n causes comes first in a text; NULL: none. */
static char *last_words_find(char *text, unsigned int n)
{
	const char *cause = LAST_WORDS_CAUSES;
	char *first = NULL;

	for (; n > 0; n--, cause += strlen(cause) + 1) {
		char *found = strstr(text, cause);

		/* "DEBUG: " is none */
		while (found && found > text && isalpha((unsigned char)found[-1]))
			found = strstr(found + 1, cause);
		if (found && (!first || found < first))
			first = found;
	}
	return first;
}

/* What led to a panic, which may have been reported at length before it. */
static char *last_words_cause(char *text, char *panic)
{
	char *at = last_words_before(text, panic, LAST_WORDS_BEFORE);
	char *cause = last_words_find(last_words_before(text, panic, LAST_WORDS_CAUSE),
				      LAST_WORDS_ALL);

	return cause && cause < at ? last_words_before(text, cause + 1, 1) : at;
}

bool last_words_show(const char *who, char *text, unsigned int lines)
{
	char *panic = last_words_panic(text), *end = text + strlen(text), *line;
	char *at = panic ? last_words_cause(text, panic) : last_words_before(text, end, lines);
	unsigned int n = 0;
	bool any = false;

	/* Its end, often long, are the registers of a program. */
	while (n < LAST_WORDS_PANIC && (line = strsep(&at, "\n"))) {
		n += panic && line >= panic;
		if (*line)
			report("%s: %.500s", who, line);
		any |= *line != '\0';
	}
	return any;
}

bool last_words_show_faults(char *text)
{
	unsigned int n = 0;
	char *line;

	while (n < LAST_WORDS_FAULTS && (line = strsep(&text, "\n"))) {
		if (!last_words_find(line, LAST_WORDS_SURVIVED))
			continue;
		report("%s: %.500s", "guest kernel", line);
		n++;
	}
	return n > 0;
}
