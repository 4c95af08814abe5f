/*
 * The last of a console that goes nowhere else, kept for the case that the machine fails.
 *
 * Owner: struct command. One thread.
 */
#pragma once

#include <stddef.h>

/* A panic with the fault that led to it, each with its trace. */
#define CONSOLE_TAIL_SIZE 16384

struct console_tail {
	size_t len; /* of all that came, free running */
	char ring[CONSOLE_TAIL_SIZE];
	char text[CONSOLE_TAIL_SIZE + 1];
};

/* Takes n bytes. */
void console_tail_put(struct console_tail *tail, const char *bytes, size_t n);

/* What there is, from the begin of a line on, without carriage returns; the tail's own, until the next call. */
char *console_tail_text(struct console_tail *tail);
