/*
 * Places the initrd in guest memory: behind the kernel where it fits, else before it.
 *
 * Internal to boot/; threads as boot/kernel.h.
 */
#pragma once

#include "boot/image.h"

/*
 * The size of all of it: the file and the parts. Returns 0, or a negative errno after one line by log_error().
 */
int initrd_measure(const struct boot_config *cfg, uint64_t *size);

/*
 * Reads cfg->initrd_fd, and the parts, into RAM that the kernel of image does not occupy, not above image->initrd_max, and
 * sets image->initrd and initrd_size. Returns 0, or a negative errno after one line by log_error().
 */
int initrd_load(const struct guest_mem *mem, const struct boot_config *cfg, struct image *image);
