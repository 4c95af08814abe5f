#include "vmm/core/lazy.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE_SIZE ((uintptr_t)4096)

void *lazy_calloc(size_t n, size_t size)
{
	void *array = calloc(n, size);
	uintptr_t start = ((uintptr_t)array + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1);
	uintptr_t end = ((uintptr_t)array + n * size) & ~(PAGE_SIZE - 1);

	/* A hint; a kernel without huge pages refuses it. */
	if (array && start < end)
		madvise((void *)start, end - start, MADV_NOHUGEPAGE);
	return array;
}
