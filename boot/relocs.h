/*
 * The relocations of a Linux/x86-64 kernel that can run at another virtual address than it was linked for
 * (CONFIG_RANDOMIZE_BASE): a table behind the ELF file inside a bzImage's payload (arch/x86/tools/relocs.c).
 *
 * The table has 32-bit words: the low half of the kernel address of each place that holds an address. It consists of lists, each
 * with a 0 before it: places of 64-bit addresses; then, in kernels before 6.15, of 32-bit distances from the kernel to per-CPU data,
 * which shrink as the kernel moves up; at last places of 32-bit addresses, which the CPU extends by their sign.
 *
 * Internal to boot/. Threads: any. The table stays the caller's and must stay until the last part was applied.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Where the kernel's addresses begin (__START_KERNEL_map), and how much they span (KERNEL_IMAGE_SIZE). */
#define RELOCS_KERNEL_MAP  UINT64_C(0xffffffff80000000)
#define RELOCS_KERNEL_SPAN (UINT64_C(1) << 30)

struct relocs_list {
	size_t first; /* words into the table */
	size_t end;
};

/* A table that was found to be sound for an image of len bytes, linked for RELOCS_KERNEL_MAP + link. */
struct relocs {
	const uint8_t *table; /* need not be aligned */
	uint32_t base;	      /* the word for the image's first byte */
	uint64_t len;
	struct relocs_list list64;
	struct relocs_list inverse32; /* empty where the kernel has none */
	struct relocs_list list32;
};

/*
 * Reads a table of size bytes and nothing else. Returns 0, or -ENOEXEC for what is no such table: it does not begin with a list's
 * 0, has another number of lists, or names a place that is not inside the image; or the image does not fit the kernel's span.
 */
int relocs_parse(const void *table, size_t size, uint64_t link, uint64_t len,
		 struct relocs *relocs);

/*
 * Moves the image, all of whose len bytes are at image, up by delta: when all parts of it are moved, it runs at RELOCS_KERNEL_MAP + link +
 * delta. link + delta + len must not exceed RELOCS_KERNEL_SPAN. Part is one of parts, from 0 on; several may be moved at a time. A table
 * that has a place twice, as no kernel's does, makes bytes of no meaning there.
 */
void relocs_apply_part(const struct relocs *relocs, void *image, uint64_t delta, unsigned int part,
		       unsigned int parts);
