#include "boot/scratch.h"

#include <sys/mman.h>

void *scratch_get(size_t len)
{
	void *scratch = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return scratch == MAP_FAILED ? NULL : scratch;
}

void scratch_free(void *scratch, size_t len)
{
	if (scratch)
		munmap(scratch, len);
}
