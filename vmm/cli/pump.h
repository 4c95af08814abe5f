/*
 * Threads that move the bytes of a command's standard streams between our own descriptors and the machine's sockets: they may
 * wait as long as it takes, and change no flags of descriptors that others have too.
 *
 * Life: init; start, and wait until they have begun, before the machine runs; then they end by themselves, or with the process.
 * Their signals are blocked, but for SIGTTIN of an input, which stops the process.
 *
 * Owner: struct command. Threads: functions are the owner's.
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ctrl-] twice and a third key, within a second and with no other key between them. They are passed on like all others. */
#define PUMP_ESCAPE    0x1d
#define PUMP_ESCAPE_MS 1000

enum pump_key {
	PUMP_KEY_END = 1 << 0,	/* Ctrl-]: the user wants out */
	PUMP_KEY_SHOW = 1 << 1, /* d */
	PUMP_KEY_DUMP = 1 << 2, /* c */
	PUMP_KEY_HELP = 1 << 3, /* h */
};

enum pump_kind {
	PUMP_INPUT, /* waits until it is let go; the end of the input is passed on */
	PUMP_OUTPUT,
};

struct pump {
	/* immutable after start */
	bool confined; /* before start: the thread gives up what it does not need */
	bool keys; /* before start: the input is a terminal's, where PUMP_ESCAPE means something */
	enum pump_kind kind;
	int from;
	int to;
	int gate;      /* eventfd that an input waits for */
	bool terminal; /* the input is one, be it ours or not */
	int signal;    /* eventfd that is told of what follows; borrowed */
	/* of the thread, which has no end but the program's; a local would be made zeros first */
	char *buf;
	int unconfined; /* immutable once begun: 0, or the negative errno for which the thread has no filter */
	sem_t begun;
	/* any thread */
	atomic_bool over;	  /* an output has come to its end */
	atomic_bool moved;	  /* some was taken since somebody looked */
	atomic_uint keys_pressed; /* enum pump_key; who has seen to them takes them away */
	atomic_int error; /* positive errno of reading an input, or of writing an output; 0: none */
};

/* Returns 0 or negative errno. */
int pump_start(struct pump *pump, enum pump_kind kind, int from, int to, int signal);
/* After start, once: until the thread has given up what it does not need. Returns 0, or negative errno if it could not. */
int pump_wait_begun(struct pump *pump);
void pump_let_go(const struct pump *pump);
bool pump_is_over(const struct pump *pump);

/* How often PUMP_ESCAPE was typed last, up to twice, and when. */
struct pump_escape {
	unsigned int times;
	uint64_t at[2];
};

/* Takes what was typed at a time in ms. Returns what it asks of us (enum pump_key). A pure function. */
unsigned int pump_escape_look(struct pump_escape *escape, const char *bytes, size_t n,
			      uint64_t now);
