/*
 * The boot parameters of Linux/x86, known as the zero page (Documentation/x86/zero-page.rst).
 *
 * Internal to boot/.
 */
#pragma once

#include "boot/image.h"

/* Linux 6.0; older headers do not know it. */
#ifndef SETUP_RNG_SEED
#define SETUP_RNG_SEED 9
#endif

/* The setup header of a kernel whose file has none (vmlinux). */
void zero_page_init_header(struct setup_header *hdr);

/*
 * Completes image->params with memory map, initrd, command line, RSDP and setup data, and writes them to the layout's
 * zero page, and the seed of random numbers to its place. cfg->n_e820 is at most BOOT_E820_MAX. Returns 0, or -EFAULT when that is not RAM.
 */
int zero_page_write(const struct guest_mem *mem, const struct boot_config *cfg,
		    struct image *image);
