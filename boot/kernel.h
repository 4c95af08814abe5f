/*
 * Loads a kernel, its initrd and its command line into guest memory and says where the first vCPU begins.
 *
 * Implements the Linux/x86 boot protocol (Documentation/x86/boot.rst, 2.06 and later) and PVH
 * (xen/include/public/arch-x86/hvm/start_info.h). The kind of file is told by its content.
 *
 * Owner: the caller owns everything that boot_config points to, and may close the descriptors and free the
 * strings when boot_finish() returned. Threads: any, while no vCPU runs and nobody else writes to the guest
 * memory that e820 calls RAM above 1 MiB.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/core/guest_mem.h"

enum boot_protocol {
	BOOT_LINUX64, /* 64-bit mode, paging on, rsi = params */
	BOOT_LINUX32, /* protected mode, paging off, esi = params, ebp = edi = ebx = 0 */
	BOOT_PVH,     /* protected mode, paging off, ebx = params */
};

/* Selectors in the GDT that boot_finish() writes: flat code and data of 4 GiB, and a TSS. */
#define BOOT_CS	     0x10
#define BOOT_DS	     0x18
#define BOOT_TR	     0x20
#define BOOT_GDT_LEN 40

/* Bytes that boot_finish() may write at each address of struct boot_layout. */
#define BOOT_ZERO_PAGE_SIZE   4096
#define BOOT_PAGE_TABLES_SIZE (6 * 4096)
#define BOOT_PVH_INFO_SIZE    4096
#define BOOT_RNG_SEED_SIZE    48

/* Where the small things go: disjoint, in RAM below 1 MiB, at multiples of 8. */
struct boot_layout {
	gpa_t zero_page;
	gpa_t cmdline;
	size_t cmdline_max; /* bytes, with the terminating NUL */
	gpa_t gdt;
	gpa_t page_tables; /* multiple of 4096 */
	gpa_t pvh_info;
	gpa_t acpi_rsdp;  /* 0: none */
	gpa_t setup_data; /* what the caller writes there is given to Linux; 0: none */
	gpa_t rng_seed;	  /* random numbers for Linux go there, before that in its list; 0: none */
};

struct boot_e820 {
	gpa_t base;
	uint64_t size;
	uint32_t type; /* E820_TYPE_RAM and so on: 1 RAM, 2 reserved, 3 ACPI data, 4 ACPI NVS */
};

#define BOOT_E820_RAM	   1
#define BOOT_E820_RESERVED 2

/* E820_MAX_ENTRIES_ZEROPAGE of <asm/bootparam.h> */
#define BOOT_E820_MAX 128

/*
 * A piece of the initrd that is no file, behind those before it. Each begins at a multiple of 4 bytes with zeros before it, which is how
 * Linux tells archives that follow one another.
 */
struct boot_initrd_part {
	uint64_t size;
	const void *data; /* NULL: fill() writes size bytes */
	/* Returns 0, or negative errno after a message. */
	int (*fill)(void *arg, void *to, size_t size);
	void *arg;
};

struct boot_config {
	int kernel_fd;
	const char *kernel_name; /* for messages */
	int initrd_fd;		 /* -1: none */
	const char *initrd_name;
	const struct boot_initrd_part *initrd_parts; /* behind that file */
	unsigned int n_initrd_parts;
	const char *cmdline;
	const struct boot_layout *layout;
	const struct boot_e820 *e820; /* ascending; kernel and initrd go to its RAM above 1 MiB */
	unsigned int n_e820;	      /* at most BOOT_E820_MAX */
	bool quiet;		      /* errors are not reported */
	bool kaslr;		      /* see boot_begin() */
};

/* Everything the register file of the first vCPU needs. Interrupts are off, direction flag clear. */
struct boot_entry {
	enum boot_protocol protocol;
	gpa_t entry;	      /* instruction pointer */
	gpa_t params;	      /* zero page, or hvm_start_info for PVH */
	gpa_t gdt;	      /* BOOT_GDT_LEN bytes */
	gpa_t page_tables;    /* cr3, identity map of 4 GiB; 0 unless protocol is BOOT_LINUX64 */
	gpa_t initrd;	      /* where it was loaded */
	uint64_t initrd_size; /* 0: none */
};

/* Whether a word of the command line begins so, and, if whole, ends there. */
bool boot_has_word(const char *line, const char *start, bool whole);

/*
 * A kernel that is being unpacked. Owner: whoever called boot_begin(), until boot_finish() or boot_abandon().
 */
struct boot_job;

/*
 * Begins to unpack a compressed kernel to where it runs, on a thread of its own, so that the caller can make the rest of the
 * machine meanwhile. cfg's kernel_fd, which is used until the end of the job, kernel_name and e820 are those of
 * boot_finish(). cache_dir is where unpacked kernels are kept, NULL for nowhere (boot/kernel_cache.h).
 *
 * With cfg->kaslr the kernel gets random addresses. Then cmdline, of which the words of the user are enough, and initrd_fd are
 * looked at too: the word nokaslr is honoured, and the kernel is put where both fit.
 *
 * Returns NULL where there is nothing to unpack, or the kernel has to do it itself. Reports nothing: boot_finish() does.
 */
struct boot_job *boot_begin(const struct guest_mem *mem, const struct boot_config *cfg,
			    const char *cache_dir);

/* Stops the job, soon, and forgets it. NULL is fine. */
void boot_abandon(struct boot_job *job);

/*
 * Loads everything. job is that of boot_begin(), which ends here in any case; NULL: none. A kernel that was not unpacked
 * unpacks itself.
 *
 * Returns 0, or a negative errno after one line by log_error() that names the file: -ENOEXEC for what is no
 * bootable kernel, -ENOMEM for what does not fit into the guest's memory, -E2BIG for a command line too
 * long, -EINVAL for a bad initrd, or the errno of fstat(), pread() or getrandom(), or what the fill() of an initrd part
 * returned.
 */
int boot_finish(struct boot_job *job, const struct guest_mem *mem, const struct boot_config *cfg,
		struct boot_entry *entry);
