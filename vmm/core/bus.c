#include "vmm/core/bus.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "vmm/core/assert.h"

void __attribute__((cold)) bus_init(struct bus *bus)
{
	memset(bus, 0, sizeof(*bus));
}

int __attribute__((cold)) bus_add(struct bus *bus, const struct bus_region *region)
{
	uint64_t last;
	unsigned int at = 0;

	assert(!bus->sealed);
	if (region->size == 0 || __builtin_add_overflow(region->base, region->size - 1, &last))
		return -EINVAL;
	if (bus->n_regions == BUS_MAX_REGIONS)
		return -ENOSPC;
	for (unsigned int i = 0; i < bus->n_regions; i++) {
		const struct bus_region *r = &bus->regions[i];

		if (region->base <= r->base + (r->size - 1) && r->base <= last)
			return -EEXIST;
		if (r->base < region->base)
			at = i + 1;
	}
	memmove(&bus->regions[at + 1], &bus->regions[at],
		(bus->n_regions - at) * sizeof(bus->regions[0]));
	bus->regions[at] = *region;
	bus->n_regions++;
	return 0;
}

void bus_seal(struct bus *bus)
{
	bus->sealed = true;
}

static const struct bus_region *bus_find(const struct bus *bus, uint64_t addr, unsigned int width)
{
	unsigned int lo = 0, hi = bus->n_regions;

	while (lo < hi) {
		unsigned int mid = (lo + hi) / 2;
		const struct bus_region *r = &bus->regions[mid];
		uint64_t offset = addr - r->base;

		if (addr < r->base)
			hi = mid;
		else if (offset >= r->size)
			lo = mid + 1;
		else
			return width <= r->size - offset ? r : NULL;
	}
	return NULL;
}

uint64_t bus_read(const struct bus *bus, uint64_t addr, unsigned int width)
{
	const struct bus_region *r = bus_find(bus, addr, width);

	if (!r)
		return bus_ones(width);
	return r->read(r->arg, addr - r->base, width) & bus_ones(width);
}

void bus_write(const struct bus *bus, uint64_t addr, unsigned int width, uint64_t value)
{
	const struct bus_region *r = bus_find(bus, addr, width);

	if (r)
		r->write(r->arg, addr - r->base, width, value & bus_ones(width));
}
