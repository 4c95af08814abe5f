/*
 * A machine while it runs: signals, time limits, its command if it has one, and how it ended.
 *
 * Owner: main(), which fills the struct before it calls. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/command.h"
#include "vmm/cli/events.h"
#include "vmm/cli/options.h"

struct run {
	struct vmm *vm;
	const struct options *options;
	struct command *command; /* NULL: none */
	struct events *events;
	const char *reason; /* why it ended, for the event; NULL: there was no machine */
	int signal_fd;
	int signal;	  /* the last that asked us to end; 0: none */
	uint64_t asked;	  /* when that was, in ms of CLOCK_MONOTONIC */
	bool forced;	  /* the VM was ended by a signal, without asking the guest (any more) */
	bool late;	  /* because it had taken too long */
	bool timed_out;	  /* so was it, by --timeout */
	bool done;	  /* when it ended the command had, with all that it wrote */
	bool refused;	  /* a thread was stopped by the sandbox, and its locks are held for ever */
	uint64_t timeout; /* ms of CLOCK_MONOTONIC; UINT64_MAX: never */
	uint64_t grace;
	uint64_t settled;
	int violation_fd;
};

/* ms of CLOCK_MONOTONIC */
uint64_t run_now_ms(void);

/* Signals are ours from here on: blocks what we handle and returns a signalfd for it, or negative errno. */
int run_open_signals(bool command);

/* Before that: what is for a command alone must not end us before it runs. It waits, and is then read as all others. */
void run_hold_command_signals(void);

/* The guest is told the size of its console's terminal. */
void run_tell_size(const struct run *run);

/* --timeout counts from here on. */
void run_begin_timeout(struct run *run);

/* Until the machine has ended, which is to be told when it is gone. Returns the exit status. */
int run_until_end(struct run *run);
