/*
 * The console's way out: a ring of fixed size between the vCPU threads and a host descriptor.
 *
 * A vCPU appends bytes under a short lock and makes no system call but to wake the loop: for the first byte in
 * an empty ring, and when a burst has gathered. The loop writes bursts: at once when CONSOLE_OUTPUT_BURST bytes wait,
 * else CONSOLE_OUTPUT_DELAY after the first, so that a line or a screen costs one write. Neither thread ever
 * blocks, but for the loop when the descriptor is a regular file whose storage does. A reader that stops leaves the
 * ring full; then room() is false, and ready() is called when half of the ring is free again.
 *
 * A reader that is gone, or a descriptor that fails (full disk), is reported by one line in the log; output is discarded
 * from then on and the VM lives.
 *
 * Owner: struct console. Lock order: (caller's locks) -> lock -> event loop. The lock is never held across a write.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/hostfd.h"
#include "vmm/core/evloop.h"

#define CONSOLE_OUTPUT_SIZE  (64 * 1024)
#define CONSOLE_OUTPUT_BURST 4096
#define CONSOLE_OUTPUT_DELAY UINT64_C(2000000) /* ns */

/* console_output_put() reports "no room" below this; so many bytes still fit after it said "room". */
#define CONSOLE_OUTPUT_RESERVE 16

struct console_output {
	/* immutable after init */
	struct evloop *loop;
	void (*ready)(void *arg);
	void *arg;
	/* owned by the loop thread */
	void (*gone)(void *gone_arg); /* NULL: a reader that is gone is reported; else see attach */
	void *gone_arg;
	struct hostfd host;
	bool blocked; /* waits for EPOLLOUT, or for the timer where that cannot be had */
	struct evloop_fd efd;
	struct evloop_timer timer;
	/* the loop's own lock */
	struct evloop_task task;
	/* set by any thread; orders nothing */
	atomic_bool hurry; /* in flush a reader is given up who takes nothing for 100 ms */
	/* under lock; the loop reads ring[tail..] outside it, which no producer touches */
	pthread_mutex_t lock;
	uint32_t head; /* free running; the next byte goes here */
	uint32_t tail;
	bool starved; /* somebody was told that there is no room */
	bool discard;
	uint8_t ring[CONSOLE_OUTPUT_SIZE];
};

/*
 * Before evloop_start() or on the loop thread. fd -1: everything is discarded. ready() runs on the loop thread
 * (or in flush) without a lock held. Returns 0 or negative errno.
 */
int console_output_init(struct console_output *out, struct evloop *loop, int fd,
			void (*ready)(void *arg), void *arg);

/*
 * Any thread. Appends a byte, or drops it when the ring is full. Returns whether CONSOLE_OUTPUT_RESERVE more
 * bytes fit; after false, ready() will be called.
 */
bool console_output_put(struct console_output *out, uint8_t byte);

/*
 * Any thread. Appends as many bytes as fit beside what console_output_put() promises. Returns how many; after fewer
 * than n, ready() will be called.
 */
size_t console_output_append(struct console_output *out, const void *buf, size_t n);

/* Any thread. Appends text of our own when it fits without touching the guest's share, else drops it. */
void console_output_text(struct console_output *out, const char *text);

/*
 * Loop thread, or the loop does not run. Writes the rest; gives up when the reader takes nothing for timeout_ms, and after three times
 * that.
 */
void console_output_flush(struct console_output *out, unsigned int timeout_ms);

/*
 * Loop thread, for readers that come and go. While none is attached output is discarded. attach duplicates fd; it
 * returns 0 or negative errno. detach drops what was not written. Between the two gone(), if it was set, is called once
 * when the reader is lost.
 */
int console_output_attach(struct console_output *out, int fd);
void console_output_detach(struct console_output *out);

/* The loop is stopped and no thread appends any more. */
void console_output_fini(struct console_output *out);
