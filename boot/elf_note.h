/*
 * Looks for the PVH entry point among the notes of an ELF kernel (ELF gABI "Note Section"; xen's
 * public/elfnote.h).
 *
 * Internal to boot/; errors are reported here, as boot/image.h says.
 */
#pragma once

#include <stdbool.h>

#include "boot/elf_file.h"

/* Sets *found, and *entry to the address in the XEN_ELFNOTE_PHYS32_ENTRY note when there is one. */
int elf_note_find_pvh(const struct boot_config *cfg, const struct image_file *file,
		      const struct elf_file *elf, bool *found, uint64_t *entry);
