/*
 * Routing of port and memory-mapped accesses to the device that claimed the range.
 *
 * One struct bus serves one address space (ports or MMIO). Regions are added while the machine is being
 * built, then the bus is sealed; from then on the map is immutable and any vCPU thread may dispatch
 * without a lock. A handler is called on the vCPU thread that made the access and does its own locking.
 *
 * Handlers get an offset from the region's base, a width in bytes and values, never pointers into guest
 * state. The width is 1, 2, 4 or 8; the access lies wholly inside the region. What nobody claims reads as
 * all ones and writes vanish.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef uint64_t bus_read_fn(void *arg, uint64_t offset, unsigned int width);
typedef void bus_write_fn(void *arg, uint64_t offset, unsigned int width, uint64_t value);

#define BUS_MAX_REGIONS 64

struct bus_region {
	uint64_t base;
	uint64_t size; /* not 0; base + size does not wrap */
	bus_read_fn *read;
	bus_write_fn *write;
	void *arg;
};

struct bus {
	/* built by one thread, immutable once sealed */
	bool sealed;
	unsigned int n_regions;
	struct bus_region regions[BUS_MAX_REGIONS]; /* ascending, disjoint */
};

void bus_init(struct bus *bus);

/* Copies the region in. Returns 0, -EEXIST on overlap, -ENOSPC when full, -EINVAL for a bad range. */
int bus_add(struct bus *bus, const struct bus_region *region);

/* No region may be added after this. */
void bus_seal(struct bus *bus);

/* All ones, cut to width bytes, when nobody claims [addr, addr + width). */
uint64_t bus_read(const struct bus *bus, uint64_t addr, unsigned int width);
void bus_write(const struct bus *bus, uint64_t addr, unsigned int width, uint64_t value);

/* All ones of width bytes: what a read of nothing gives. */
static inline uint64_t bus_ones(unsigned int width)
{
	return width >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * width)) - 1;
}
