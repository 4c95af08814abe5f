/*
 * --root: what the guest has as its root: a directory of the host, which is shared with the guest or packed into it (root_dir.h), the
 * image of a file system, or that of a container (root_image.c). Without it and without an initrd it is the host's own root.
 *
 * One thread. What cannot be done is one line on stderr.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "vmm/cli/options.h"
#include "vmm/cli/root_dir.h"
#include "vmm/image/image_cache.h"

struct root {
	const char *type; /* of its file system; "": there is none, the initramfs is the root */
	unsigned int
		packed_by; /* of a squashfs: its compressor, as its superblock has it; 0: not known */
	bool shared;	   /* it is a directory of the host */
	bool readonly;	   /* the file system cannot be written */
	bool container;	   /* it is a container image's */
	const char *user;	  /* "": root */
	const char *path;	  /* of the image; borrowed */
	struct image_entry image; /* a container image's; held as long as the process lives */
	struct root_dir dir;
	char directory[PATH_MAX]; /* where the command begins */
};

/* Adds the directory to the machine's shares, or the image to its disks, or looks through the directory. Returns 0 or negative errno. */
int root_open(struct root *root, struct options *options);

/* The directory as a part of the initramfs. Returns whether there is one. */
bool root_part(struct root *root, struct vmm_initrd_part *part);

/* A container image: finds or makes its file system, and adds its command and environment to the options. Returns 0 or negative errno. */
int root_open_container(struct root *root, struct options *options);

/* Adds the file system to the machine's disks, as the first. Returns 0 or -EINVAL. */
int root_add_disk(const struct root *root, struct options *options);

/* Reads what a squashfs is packed by. */
void root_look_at_squashfs(struct root *root, int fd);

void root_close(struct root *root);
