#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "vmm/core/guest_mem.h"
#include "vmm/core/thread.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* What a thread takes at a time. */
#define PREFAULT_STEP	     UINT64_C(0x4000000)
/* The kernel zeroes pages about as fast as memory takes it; more threads do not help. */
#define PREFAULT_MAX_THREADS 16

struct prefault {
	const struct guest_mem *mem;
	_Atomic uint64_t
		next[GUEST_MEM_MAX_REGIONS]; /* the offset in each region that is not taken yet */
	_Atomic int err;
};

/* Linux before 5.14. Nobody else uses the memory yet. */
static void guest_mem_touch(uint8_t *start, uint64_t len)
{
	for (uint64_t i = 0; i < len; i += 4096) {
		volatile uint8_t *byte = start + i;

		*byte = *byte;
	}
}

static int guest_mem_populate(uint8_t *start, uint64_t len)
{
	if (madvise(start, len, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	guest_mem_touch(start, len);
	return 0;
}

static void *guest_mem_prefault_some(void *arg)
{
	struct prefault *p = arg;

	for (unsigned int i = 0; i < p->mem->n_regions; i++) {
		const struct guest_mem_region *r = &p->mem->regions[i];
		uint64_t at;

		while (p->err == 0 &&
		       (at = atomic_fetch_add(&p->next[i], PREFAULT_STEP)) < r->size) {
			uint64_t left = r->size - at;
			int err = guest_mem_populate(r->host + at,
						     left < PREFAULT_STEP ? left : PREFAULT_STEP);

			if (err < 0)
				p->err = err;
		}
	}
	return NULL;
}

/* How many threads beside the caller's have a CPU and something to do. */
static unsigned int guest_mem_helpers(const struct guest_mem *mem)
{
	uint64_t steps = guest_mem_size(mem) / PREFAULT_STEP;
	unsigned int n = 1;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = (unsigned int)CPU_COUNT(&set);
	if (n > PREFAULT_MAX_THREADS)
		n = PREFAULT_MAX_THREADS;
	if (n > steps)
		n = (unsigned int)steps;
	return n > 0 ? n - 1 : 0;
}

int guest_mem_prefault(const struct guest_mem *mem)
{
	struct prefault p = {.mem = mem};
	pthread_t helpers[PREFAULT_MAX_THREADS];
	unsigned int wanted = guest_mem_helpers(mem), n = 0;

	while (n < wanted &&
	       thread_start(&helpers[n], "vmm-prefault", guest_mem_prefault_some, &p, NULL) == 0)
		n++;
	guest_mem_prefault_some(&p);
	while (n > 0)
		pthread_join(helpers[--n], NULL);
	return p.err;
}
