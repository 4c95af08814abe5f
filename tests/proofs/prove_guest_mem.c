/*
 * vmm/core/guest_mem.c and .h: what is accepted lies inside one region, what lies inside one is accepted, and nothing else is read, written or
 * given back to the host.
 *
 * Unwind: 6
 * Mutant: prove_ptr vmm/core/guest_mem.h s/return r->host + offset/return r->host + offset + 1/
 * Mutant: prove_ptr vmm/core/guest_mem.h s/if (offset >= r->size)/if (false)/
 * Mutant: prove_ptr vmm/core/guest_mem.h s/len == 0 || //
 * Mutant: prove_ptr vmm/core/guest_mem.h s/len > r->size - offset/offset + len > r->size/
 * Mutant: prove_ptr vmm/core/guest_mem.h s/len > r->size - offset/len >= r->size - offset/
 * Mutant: prove_layout vmm/core/guest_mem.c s/__builtin_add_overflow(r->base, r->size, &end)/((end = r->base + r->size), false)/
 * Mutant: prove_layout vmm/core/guest_mem.c s/ || r->base < end//
 * Mutant: prove_layout vmm/core/guest_mem.c s/r->size == 0 || //
 * Mutant: prove_layout vmm/core/guest_mem.c s/n == 0 || n > GUEST_MEM_MAX_REGIONS/n == 0/
 * Mutant: prove_init vmm/core/guest_mem.c s/__builtin_add_overflow(size, regions.i..size, &size)/((size += regions[i].size), false)/
 * Mutant: prove_init vmm/core/guest_mem.c s/2 . align, &size/0 * align, \&size/
 * Mutant: prove_init vmm/core/guest_mem.c s/next += (regions.i..base - next) & (align - 1);/;/
 * Mutant: prove_init vmm/core/guest_mem.c s/next += regions.i..size + align/next += regions[i].size/
 * Mutant: prove_copies vmm/core/guest_mem.c s/if (!src)/if (false)/
 * Mutant: prove_discard vmm/core/guest_mem.c s/offset < r->size &&/true \&\&/
 * Mutant: prove_discard vmm/core/guest_mem.c s/len <= r->size - offset/true/
 * Mutant: prove_discard vmm/core/guest_mem.c s/start = (start + PAGE_MASK) & ~PAGE_MASK/start = start \& ~PAGE_MASK/
 * Mutant: prove_discard vmm/core/guest_mem.c s/end = (start + len) & ~PAGE_MASK/end = (start + len + PAGE_MASK) \& ~PAGE_MASK/
 * Mutant: prove_discard vmm/core/guest_mem.c s/if (start >= end)/if (start == end)/
 */
#include "tests/proofs/proof.h"

#include <stdlib.h>

#include "vmm/core/guest_mem.c"

/* What CBMC can give addresses to; the arithmetic is in 64 bits. */
/* A machine has no more than these. */
#define REGIONS 2

#define LARGE (UINT64_C(1) << 48)

NONDET(struct guest_mem_options, nondet_options)
NONDET(struct guest_mem_region, nondet_region)

static struct guest_mem mem;
static struct guest_mem_region regions[GUEST_MEM_MAX_REGIONS];

/* ---- the host ---- */

static uintptr_t map;
static size_t map_size;
static const uint8_t *discarded;
static size_t n_discarded;

static bool is_mapped(const void *at, size_t len)
{
	return (uintptr_t)at >= map && len <= map_size && (uintptr_t)at - map <= map_size - len;
}

static int fail(void)
{
	errno = nondet_u8();
	assume(errno > 0);
	return -1;
}

/* Any pages of the host. */
void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	(void)prot;
	(void)fd;
	(void)offset;
	if (nondet_bool() && fail())
		return MAP_FAILED;
	if (flags & MAP_FIXED) {
		prove(is_mapped(addr, len));
		return addr;
	}
	map = nondet_u64() & ~PAGE_MASK;
	map_size = len;
	assume(map > 0 && map < LARGE && len < LARGE);
	return (void *)map;
}

int munmap(void *addr, size_t len)
{
	prove((uintptr_t)addr == map && len == map_size);
	return 0;
}

int madvise(void *addr, size_t len, int advice)
{
	prove(len == 0 || is_mapped(addr, len));
	if (advice == MADV_REMOVE || advice == MADV_DONTNEED) {
		discarded = addr;
		n_discarded = len;
	}
	return nondet_bool() ? 0 : fail();
}

int memfd_create(const char *name, unsigned int flags)
{
	(void)name;
	(void)flags;
	return nondet_bool() ? 3 : fail();
}

int pagemap_open(void)
{
	return nondet_bool() ? 4 : fail();
}

int ftruncate(int fd, off_t len)
{
	(void)fd;
	(void)len;
	return nondet_bool() ? 0 : fail();
}

int fcntl(int fd, int cmd, ...)
{
	(void)fd;
	(void)cmd;
	return nondet_bool() ? 0 : fail();
}

int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
	(void)resource;
	limit->rlim_cur = nondet_u64();
	return nondet_bool() ? 0 : fail();
}

int close(int fd)
{
	(void)fd;
	return 0;
}

void *memcpy(void *dst, const void *src, size_t len)
{
	prove(__CPROVER_r_ok(src, len) && __CPROVER_w_ok(dst, len));
	return dst;
}

/* ---- the machine ---- */

static unsigned int setup_layout(struct guest_mem_options *options)
{
	for (unsigned int i = 0; i < GUEST_MEM_MAX_REGIONS; i++)
		regions[i] = nondet_region();
	*options = nondet_options();
	return nondet_u32();
}

/* Any memory that guest_mem_init() accepts; each region is an object by itself. */
static void setup_mem(void)
{
	struct guest_mem_options options;
	unsigned int n = setup_layout(&options);

	assume(n <= REGIONS &&
	       guest_mem_layout_valid(regions, n, guest_mem_page_size(options.pages)));
	mem = (struct guest_mem){.n_regions = n, .options = options, .fd = -1};
	for (unsigned int i = 0; i < n; i++) {
		mem.regions[i] = regions[i];
		assume(mem.regions[i].size < LARGE);
		mem.regions[i].host = malloc(mem.regions[i].size);
		assume(mem.regions[i].host);
	}
}

/* The region that holds all of [gpa, gpa + len), by other arithmetic than that of guest_mem; NULL: none. */
static const struct guest_mem_region *find(gpa_t gpa, size_t len)
{
	for (unsigned int i = 0; i < mem.n_regions; i++) {
		const struct guest_mem_region *r = &mem.regions[i];
		unsigned __int128 end = (unsigned __int128)gpa + len;

		if (gpa >= r->base && end <= (unsigned __int128)r->base + r->size)
			return r;
	}
	return NULL;
}

/* ---- proofs ---- */

void prove_layout(void)
{
	struct guest_mem_options options;
	unsigned int n = setup_layout(&options), i = nondet_u32(), j = nondet_u32();
	uint64_t page = guest_mem_page_size(options.pages);

	if (!guest_mem_layout_valid(regions, n, page))
		return;
	prove(n > 0 && n <= GUEST_MEM_MAX_REGIONS);
	if (i >= n || j >= i)
		return;
	prove(regions[i].size > 0 && regions[i].size <= UINT64_MAX - regions[i].base);
	prove(regions[i].base % page == 0 && regions[i].size % page == 0);
	prove(regions[j].base + regions[j].size <= regions[i].base);
}

void prove_ptr(void)
{
	gpa_t gpa = nondet_u64();
	size_t len = nondet_size();
	const struct guest_mem_region *r;
	uint8_t *ptr;

	setup_mem();
	r = len > 0 ? find(gpa, len) : NULL;
	ptr = guest_mem_ptr(&mem, gpa, len);
	prove(!ptr == !r);
	prove(!ptr || (ptr == r->host + (gpa - r->base) && __CPROVER_w_ok(ptr, len)));
}

void prove_copies(void)
{
	gpa_t gpa = nondet_u64();
	size_t len = nondet_size();
	bool inside;
	void *buf;

	setup_mem();
	assume(len < LARGE);
	buf = malloc(len);
	assume(buf);
	inside = len == 0 || find(gpa, len);
	prove(guest_mem_read(&mem, gpa, buf, len) == (inside ? 0 : -EFAULT));
	prove(guest_mem_write(&mem, gpa, buf, len) == (inside ? 0 : -EFAULT));
}

/* Pages that lie wholly inside what was asked for, and in one region; also for pointers that are none of ours. */
void prove_discard(void)
{
	size_t len = nondet_size(), offset = nondet_size();
	unsigned int i = nondet_u32();
	uint8_t *ptr;
	int ret;

	setup_mem();
	assume(i < mem.n_regions && offset <= mem.regions[i].size);
	ptr = mem.regions[i].host + offset;
	map = (uintptr_t)mem.regions[i].host;
	map_size = mem.regions[i].size;
	ret = guest_mem_discard(&mem, ptr, len);
	prove(ret != 0 || guest_mem_can_discard(&mem));
	prove(ret != 0 || (offset < mem.regions[i].size && len <= mem.regions[i].size - offset));
	if (!discarded)
		return;
	prove(discarded >= ptr && n_discarded > 0 && discarded + n_discarded <= ptr + len);
	prove((discarded - mem.regions[i].host) % SMALL_SIZE == 0 && n_discarded % SMALL_SIZE == 0);
}

/* Regions lie within what was mapped, as the guest's addresses do modulo a large page, and something inaccessible between. */
void prove_init(void)
{
	struct guest_mem_options options;
	unsigned int n = setup_layout(&options), i = nondet_u32();
	const struct guest_mem_region *r = &mem.regions[i];

	options.pages = GUEST_MEM_THP;
	assume(n <= REGIONS);
	if (guest_mem_init_as(&mem, &options, regions, n) < 0) {
		prove(!mem.map && mem.n_regions == 0);
		return;
	}
	prove(mem.n_regions == n && (uintptr_t)mem.map == map && mem.map_size == map_size);
	if (i >= n)
		return;
	prove(r->base == regions[i].base && r->size == regions[i].size);
	prove(is_mapped(r->host, r->size) && is_mapped(r->host + r->size, SMALL_SIZE));
	prove(((uintptr_t)r->host - r->base) % HUGE_SIZE == 0);
	prove(i + 1 == n || (uintptr_t)r->host + r->size + SMALL_SIZE <= (uintptr_t)r[1].host);
}
