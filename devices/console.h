/*
 * The host side of the guest's console: its output to one descriptor, its input from another, or both over
 * a socket that others connect to.
 *
 * This joins console_output (ring, bursts), console_input (pump, pace), the keys and console_socket; each header tells
 * its part. The guest's side is the serial port, or a port of another kind that whoever wires the machine describes by
 * struct console_port: then input goes there, and the output of both comes here.
 * Terminal modes are the program's business.
 *
 * Owner: the machine, which embeds struct console (it must not move) and the event loop. Life:
 *
 *	console_init(console, config)		before or after evloop_start(), on the owner's thread
 *	serial_init(serial, irq, console_backend(console))
 *	console_set_port(console, port)		when there is one
 *	console_start(console, serial)		input begins
 *	... the VM runs; vCPU threads stop ...
 *	console_flush(console, timeout)
 *	evloop_stop(loop)
 *	console_fini(console)
 *
 * The descriptors stay the caller's; the console uses duplicates, so they may even be closed after init.
 *
 * Lock order: serial -> console_output -> event loop. Callbacks from the console into the serial hold no lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "devices/console_input.h"
#include "devices/console_output.h"
#include "devices/console_socket.h"
#include "devices/serial.h"
#include "vmm/core/evloop.h"

struct console_config {
	struct evloop *loop;
	int in_fd;  /* -1: no input */
	int out_fd; /* -1: output is discarded; may equal in_fd */
	bool keys;  /* Ctrl-A commands; for terminals */
	/* A set of enum console_key, on the loop's thread, without a lock held; may be NULL without keys. */
	void (*on_keys)(void *arg, unsigned int pressed);
	void *arg;
};

/* A way into the guest besides the serial port. Both are called on the loop's thread, without a lock held. */
struct console_port {
	/* Offers n bytes of input, returns how many were taken; console_room() follows when it took fewer. */
	size_t (*receive)(void *arg, const uint8_t *buf, size_t n);
	/* There is room for output after console_write() took less than it was given. */
	void (*tx_ready)(void *arg);
	void *arg;
};

struct console {
	/* immutable after init */
	struct console_config config;
	/* immutable after start */
	struct serial *serial;
	struct console_port port; /* receive is NULL: none */
	/* see their headers */
	struct console_output output;
	struct console_input input;
	struct console_socket socket;
	/* any thread; orders nothing */
	atomic_bool wrote; /* the guest has, since this was last asked */
};

/* Returns 0 or negative errno, with nothing left to finish. */
int console_init(struct console *console, const struct console_config *config);

/* What the serial is given. Its functions are called by vCPU threads. */
struct serial_backend console_backend(struct console *console);

/* Before start. The port's functions are not called before console_start(). */
void console_set_port(struct console *console, const struct console_port *port);

/*
 * Before start. Instead of in_fd and out_fd, which are -1: who connects to this socket, which is borrowed. It listens
 * when console_start() is called.
 */
void console_listen(struct console *console, int fd);

/* For the port. Any thread: takes n bytes of output or fewer, returns how many. */
size_t console_write(struct console *console, const void *buf, size_t n);
/* Any thread. Whether the guest has written something since this was last asked, be it read by anybody or not. */
bool console_wrote(struct console *console);

/* For the port. Any thread: it can take input again. */
void console_room(struct console *console);

/* Binds the initialized serial and begins to read input. Before the first vCPU runs. */
void console_start(struct console *console, struct serial *serial);

/* Any thread. A reader who takes nothing for 100 ms is given up by console_flush(), be that under way or not. */
static inline void console_hurry(struct console *console)
{
	atomic_store_explicit(&console->output.hurry, true, memory_order_relaxed);
}

/*
 * Any thread. Writes what waits, until the reader takes nothing for timeout_ms, or not all in three times that, whether the loop
 * runs or not; what is left then is reported in the log. The vCPUs should have stopped.
 */
void console_flush(struct console *console, unsigned int timeout_ms);

/* The loop is stopped or was never started, and no vCPU runs. */
void console_fini(struct console *console);
