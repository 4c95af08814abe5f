/*
 * What was meant by a word that was mistyped: the name that is nearest, if one is near enough. Pure. One thread.
 */
#pragma once

#include <stddef.h>

struct suggestion {
	const char *word; /* as typed, without dashes before it; borrowed */
	size_t len;
	const char *name; /* the nearest so far, borrowed; NULL: none is near */
	unsigned int distance;
};

/* The word ends at an equals sign. */
struct suggestion suggest_begin(const char *word);

void suggest_try(struct suggestion *s, const char *name);
