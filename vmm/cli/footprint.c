#include "vmm/cli/footprint.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_SIZE    ((uintptr_t)4096)
#define PAGEMAP_IN   UINT64_C(0x8000000000000000)
#define PAGEMAP_SWAP UINT64_C(0x4000000000000000)
#define PAGEMAP_FILE UINT64_C(0x2000000000000000)

/* Below the caller's frame, what it still uses there, and how much of the stack the start has used at most. */
#define STACK_MARGIN (2 * PAGE_SIZE)
#define STACK_DEPTH  (16 * PAGE_SIZE)

void footprint_begin(void)
{
	/* An arena for each thread costs more memory than their few allocations are worth. */
	mallopt(M_ARENA_MAX, 1);
	/* What is larger has memory only where it is used; calloc() would write zeros over what the heap has in store. */
	mallopt(M_MMAP_THRESHOLD, 16 * 1024);
	mallopt(M_TOP_PAD, 16 * 1024);
	/* A static C library has a store of the usual size by now. */
	malloc_trim(0);
}

/*
 * What a running machine takes comes again: a chain's pieces, a packed cluster, a library's state. The heap keeps it, for an unmapping
 * interrupts the vCPUs, whose CPUs must forget the pages, and each page comes back by a fault.
 */
void footprint_run(void)
{
	mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
	mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
	mallopt(M_TOP_PAD, 256 * 1024); /* what is left of a trim, too */
}

/* Whether all that is there is as it is in the file: a debugger's breakpoints, for one, are not. */
static bool footprint_is_clean(int pagemap, uintptr_t start, uintptr_t end)
{
	uint64_t entry;

	for (; start < end; start += PAGE_SIZE) {
		if (pread(pagemap, &entry, sizeof(entry),
			  (off_t)(start / PAGE_SIZE * sizeof(entry))) != sizeof(entry) ||
		    ((entry & (PAGEMAP_IN | PAGEMAP_SWAP)) && !(entry & PAGEMAP_FILE)))
			return false;
	}
	return true;
}

/*
 * The program's code and constants: the start uses most of them, a running machine few, which come back from the page cache
 * when they are touched.
 */
static int footprint_drop_program(struct dl_phdr_info *info, size_t size, void *arg)
{
	int pagemap = *(int *)arg;

	(void)size;
	for (unsigned int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		uintptr_t start = (info->dlpi_addr + p->p_vaddr) & ~(PAGE_SIZE - 1);
		uintptr_t end = (info->dlpi_addr + p->p_vaddr + p->p_memsz) & ~(PAGE_SIZE - 1);

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W) &&
		    footprint_is_clean(pagemap, start, end))
			madvise((void *)start, end - start, MADV_DONTNEED);
	}
	return 1; /* the libraries are other programs' too */
}

/* Functions that have returned have left it behind. */
static void footprint_drop_stack(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0) & ~(PAGE_SIZE - 1);

	madvise((void *)(here - STACK_MARGIN - STACK_DEPTH), STACK_DEPTH, MADV_DONTNEED);
}

void footprint_shrink(int pagemap)
{
	if (pagemap >= 0)
		dl_iterate_phdr(footprint_drop_program, &pagemap);
	malloc_trim(0);
	footprint_drop_stack();
}
