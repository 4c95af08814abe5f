/*
 * --root: what the guest has as its root, a directory of the host (root_dir.h) or the image of a file system.
 *
 * One thread. What cannot be done is one line on stderr.
 */
#pragma once

#include <stdbool.h>

#include "vmm/cli/options.h"
#include "vmm/cli/root_dir.h"

struct root {
	const char *
		type; /* of the image's file system; "": there is none, the initramfs is the root */
	bool readonly; /* the file system cannot be written */
	struct root_dir dir;
};

/* Adds the image to the machine's disks, or looks through the directory. Returns 0 or negative errno. */
int root_open(struct root *root, struct options *options);

/* The directory as a part of the initramfs. Returns whether there is one. */
bool root_part(struct root *root, struct vmm_initrd_part *part);

void root_close(struct root *root);
