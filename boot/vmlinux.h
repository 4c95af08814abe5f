/*
 * The kernel inside a bzImage, unpacked to where it runs.
 *
 * The payload of a bzImage for 64 bits unpacks to the file vmlinux, without symbols, behind which a relocatable kernel has
 * its relocation table. The file is unpacked into guest memory, 2 MiB below the kernel's place: with Linux's own linker
 * script most of the kernel is then where it belongs, and the rest moves down. No other memory is needed.
 *
 * Internal to boot/. Any thread, while nobody else uses the guest memory in question. Nothing is reported: whoever cannot
 * use a kernel like this leaves unpacking to the kernel.
 */
#pragma once

#include <stdatomic.h>

#include <elf.h>

#include "boot/codec.h"
#include "vmm/core/guest_mem.h"

/* Linux has 4 in 6.x, 5 with some linkers. */
#define VMLINUX_MAX_SEGMENTS 8

/* Where the kernel may be put. */
struct vmlinux_place {
	uint64_t link; /* the physical address that it is linked for (pref_address) */
	gpa_t load;    /* where that goes: the same address, or another that agrees modulo 2 MiB */
	uint64_t
		size; /* bytes from load on that it needs until it manages its memory (init_size) */
	gpa_t lowest; /* RAM from here to load is scratch; all up to load + size is RAM */
};

struct vmlinux_segment {
	uint64_t vaddr; /* as linked */
	gpa_t gpa;	/* where it is */
	uint64_t size;	/* its bytes in the file */
	uint64_t room;	/* in memory, at least as large: zeros follow */
};

struct vmlinux {
	unsigned int n_segments;
	gpa_t entry; /* startup_64 */
	/* What follows the ELF file in the payload: the relocation table, as arch/x86/tools/relocs makes it. Owned. */
	uint8_t *tail;
	size_t tail_len;
	struct vmlinux_segment segments[VMLINUX_MAX_SEGMENTS]; /* ascending by gpa, disjoint */
};

/*
 * Unpacks payload into guest memory at place. All else between place->lowest and the end of the place is zero afterwards,
 * if it was before. Returns 0 with *vmlinux to be freed by vmlinux_fini(), or a negative errno with guest memory as before:
 * those of codec_unpack(), -ENOTSUP for a kernel that cannot be put there, -ENOEXEC for what is no x86-64 kernel.
 */
int vmlinux_unpack(const struct guest_mem *mem, const struct vmlinux_place *place,
		   const struct codec_input *payload, const atomic_bool *stop,
		   struct vmlinux *vmlinux);

void vmlinux_fini(struct vmlinux *vmlinux);

/* Makes [start, end), which is RAM, zero, without keeping huge pages of which nothing else is used. */
void vmlinux_clear(const struct guest_mem *mem, gpa_t start, gpa_t end);
