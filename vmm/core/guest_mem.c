#include "vmm/core/guest_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <linux/memfd.h>

#include "vmm/core/pagemap.h"

#define SMALL_SIZE UINT64_C(0x1000)
#define PAGE_MASK  (SMALL_SIZE - 1)
#define HUGE_SIZE  UINT64_C(0x200000)
#define GIANT_SIZE UINT64_C(0x40000000)

/* ---- how the regions lie in the host's addresses ---- */

uint64_t guest_mem_page_size(enum guest_mem_pages pages)
{
	switch (pages) {
	case GUEST_MEM_2M:
		return HUGE_SIZE;
	case GUEST_MEM_1G:
		return GIANT_SIZE;
	default:
		return SMALL_SIZE;
	}
}

static bool guest_mem_is_hugetlb(const struct guest_mem *mem)
{
	return mem->options.pages == GUEST_MEM_2M || mem->options.pages == GUEST_MEM_1G;
}

static bool guest_mem_layout_valid(const struct guest_mem_region *regions, unsigned int n,
				   uint64_t page_size)
{
	uint64_t end = 0;

	if (n == 0 || n > GUEST_MEM_MAX_REGIONS)
		return false;
	for (unsigned int i = 0; i < n; i++) {
		const struct guest_mem_region *r = &regions[i];

		if (r->size == 0 || ((r->base | r->size) & (page_size - 1)) != 0 || r->base < end)
			return false;
		if (__builtin_add_overflow(r->base, r->size, &end))
			return false;
	}
	return true;
}

/* Guest and host addresses agree modulo this. */
static uint64_t guest_mem_alignment(const struct guest_mem *mem)
{
	uint64_t size = guest_mem_page_size(mem->options.pages);

	return size > HUGE_SIZE ? size : HUGE_SIZE;
}

/* Takes addresses for the regions, with room to align each, and nothing behind them. */
static int guest_mem_take_addresses(struct guest_mem *mem, const struct guest_mem_region *regions,
				    unsigned int n)
{
	uint64_t align = guest_mem_alignment(mem), size = align;

	for (unsigned int i = 0; i < n; i++) {
		if (__builtin_add_overflow(size, regions[i].size, &size) ||
		    __builtin_add_overflow(size, 2 * align, &size))
			return -ENOMEM;
	}
	mem->map = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem->map == MAP_FAILED) {
		mem->map = NULL;
		return -errno;
	}
	mem->map_size = size;
	return 0;
}

static void guest_mem_place(struct guest_mem *mem, const struct guest_mem_region *regions,
			    unsigned int n)
{
	uint64_t align = guest_mem_alignment(mem);
	uintptr_t next = (uintptr_t)mem->map;

	for (unsigned int i = 0; i < n; i++) {
		next += (regions[i].base - next) & (align - 1);
		mem->regions[i] = regions[i];
		mem->regions[i].host = (uint8_t *)mem->map + (next - (uintptr_t)mem->map);
		/* what follows is never RAM, though the next region's base may be aligned as this one's end is */
		next += regions[i].size + align;
	}
	mem->n_regions = n;
}

/* ---- what is behind them ---- */

/* The size of hugetlb's pages as mmap() and memfd_create() take it, which is one way. */
static unsigned int guest_mem_huge_flags(enum guest_mem_pages pages)
{
	_Static_assert(MFD_HUGE_2MB == 21U << 26, "both calls have the logarithm at this place");
	return pages == GUEST_MEM_1G ? MFD_HUGE_1GB : MFD_HUGE_2MB;
}

/* The file is sealed: who shares it cannot take memory away under the guest. */
static int guest_mem_open(struct guest_mem *mem, uint64_t size)
{
	unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	struct rlimit limit;

	if (guest_mem_is_hugetlb(mem))
		flags |= MFD_HUGETLB | guest_mem_huge_flags(mem->options.pages);
	/* The kernel would not say it, but end the process (SIGXFSZ). */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && size > limit.rlim_cur)
		return -EFBIG;
	mem->fd = memfd_create("vmm-memory", flags);
	if (mem->fd < 0 || ftruncate(mem->fd, (off_t)size) < 0 ||
	    fcntl(mem->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	return 0;
}

static int guest_mem_back(struct guest_mem *mem)
{
	bool shared = mem->options.shared;
	int flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS);
	off_t offset = 0;

	/* Pages of hugetlb are set aside unless this is given. */
	if (!guest_mem_is_hugetlb(mem))
		flags |= MAP_NORESERVE;
	else if (!shared)
		flags |= MAP_HUGETLB | (int)guest_mem_huge_flags(mem->options.pages);
	for (unsigned int i = 0; i < mem->n_regions; i++) {
		const struct guest_mem_region *r = &mem->regions[i];

		if (mmap(r->host, r->size, PROT_READ | PROT_WRITE, flags, mem->fd,
			 shared ? offset : 0) == MAP_FAILED)
			return -errno;
		offset += (off_t)r->size;
	}
	return 0;
}

/*
 * All are hints: a kernel without huge pages, or one whose core dumps are whole, still works. A child of the process gets none of it: it would see all
 * that the guest has, and each page would have to be copied that either of them writes.
 */
static void guest_mem_advise(const struct guest_mem *mem)
{
	if (mem->options.pages == GUEST_MEM_THP)
		madvise(mem->map, mem->map_size, MADV_HUGEPAGE);
	else if (mem->options.pages == GUEST_MEM_SMALL)
		madvise(mem->map, mem->map_size, MADV_NOHUGEPAGE);
	madvise(mem->map, mem->map_size, MADV_DONTDUMP);
	madvise(mem->map, mem->map_size, MADV_DONTFORK);
}

int guest_mem_init_as(struct guest_mem *mem, const struct guest_mem_options *options,
		      const struct guest_mem_region *regions, unsigned int n_regions)
{
	int err;

	*mem = (struct guest_mem){.options = *options, .fd = -1, .pagemap = -1};
	if (!guest_mem_layout_valid(regions, n_regions, guest_mem_page_size(options->pages)))
		return -EINVAL;
	err = guest_mem_take_addresses(mem, regions, n_regions);
	if (err < 0)
		return err;
	guest_mem_place(mem, regions, n_regions);
	if (options->shared)
		err = guest_mem_open(mem, guest_mem_size(mem));
	if (err == 0)
		err = guest_mem_back(mem);
	if (err < 0) {
		guest_mem_fini(mem);
		return err;
	}
	guest_mem_advise(mem);
	mem->pagemap = pagemap_open();
	return 0;
}

int guest_mem_init(struct guest_mem *mem, const struct guest_mem_region *regions,
		   unsigned int n_regions)
{
	const struct guest_mem_options options = {.pages = GUEST_MEM_THP};

	return guest_mem_init_as(mem, &options, regions, n_regions);
}

void guest_mem_prefer_small(const struct guest_mem *mem, gpa_t gpa, uint64_t len)
{
	uint64_t start = gpa & ~(HUGE_SIZE - 1), end;

	if (mem->options.pages != GUEST_MEM_THP)
		return;
	if (__builtin_add_overflow(gpa, len, &end) ||
	    __builtin_add_overflow(end, HUGE_SIZE - 1, &end))
		end = UINT64_MAX;
	end &= ~(HUGE_SIZE - 1);
	for (unsigned int i = 0; i < mem->n_regions; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		uint64_t from = start > r->base ? start : r->base;
		uint64_t to = end < r->base + r->size ? end : r->base + r->size;

		if (from < to)
			madvise(r->host + (from - r->base), to - from, MADV_NOHUGEPAGE);
	}
}

/* ---- whose it is ---- */

#ifdef __SANITIZE_THREAD__
/* The sanitizer's own; no header has it. */
void AnnotateBenignRaceSized(const char *file, int line, const volatile void *mem, size_t size,
			     const char *why);

void guest_mem_hand_over(const struct guest_mem *mem)
{
	for (unsigned int i = 0; i < mem->n_regions; i++)
		AnnotateBenignRaceSized(__FILE__, __LINE__, mem->regions[i].host,
					mem->regions[i].size, "the guest orders it");
}
#else
void guest_mem_hand_over(const struct guest_mem *mem)
{
	(void)mem;
}
#endif

/* ---- access ---- */

int guest_mem_read(const struct guest_mem *mem, gpa_t gpa, void *dst, size_t len)
{
	const void *src;

	if (len == 0)
		return 0;
	src = guest_mem_ptr(mem, gpa, len);
	if (!src)
		return -EFAULT;
	memcpy(dst, src, len);
	return 0;
}

int guest_mem_write(const struct guest_mem *mem, gpa_t gpa, const void *src, size_t len)
{
	void *dst;

	if (len == 0)
		return 0;
	dst = guest_mem_ptr(mem, gpa, len);
	if (!dst)
		return -EFAULT;
	memcpy(dst, src, len);
	return 0;
}

/* The region that holds all of [ptr, ptr + len), or NULL. */
static const struct guest_mem_region *guest_mem_region_of(const struct guest_mem *mem,
							  const void *ptr, size_t len)
{
	for (unsigned int i = 0; i < mem->n_regions; i++) {
		const struct guest_mem_region *r = &mem->regions[i];
		uint64_t offset = (uintptr_t)ptr - (uintptr_t)r->host;

		if ((uintptr_t)ptr >= (uintptr_t)r->host && offset < r->size &&
		    len <= r->size - offset)
			return r;
	}
	return NULL;
}

bool guest_mem_can_discard(const struct guest_mem *mem)
{
	return !guest_mem_is_hugetlb(mem);
}

int guest_mem_discard(const struct guest_mem *mem, void *ptr, size_t len)
{
	const struct guest_mem_region *r = guest_mem_region_of(mem, ptr, len);
	uint64_t start, end;

	if (!r)
		return -EFAULT;
	if (!guest_mem_can_discard(mem))
		return -EOPNOTSUPP;
	/* Host and guest pages agree, so offsets into the region round as addresses do. */
	start = (uint64_t)((uint8_t *)ptr - r->host);
	end = (start + len) & ~PAGE_MASK;
	start = (start + PAGE_MASK) & ~PAGE_MASK;
	if (start >= end)
		return 0;
	/*
	 * Not MADV_FREE: its pages keep their old content, and count as ours, until the host is short of memory; but
	 * who reads a discarded page may rely on zeros (virtio 1.2, 5.5.6.7). Of a file MADV_DONTNEED would only forget the
	 * way to the pages, which stay.
	 */
	return madvise(r->host + start, end - start,
		       mem->options.shared ? MADV_REMOVE : MADV_DONTNEED) < 0
		       ? -errno
		       : 0;
}

/* Of memory that is no file: from a page on that is there to the end of what a huge page could hold of them. */
static uint64_t guest_mem_next_there(const struct guest_mem *mem,
				     const struct guest_mem_region *region, uint64_t *offset)
{
	uint64_t entries[HUGE_SIZE / SMALL_SIZE];

	while (*offset < region->size) {
		uintptr_t at = (uintptr_t)(region->host + *offset);
		uint64_t end = *offset + HUGE_SIZE - at % HUGE_SIZE;
		const uint64_t *entry = entries;
		ssize_t len;

		if (end > region->size)
			end = region->size;
		/* 8 bytes for each 4096 */
		len = (ssize_t)((end - *offset) / 512);
		if (pread(mem->pagemap, entries, (size_t)len, (off_t)(at / 512)) != len)
			return region->size;
		for (; *offset < end; *offset += SMALL_SIZE) {
			if (*entry++ & PAGEMAP_THERE)
				return end;
		}
	}
	return 0;
}

uint64_t guest_mem_next_part(const struct guest_mem *mem, const struct guest_mem_region *region,
			     uint64_t *offset)
{
	off_t base = 0, data, hole;

	if (*offset >= region->size)
		return 0;
	if (mem->fd < 0)
		return guest_mem_next_there(mem, region, offset);
	for (const struct guest_mem_region *r = mem->regions; r < region; r++)
		base += (off_t)r->size;
	data = lseek(mem->fd, base + (off_t)*offset, SEEK_DATA);
	if (data < 0)
		return errno == ENXIO ? 0 : region->size;
	if ((uint64_t)(data - base) >= region->size)
		return 0;
	*offset = (uint64_t)(data - base);
	hole = lseek(mem->fd, data, SEEK_HOLE);
	return hole > data && (uint64_t)(hole - base) < region->size ? (uint64_t)(hole - base)
								     : region->size;
}

uint64_t guest_mem_size(const struct guest_mem *mem)
{
	uint64_t size = 0;

	for (unsigned int i = 0; i < mem->n_regions; i++)
		size += mem->regions[i].size;
	return size;
}

void guest_mem_fini(struct guest_mem *mem)
{
	if (mem->map) {
		munmap(mem->map, mem->map_size);
		if (mem->fd >= 0)
			close(mem->fd);
		if (mem->pagemap >= 0)
			close(mem->pagemap);
	}
	*mem = (struct guest_mem){.fd = -1, .pagemap = -1};
}
