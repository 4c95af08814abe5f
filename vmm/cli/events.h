/*
 * --events: what happens to the machine, one line of JSON for each step, each with its time.
 *
 *	{"time":1700000000.123456,"elapsed":0.004321,"event":"created"}
 *
 * time is that of the host's clock, elapsed are seconds since the program began; both are of the step itself, which may be some
 * time before its line. What cannot be written without waiting is said once, and the machine goes on without them; a full disk may have
 * room for a later one.
 *
 * Owner: main(). One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct events {
	int fd; /* -1: nobody wants them */
	bool owned;
	bool fresh;	/* a file that may still hold another run's */
	bool full;	/* the disk had no room for the last line */
	bool cut;	/* but for a part of it */
	uint64_t began; /* ns of CLOCK_MONOTONIC */
};

/* what: a file's name, "fd=N", or NULL for none. Returns 0, or negative errno after one line on stderr. */
int events_open(struct events *events, const char *what);

/* Writes a line for a step that was ago ns before now, but not before the program began. more is what follows the name, such as ",\"status\":0", or "". */
void events_tell(struct events *events, uint64_t ago, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Writes text as a JSON string with its quotes, as far as it fits. What is not UTF-8 becomes U+FFFD. Returns buf. */
const char *events_quote(char *buf, size_t size, const char *text);

void events_close(struct events *events);
