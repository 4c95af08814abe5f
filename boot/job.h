/*
 * The thread that unpacks a kernel: between boot_begin() and boot_finish(), which are in boot/kernel.h.
 *
 * Internal to boot/.
 */
#pragma once

#include "boot/bzimage.h"

/*
 * Waits for the job and frees it. Returns 0 with the kernel in guest memory and *image filled in, or a negative errno when
 * the kernel is not unpacked: guest memory is as it was, and nothing was reported. job NULL: -ENOENT.
 */
int boot_job_end(struct boot_job *job, struct image *image);

/* kernel.c: as bzimage_prepare_unpack(), for the file of cfg. -ENOTSUP for what is no bzImage. */
int boot_prepare_unpack(const struct guest_mem *mem, const struct boot_config *cfg,
			struct image *image, struct bzimage_unpack *unpack);
