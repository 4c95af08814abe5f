/*
 * Guest RAM and the only checked way to it.
 *
 * A guest physical address is an integer (gpa_t). It becomes a host pointer in this module alone, after
 * the whole range was checked to lie inside one region. Regions are reserved lazily: a page exists once
 * somebody touches it.
 *
 * Owner: whoever calls guest_mem_init(). Threads: immutable after init, so every accessor may be called
 * from any thread. The bytes belong to the guest, which may change them at any moment: copy, check the
 * copy, use the copy.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef uint64_t gpa_t;

#define GUEST_MEM_MAX_REGIONS 4

struct guest_mem_region {
	gpa_t base;    /* bytes; multiple of the page size */
	uint64_t size; /* bytes; multiple of the page size, not 0 */
	uint8_t *host; /* set by guest_mem_init() */
};

struct guest_mem {
	/* immutable after init */
	unsigned int n_regions;
	struct guest_mem_region regions[GUEST_MEM_MAX_REGIONS]; /* ascending, disjoint */
	void *map; /* one anonymous mapping that holds all regions */
	size_t map_size;
};

/*
 * Reserves memory for the regions (base and size are read, ascending and disjoint; host is ignored).
 * Host and guest addresses agree modulo 2 MiB, so that huge pages can back the guest.
 * Returns 0, -EINVAL for a bad layout, or the errno of mmap().
 */
int guest_mem_init(struct guest_mem *mem, const struct guest_mem_region *regions,
		   unsigned int n_regions);

/* Copies out of or into guest memory. Returns 0, or -EFAULT when the range is not wholly RAM. */
int guest_mem_read(const struct guest_mem *mem, gpa_t gpa, void *dst, size_t len);
int guest_mem_write(const struct guest_mem *mem, gpa_t gpa, const void *src, size_t len);

/*
 * Host pointer to [gpa, gpa + len), or NULL when the range is not wholly inside one region. len 0 is
 * refused. The pointer is valid until guest_mem_fini(). Inline, for every descriptor of every request passes here.
 */
static inline void *guest_mem_ptr(const struct guest_mem *mem, gpa_t gpa, size_t len)
{
	for (unsigned int i = 0; i < mem->n_regions; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		uint64_t offset = gpa - r->base;

		if (gpa < r->base || offset >= r->size)
			continue;
		if (len == 0 || len > r->size - offset)
			return NULL;
		return r->host + offset;
	}
	return NULL;
}

/*
 * Gives the memory of all pages that lie wholly inside [ptr, ptr + len) back to the host; the guest reads zeros there
 * until it writes again. ptr came from guest_mem_ptr(). Nothing is pinned: the host may back a page anew with a
 * whole huge page when it is touched next. Returns 0, -EFAULT when the range is not wholly inside one region, or the
 * errno of madvise().
 */
int guest_mem_discard(const struct guest_mem *mem, void *ptr, size_t len);

/* Total bytes of RAM. */
uint64_t guest_mem_size(const struct guest_mem *mem);

void guest_mem_fini(struct guest_mem *mem);
