/*
 * Moves bytes from one non-blocking descriptor to another, in order and whole.
 *
 * It ends when there are no more bytes, or nobody who takes them; then both descriptors are closed, which tells either side.
 * One thread.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>

#include "guest/sys.h"

#define PUMP_FDS  2
#define PUMP_SIZE 65536

enum pump_flags {
	PUMP_TO_HOST =
		1
		<< 0, /* it is a socket: the host may have stopped to listen, which is noticed at once */
	PUMP_KEEP_TO = 1 << 1, /* of a terminal, whose other direction goes on */
};

struct pump {
	int from; /* -1: no more comes */
	int to;	  /* -1: it is over */
	unsigned int flags;
	size_t start, end; /* of what waits in buf */
	uint8_t buf[PUMP_SIZE];
};

/* from -1: there is nothing to move, and to is closed. */
void pump_init(struct pump *pump, int from, int to, unsigned int flags);
void pump_poll(const struct pump *pump, struct pollfd fds[PUMP_FDS]);
/* After poll(). last: nobody writes any more, so that an empty pipe or terminal is at its end. */
void pump_serve(struct pump *pump, const struct pollfd fds[PUMP_FDS], bool last);
bool pump_is_over(const struct pump *pump);
void pump_close(struct pump *pump);
