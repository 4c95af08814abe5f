/*
 * Loads a kernel from an ELF executable (vmlinux): by its PVH note, or else by its entry point and the
 * Linux/x86 boot protocol.
 *
 * Internal to boot/; threads and errors as boot/kernel.h.
 */
#pragma once

#include "boot/image.h"

/*
 * file begins with the ELF magic. The guest's RAM is expected to hold zeros, so that .bss need not be
 * written. Fills in everything but image's initrd.
 */
int elf_kernel_load(const struct guest_mem *mem, const struct boot_config *cfg,
		    const struct image_file *file, struct image *image);
