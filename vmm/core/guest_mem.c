#include "vmm/core/guest_mem.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#define PAGE_MASK UINT64_C(0xfff)
#define HUGE_SIZE UINT64_C(0x200000)

static bool guest_mem_layout_valid(const struct guest_mem_region *regions, unsigned int n)
{
	uint64_t end = 0;

	if (n == 0 || n > GUEST_MEM_MAX_REGIONS)
		return false;
	for (unsigned int i = 0; i < n; i++) {
		const struct guest_mem_region *r = &regions[i];

		if (r->size == 0 || ((r->base | r->size) & PAGE_MASK) != 0 || r->base < end)
			return false;
		if (__builtin_add_overflow(r->base, r->size, &end))
			return false;
	}
	return true;
}

/* Bytes of host addresses from the start of the map to the region behind the given host offset. */
static uint64_t guest_mem_congruent(uint64_t offset, gpa_t base)
{
	return offset + ((base - offset) & (HUGE_SIZE - 1));
}

int guest_mem_init(struct guest_mem *mem, const struct guest_mem_region *regions,
		   unsigned int n_regions)
{
	uint64_t size = HUGE_SIZE; /* room to align the start */
	uint8_t *start;

	memset(mem, 0, sizeof(*mem));
	if (!guest_mem_layout_valid(regions, n_regions))
		return -EINVAL;
	for (unsigned int i = 0; i < n_regions; i++) {
		if (__builtin_add_overflow(size, regions[i].size, &size) ||
		    __builtin_add_overflow(size, HUGE_SIZE, &size))
			return -ENOMEM;
	}

	mem->map = mmap(NULL, size, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem->map == MAP_FAILED) {
		mem->map = NULL;
		return -errno;
	}
	mem->map_size = size;
	/* Both are hints: a kernel without huge pages, or one whose core dumps are whole, still works. */
	madvise(mem->map, size, MADV_HUGEPAGE);
	madvise(mem->map, size, MADV_DONTDUMP);

	start = (uint8_t *)(((uintptr_t)mem->map + HUGE_SIZE - 1) & ~(uintptr_t)(HUGE_SIZE - 1));
	size = 0;
	for (unsigned int i = 0; i < n_regions; i++) {
		size = guest_mem_congruent(size, regions[i].base);
		mem->regions[i] = regions[i];
		mem->regions[i].host = start + size;
		size += regions[i].size;
	}
	mem->n_regions = n_regions;
	return 0;
}

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

int guest_mem_discard(const struct guest_mem *mem, void *ptr, size_t len)
{
	const struct guest_mem_region *r = guest_mem_region_of(mem, ptr, len);
	uint64_t start, end;

	if (!r)
		return -EFAULT;
	/* Host and guest pages agree, so offsets into the region round as addresses do. */
	start = (uint64_t)((uint8_t *)ptr - r->host);
	end = (start + len) & ~PAGE_MASK;
	start = (start + PAGE_MASK) & ~PAGE_MASK;
	if (start >= end)
		return 0;
	/*
	 * Not MADV_FREE: its pages keep their old content, and count as ours, until the host is short of memory; but
	 * who reads a discarded page may rely on zeros (virtio 1.2, 5.5.6.7).
	 */
	return madvise(r->host + start, end - start, MADV_DONTNEED) < 0 ? -errno : 0;
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
	if (mem->map)
		munmap(mem->map, mem->map_size);
	memset(mem, 0, sizeof(*mem));
}
