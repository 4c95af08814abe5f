/*
 * The last lines of a console that goes nowhere else, kept for the case that the machine fails.
 *
 * Owner: struct command. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define CONSOLE_TAIL_SIZE   8192
#define CONSOLE_TAIL_LINES  20
/* Of a panic: lines before it, and all that are shown. */
#define CONSOLE_TAIL_BEFORE 10
#define CONSOLE_TAIL_PANIC  40

struct console_tail {
	size_t len; /* of all that came, free running */
	char ring[CONSOLE_TAIL_SIZE];
};

/* Takes n bytes. */
void console_tail_put(struct console_tail *tail, const char *bytes, size_t n);

/* Writes the last lines, or those around a panic, to stderr, each after "vmm: console: ". Returns whether there were any. */
bool console_tail_show(const struct console_tail *tail);
