/*
 * The kernel of -- COMMAND: what it has to have for this command, and the modules of it that are modules.
 *
 * Owner: the caller. One thread. What cannot be done is one line on stderr.
 */
#pragma once

#include "vmm/cli/kernel_choice.h"
#include "vmm/cli/options.h"
#include "vmm/cli/root.h"

struct command_kernel {
	struct kernel_choice choice;
	uint32_t needs; /* KERNEL_PART() */
	void *modules;	/* an archive; NULL: none */
	bool no_layer;	/* the root cannot be written, for want of overlayfs; this was said */
};

/*
 * Refuses a kernel that is known to lack something. root has been opened. Returns 1 with *part to be given to the machine, 0 when there
 * is none, or negative errno.
 */
int command_kernel_open(struct command_kernel *kernel, const struct options *options,
			const struct root *root, struct vmm_initrd_part *part);

/* What vmm -- COMMAND without another option refuses to be without: a mask of KERNEL_PART(). */
uint32_t command_kernel_usual_needs(void);

/* The machine was made, and has what it needs of part. */
void command_kernel_free_modules(struct command_kernel *kernel);
