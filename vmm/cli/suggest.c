#include "vmm/cli/suggest.h"

#include <string.h>

#define SUGGEST_MAX 24 /* letters; longer words are like none of ours */

static unsigned int least(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/*
 * How many letters have to be put in, left out, changed, or swapped with the next one to make b of the first len of a
 * (optimal string alignment). Both have at most SUGGEST_MAX.
 */
static unsigned int suggest_distance(const char *a, size_t len, const char *b)
{
	unsigned int rows[SUGGEST_MAX + 1][SUGGEST_MAX + 1];
	size_t blen = strlen(b);

	for (size_t i = 0; i <= len; i++) {
		for (size_t j = 0; j <= blen; j++) {
			unsigned int d;

			if (i == 0 || j == 0) {
				rows[i][j] = (unsigned int)(i + j);
				continue;
			}
			d = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			d = least(d, least(rows[i - 1][j], rows[i][j - 1]) + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d = least(d, rows[i - 2][j - 2] + 1);
			rows[i][j] = d;
		}
	}
	return rows[len][blen];
}

struct suggestion suggest_begin(const char *word)
{
	struct suggestion s = {.word = word + strspn(word, "-")};

	s.len = strcspn(s.word, "=");
	/* One letter in four may be wrong, or a little more; all of them may not. */
	s.distance = 2 + (s.len > 4) + (s.len > 8);
	if (s.len < s.distance)
		s.distance = (unsigned int)s.len;
	return s;
}

void suggest_try(struct suggestion *s, const char *name)
{
	unsigned int d;

	if (s->len > SUGGEST_MAX || strlen(name) > SUGGEST_MAX)
		return;
	/* what was cut short is nearer than it looks */
	d = s->len > 2 && strncmp(s->word, name, s->len) == 0
		    ? 0
		    : suggest_distance(s->word, s->len, name);
	if (d < s->distance) {
		s->distance = d;
		s->name = name;
	}
}
