/*
 * Why something could not be done with an image, in words for one line: what, with what, why, and what to do where that is not obvious.
 *
 * Owner: the caller. One thread.
 */
#pragma once

struct image_why {
	char text[1024];
};

/* Writes the words and returns err, a negative errno. */
int image_fail(struct image_why *why, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
