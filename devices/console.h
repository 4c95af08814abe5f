/*
 * The host side of the serial port: its output to one descriptor, its input from another.
 *
 * This joins console_output (ring, bursts), console_input (pump, pace) and the keys; each header tells its part.
 * Terminal modes are the program's business.
 *
 * Owner: the machine, which embeds struct console (it must not move) and the event loop. Life:
 *
 *	console_init(console, config)		before or after evloop_start(), on the owner's thread
 *	serial_init(serial, irq, console_backend(console))
 *	console_start(console, serial)		input begins
 *	... the VM runs; vCPU threads stop ...
 *	console_flush(console, timeout)
 *	evloop_stop(loop)
 *	console_fini(console)
 *
 * The descriptors stay the caller's; the console uses duplicates, so they may even be closed after init. A
 * program whose standard descriptors were closed by its parent should open /dev/null there before anything else
 * takes those numbers.
 *
 * Lock order: serial -> console_output -> event loop. Callbacks from the console into the serial hold no lock.
 */
#pragma once

#include <stdbool.h>

#include "devices/console_input.h"
#include "devices/console_output.h"
#include "devices/serial.h"
#include "vmm/core/evloop.h"

struct console_config {
	struct evloop *loop;
	int in_fd;  /* -1, or a closed one: no input */
	int out_fd; /* -1, or a closed one: output is discarded; may equal in_fd */
	bool keys;  /* Ctrl-A commands; for terminals */
	/* Ctrl-A x, on the loop's thread; may be NULL without keys. */
	void (*on_quit)(void *arg);
	void *arg;
};

struct console {
	/* immutable after init */
	struct console_config config;
	/* immutable after start */
	struct serial *serial;
	/* see their headers */
	struct console_output output;
	struct console_input input;
};

/* Returns 0 or negative errno. */
int console_init(struct console *console, const struct console_config *config);

/* What the serial is given. Its functions are called by vCPU threads. */
struct serial_backend console_backend(struct console *console);

/* Binds the initialized serial and begins to read input. Before the first vCPU runs. */
void console_start(struct console *console, struct serial *serial);

/*
 * Any thread. Writes what waits, until the reader takes nothing for timeout_ms, whether the loop runs or
 * not; what is left then is reported in the log. The vCPUs should have stopped.
 */
void console_flush(struct console *console, unsigned int timeout_ms);

/* The loop is stopped or was never started, and no vCPU runs. */
void console_fini(struct console *console);
