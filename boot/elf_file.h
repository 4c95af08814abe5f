/*
 * The headers of an ELF file, read and checked. The 32-bit class is widened to the 64-bit structs.
 *
 * Internal to boot/; errors are reported here, as boot/image.h says.
 */
#pragma once

#include <stdbool.h>

#include <elf.h>

#include "boot/image.h"

#define ELF_FILE_MAX_PHDRS 64

struct elf_file {
	bool is32;
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdrs[ELF_FILE_MAX_PHDRS]; /* ehdr.e_phnum of them */
};

/* Refuses what is no executable of x86 or x86-64. */
int elf_file_read(const struct boot_config *cfg, const struct image_file *file,
		  struct elf_file *elf);
