/*
 * The console's way in: from a host descriptor to the serial's receive FIFO, at the guest's pace.
 *
 * Reads at most CONSOLE_INPUT_SIZE bytes ahead; what was read is never dropped. With keys it reads ahead while the
 * guest has not taken the last ones, so that Ctrl-A x works on a guest that hangs; without, only when it has.
 *
 * Pace. The FIFO holds 16 bytes and a guest takes them out fast, in its interrupt handler. From there they go
 * to the tty's buffer (64 KiB in old Linux, 640 KiB today), which drops what the reading process does not fetch in time; and
 * unless the guest uses CRTSCTS, nothing tells us. A handler that finds the FIFO full again each time it
 * looks uses all of the CPU, its reader gets none, and a pasted megabyte arrives with holes. So the next 16 bytes
 * come after a gap as long as the guest took to drain the last ones, within GAP_MIN and GAP_MAX: the handler then
 * has at most half of the CPU however slow the machine is, and the reader, whose work per byte is much smaller
 * than that of the handler (two exits per byte), has the other half. It is still several times faster
 * than the 115200 baud that drivers are used to. A key typed long after the last one goes at once.
 *
 * The same gap passes between the guest beginning to listen and the first byte, so that a driver which enables
 * interrupts for a moment while it probes the chip, and then empties the FIFO, does not eat input.
 *
 * Where epoll refuses the descriptor (regular file, /dev/null), it counts as always ready.
 *
 * Owner: struct console. All on the loop's thread except console_input_room().
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devices/console_keys.h"
#include "devices/hostfd.h"
#include "vmm/core/evloop.h"

#define CONSOLE_INPUT_SIZE    4096
#define CONSOLE_INPUT_GAP_MIN UINT64_C(200000)	/* ns */
#define CONSOLE_INPUT_GAP_MAX UINT64_C(4000000) /* ns */

struct console_input_config {
	struct evloop *loop;
	int fd;	   /* -1: no input */
	bool keys; /* look for Ctrl-A */
	/* Offers bytes to the guest, returns how many it took; console_input_room() follows when it took fewer. */
	size_t (*receive)(void *arg, const uint8_t *buf, size_t n);
	void (*on_key)(void *arg, unsigned int pressed); /* set of enum console_key */
	void (*on_end)(void *arg);			 /* nothing more will come; may be NULL */
	void *arg;
};

struct console_input {
	/* immutable after init */
	struct console_input_config config;
	uint64_t gap_min; /* ns */
	/* owned by the loop thread */
	struct hostfd host;
	struct evloop_fd efd;
	struct evloop_timer timer;
	struct console_keys keys;
	bool ended; /* nothing more will come */
	bool retry; /* the descriptor is left alone until the timer */
	uint64_t fed_at;
	size_t pos; /* [pos, len) of buf waits for the guest */
	size_t len;
	/* the loop's own lock */
	struct evloop_task task;
	/*
	 * Any thread. The receiver's lock orders them: waiting is set before receive(), and console_input_room()
	 * comes after the receive() that took too little.
	 */
	_Atomic bool waiting;	     /* for room */
	_Atomic uint64_t drained_at; /* when there last was room */
	/* The loop thread's, too. Reading starts one place behind what waits, because a Ctrl-A that was held may come back. */
	uint8_t buf[CONSOLE_INPUT_SIZE + 2];
};

/* Returns 0 or negative errno. Nothing is read before start. */
int console_input_init(struct console_input *in, const struct console_input_config *config);

/* Begins to read. */
void console_input_start(struct console_input *in);

/*
 * Loop thread, for input that comes and goes; fd is duplicated. What was read and not yet taken stays. attach returns 0
 * or negative errno.
 */
int console_input_attach(struct console_input *in, int fd);
void console_input_detach(struct console_input *in);

/* Any thread, also under the receiver's lock. The guest emptied the FIFO, or began to listen. */
void console_input_room(struct console_input *in);

/* The loop is stopped. */
void console_input_fini(struct console_input *in);
