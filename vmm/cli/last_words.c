#include "vmm/cli/last_words.h"

#include <string.h>

#include "vmm/cli/report.h"

/* What Linux begins its report of a fault with. "[#1]" counts those that end a process, or the machine. */
static const char *const last_words_causes[] = {"BUG: ",  "cut here",	" [#",
						"INFO: ", "oom-killer", "LOCKUP"};

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

/* What led to a panic, which may have been reported at length before it. */
static char *last_words_cause(char *text, char *panic)
{
	char *oldest = last_words_before(text, panic, LAST_WORDS_CAUSE);
	char *at = last_words_before(text, panic, LAST_WORDS_BEFORE);

	for (size_t i = 0; i < sizeof(last_words_causes) / sizeof(last_words_causes[0]); i++) {
		char *cause = strstr(oldest, last_words_causes[i]);

		if (cause && cause < at)
			at = last_words_before(text, cause + 1, 1);
	}
	return at;
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
