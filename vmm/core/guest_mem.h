/*
 * Guest RAM and the only checked way to it.
 *
 * A guest physical address is an integer (gpa_t). It becomes a host pointer in this module alone, after
 * the whole range was checked to lie inside one region. Regions are reserved lazily: a page exists once
 * somebody touches it. What lies between the regions' host addresses can be neither read nor written.
 *
 * Owner: whoever calls guest_mem_init(). Threads: immutable after init, so every accessor may be called
 * from any thread. The bytes belong to the guest, which may change them at any moment: copy, check the
 * copy, use the copy.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t gpa_t;

#define GUEST_MEM_MAX_REGIONS 4

/* The host's pages behind the guest's memory. */
enum guest_mem_pages {
	GUEST_MEM_THP, /* small ones and, where the host has them at hand, transparent huge ones */
	GUEST_MEM_SMALL, /* small ones alone */
	GUEST_MEM_2M,	 /* huge pages of this size that the host has set aside (hugetlb) */
	GUEST_MEM_1G,
};

struct guest_mem_options {
	enum guest_mem_pages pages;
	bool shared;   /* in a file without a name, fd, which other processes can be given */
	bool prefault; /* guest_mem_prefault() follows: none of it is given back unasked */
};

struct guest_mem_region {
	gpa_t base;    /* bytes; multiple of the page size */
	uint64_t size; /* bytes; multiple of the page size, not 0 */
	uint8_t *host; /* set by guest_mem_init() */
};

struct guest_mem {
	/* immutable after init */
	unsigned int n_regions;
	struct guest_mem_region regions[GUEST_MEM_MAX_REGIONS]; /* ascending, disjoint */
	void *map; /* one range of addresses that holds all regions */
	size_t map_size;
	struct guest_mem_options options;
	int fd;	     /* with shared: the regions in ascending order, without gaps; else -1 */
	int pagemap; /* what exists where there is no such file (pagemap.h); -1: nobody knows */
};

/*
 * Reserves memory for the regions (base and size are read, ascending and disjoint; host is ignored).
 * Host and guest addresses agree modulo 2 MiB, or the size of huge pages, so that huge pages can back the guest. Pages
 * of hugetlb are set aside at once: what they cannot hold is refused here, and does not end the process later,
 * unless a control group allows fewer.
 * Returns 0, -EINVAL for a bad layout, -ENOMEM, or another errno of mmap(), memfd_create(), ftruncate() or fcntl(); with
 * hugetlb -ENOENT, -ENODEV or -EINVAL when the kernel has no pages of this size.
 */
int guest_mem_init(struct guest_mem *mem, const struct guest_mem_region *regions,
		   unsigned int n_regions);
/* The same with other options than zeros. */
int guest_mem_init_as(struct guest_mem *mem, const struct guest_mem_options *options,
		      const struct guest_mem_region *regions, unsigned int n_regions);

/* Bytes of the pages that the regions must consist of: 4096, or those of hugetlb. */
uint64_t guest_mem_page_size(enum guest_mem_pages pages);

/*
 * Makes all of the memory exist now, with several threads where there are CPUs for them. Its content is kept. Returns 0, or the
 * errno of madvise() (-ENOMEM; -EFAULT and -EHWPOISON for what would be a SIGBUS later).
 */
int guest_mem_prefault(const struct guest_mem *mem);

/*
 * Transparent huge pages (GUEST_MEM_THP) are not wanted where [gpa, gpa + len) lies: there is so little to be touched that to clear a whole
 * huge page takes longer than the small ones that are needed. Rounded to places of huge pages. A hint, for what nobody has touched yet;
 * what is not RAM is left out.
 */
void guest_mem_prefer_small(const struct guest_mem *mem, gpa_t gpa, uint64_t len);

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
		uint64_t offset = gpa - r->base; /* of what lies below the base: beyond any size */

		if (offset >= r->size)
			continue;
		if (len == 0 || len > r->size - offset)
			return NULL;
		return r->host + offset;
	}
	return NULL;
}

/*
 * Whether memory can be given back to the host. That of hugetlb cannot: who gives such a page back gives up its place
 * too, and the guest that touches it again would be ended when somebody else has taken it meanwhile.
 */
bool guest_mem_can_discard(const struct guest_mem *mem);

/*
 * Gives the memory of all pages that lie wholly inside [ptr, ptr + len) back to the host; the guest reads zeros there
 * until it writes again. ptr came from guest_mem_ptr(). Nothing is pinned: the host may back a page anew with a
 * whole huge page when it is touched next. Returns 0, -EFAULT when the range is not wholly inside one region, -EOPNOTSUPP
 * when memory cannot be given back, or the errno of madvise().
 */
int guest_mem_discard(const struct guest_mem *mem, void *ptr, size_t len);

/*
 * For who looks at all of a region: the next part of it, from *offset bytes behind its base on, that may hold something else than zeros.
 * Sets *offset to where that begins and returns where it ends, 0 when there is none. What nobody has touched yet is left out, for reading it
 * would make it exist: in a file (shared) each page, elsewhere each 2 MiB without a page, for which the host would make a huge page, or a
 * table. Where nobody knows what is there, all is one part.
 */
uint64_t guest_mem_next_part(const struct guest_mem *mem, const struct guest_mem_region *region,
			     uint64_t *offset);

/*
 * From now on the guest runs,
 and it says who may touch which of its bytes when: it may give a page that one thread of ours has just read
 * from to another. ThreadSanitizer cannot see what orders that, so it is told to let this memory be; nothing else comes of it.
 */
void guest_mem_hand_over(const struct guest_mem *mem);

/* Total bytes of RAM. */
uint64_t guest_mem_size(const struct guest_mem *mem);

void guest_mem_fini(struct guest_mem *mem);
