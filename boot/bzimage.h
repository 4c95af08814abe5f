/*
 * Loads a bzImage: the Linux/x86 boot protocol 2.06 to 2.15 (Documentation/x86/boot.rst).
 *
 * Internal to boot/; threads and errors as boot/kernel.h.
 */
#pragma once

#include "boot/image.h"

/* file begins as kernel_kind_find() wants a bzImage to. Fills in everything but image's initrd. */
int bzimage_load(const struct guest_mem *mem, const struct boot_config *cfg,
		 const struct image_file *file, struct image *image);
