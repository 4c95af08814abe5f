/*
 * --root: what the guest has as its root: a directory of the host, which is shared with the guest or packed into it (root_dir.h), or the
 * image of a file system. Without it and without an initrd it is the host's own root.
 *
 * One thread. What cannot be done is one line on stderr.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "vmm/cli/options.h"
#include "vmm/cli/root_dir.h"

struct root {
	const char *type; /* of its file system; "": there is none, the initramfs is the root */
	char directory[PATH_MAX]; /* where the command begins */
	bool shared;		  /* it is a directory of the host */
	bool readonly;		  /* the file system cannot be written */
	struct root_dir dir;
};

/* Adds the directory to the machine's shares, or the image to its disks, or looks through the directory. Returns 0 or negative errno. */
int root_open(struct root *root, struct options *options);

/* The directory as a part of the initramfs. Returns whether there is one. */
bool root_part(struct root *root, struct vmm_initrd_part *part);

void root_close(struct root *root);
