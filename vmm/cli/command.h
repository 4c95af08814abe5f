/*
 * -- COMMAND: one command in the guest, as if it ran here: its three streams, its terminal, its signals, its exit status.
 *
 * The guest's first program is ours (guest_init.h); it reaches us by a socket device, whose other ends are sockets of this
 * process (guest/protocol.h). The command's streams are moved by threads (pump.h), all else happens on the program's own
 * thread, which calls the functions below in this order; none of them waits, but for command_close().
 *
 * Owner: main(), which must not move it.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "guest/protocol.h"
#include "vmm/cli/boot_watch.h"
#include "vmm/cli/command_kernel.h"
#include "vmm/cli/console_tail.h"
#include "vmm/cli/events.h"
#include "vmm/cli/guest_link.h"
#include "vmm/cli/options.h"
#include "vmm/cli/pump.h"
#include "vmm/cli/root.h"

#define COMMAND_FDS 3 /* that main() polls for us */

enum command_state {
	COMMAND_BOOTING,
	COMMAND_READY, /* the guest's init runs, and was told what to do */
	COMMAND_RUNNING,
	COMMAND_EXITED, /* its status is known */
	COMMAND_DONE,	/* nothing more comes from the guest */
	COMMAND_FAILED, /* it could not be run, which was said; its status is known */
};

struct command {
	/* immutable after open */
	const struct options *options;
	struct events *events;
	char *cmdline; /* added to the kernel's */
	bool terminal;
	uint32_t flags;
	uint32_t dhcp; /* cards, as in struct guest_start */
	uint16_t umask;
	struct vmm_vsock_port ports[GUEST_PORTS]; /* the guest's ends, until the machine was made */
	int ours[GUEST_PORTS];
	int console[2]; /* ours and the machine's; -1: the console goes elsewhere */
	int pumps_over; /* eventfd: an output has come to its end, or the user wants out */
	/* immutable after begin */
	struct vmm *vm;
	/* as it goes */
	enum command_state state;
	int status;
	uint32_t early; /* signals for the command that came before it ran, bits of their numbers */
	struct boot_watch boot;
	uint64_t
		gone_deadline; /* ms of CLOCK_MONOTONIC, for a machine whose init has gone; UINT64_MAX: none */
	unsigned int notes; /* of the guest's that were shown */
	bool boot_timed_out;
	bool stream_lost; /* some of its output could not be written here, or its input not read */
	bool escaped;	  /* the user has typed that the machine shall end */
	bool kernel_seen;
	/* what takes room: after open and begin the first ones do not change */
	struct command_kernel kernel;
	struct vmm_initrd_part parts[VMM_MAX_INITRD_PARTS];
	struct pump pumps[3];
	struct root root;
	struct guest_link link;
	struct console_tail tail;
};

/* Of a command that is all zeros, as most of it stays unless it is used: makes what the machine needs and adds it to options->config. Returns 0, or negative errno after a message. */
int command_open(struct command *command, struct options *options, struct events *events);

/* The machine was made. */
void command_created(struct command *command, struct vmm *vm);

/* Before it starts: begins to move the streams, by threads that, when confined, may do nothing else. Signals are blocked by now. Returns 0, or negative errno after a message. */
int command_begin(struct command *command, uint64_t now, bool confined);

/* ---- while it runs ---- */

void command_poll(const struct command *command, struct pollfd fds[COMMAND_FDS]);
void command_serve(struct command *command, const struct pollfd fds[COMMAND_FDS], uint64_t now);

/* When command_check() wants to be called. */
uint64_t command_deadline(const struct command *command);
void command_check(struct command *command, uint64_t now);

/* Passes a signal on; one that is the command's alone waits until it runs. Returns false when there is no command to pass it on to. */
bool command_signal(struct command *command, int signal);

/* vmm was stopped, and goes on. */
void command_continue(struct command *command, uint64_t now);

/* ---- the end ---- */

/* Whether it has ended, and all that it wrote is where it belongs. */
bool command_is_done(const struct command *command);

/* Why the machine has ended, which had been stopped for the command: a word for the event. */
const char *command_reason(const struct command *command);

/* The machine has ended; done: then command_is_done(). Says what went wrong, if something did. Returns the exit status, which is status if we know no better. */
int command_end(struct command *command, bool done, enum vmm_end end, int status);

/* The machine is gone. Waits for who reads the output, as long as he does, or a signal ends the program. */
void command_close(struct command *command);

/* ---- between the files of command*.c ---- */

/* Reads the console, as much as is to be had at once. Returns whether there may be more. */
bool command_read_console(struct command *command);
/* Something has become of the streams: a write that failed is said; that nobody reads any more is no failure. */
void command_on_pump(struct command *command);
