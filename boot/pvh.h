/*
 * The start info of a kernel entered by PVH (Xen's docs/misc/pvh.pandoc).
 *
 * Internal to boot/.
 */
#pragma once

#include "boot/image.h"

/*
 * Writes hvm_start_info with the module list and the memory map behind it, at most BOOT_PVH_INFO_SIZE bytes,
 * to the layout's pvh_info. cfg->n_e820 is at most BOOT_E820_MAX. Returns 0, or -EFAULT when that is not RAM.
 */
int pvh_write_info(const struct guest_mem *mem, const struct boot_config *cfg,
		   const struct image *image);
