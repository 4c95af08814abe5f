/*
 * Threads that move the bytes of a command's standard streams between our own descriptors and the machine's sockets: they may
 * wait as long as it takes, and change no flags of descriptors that others have too.
 *
 * Life: init; start, before the machine runs; then they end by themselves, or with the process. Their signals are blocked.
 *
 * Owner: struct command. Threads: functions are the owner's.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum pump_kind {
	PUMP_INPUT, /* waits until it is let go; the end of the input is passed on */
	PUMP_OUTPUT,
};

struct pump {
	/* immutable after start */
	bool confined; /* before start: the thread gives up what it does not need */
	enum pump_kind kind;
	int from;
	int to;
	int gate;   /* eventfd that an input waits for */
	int signal; /* eventfd that an output tells of its end; borrowed */
	/* any thread; set once */
	atomic_bool over;
	atomic_int error; /* positive errno of writing; 0: none */
};

/* Returns 0 or negative errno. */
int pump_start(struct pump *pump, enum pump_kind kind, int from, int to, int signal);
void pump_let_go(const struct pump *pump);
bool pump_is_over(const struct pump *pump);
