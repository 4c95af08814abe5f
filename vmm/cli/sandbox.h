/*
 * The program's part of the sandbox: what it has from its parent and does not need, the layers of its process, and the
 * end when a thread was refused a system call.
 *
 * Owner: main(). One thread; but the handler of SIGSYS runs on the thread that was refused.
 */
#pragma once

#include <stdbool.h>

#include "vmm/cli/events.h"
#include "vmm/cli/options.h"

struct sandbox {
	int *inherited; /* descriptors that were open when we started, but for the standard ones */
	unsigned int n_inherited;
	int unlisted;	  /* 0, or the negative errno for which more of them may be open */
	int violation_fd; /* polls readable once a thread was refused a call; -1: there is no sandbox */
	struct events *events; /* are told of an end that main() cannot tell of; set before enter */
};

/* Notes what we have inherited. Before anything is opened. */
void sandbox_begin(struct sandbox *sandbox);

/*
 * Gives up what the process will not need; remove_in: see struct vmm_confinement, -1: nothing. Between vmm_prepare() and
 * vmm_start(). Returns 0, or negative errno after a message.
 */
int sandbox_enter(struct sandbox *sandbox, struct vmm *vm, const struct options *options,
		  int remove_in);

/* Tells of the end after a refusal, once. */
void sandbox_tell_refused(struct events *events);
