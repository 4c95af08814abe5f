/*
 * Loads a bzImage: the Linux/x86 boot protocol 2.06 to 2.15 (Documentation/x86/boot.rst).
 *
 * Internal to boot/; threads and errors as boot/kernel.h.
 */
#pragma once

#include "boot/image.h"
#include "boot/vmlinux.h"

/* file begins as kernel_kind_find() wants a bzImage to. Fills in everything but image's initrd. */
int bzimage_load(const struct guest_mem *mem, const struct boot_config *cfg,
		 const struct image_file *file, struct image *image);

/* What vmlinux_unpack() is to be told to unpack the kernel itself, as far as its headers tell. */
struct bzimage_unpack {
	struct codec_input payload;
	struct vmlinux_place place;
};

/*
 * Finds out how a kernel can be unpacked, and fills in image for one that was, but for its entry. file as above. Returns 0,
 * -ENOTSUP for a kernel that has to unpack itself, or any error of bzimage_load().
 */
int bzimage_prepare_unpack(const struct guest_mem *mem, const struct boot_config *cfg,
			   const struct image_file *file, struct image *image,
			   struct bzimage_unpack *unpack);
