#include "devices/cmos.h"

#include "vmm/core/bus.h"

/* Bit 7 of the port of the index masks NMIs. */
#define CMOS_INDEX_BITS 0x7f

#define CMOS_DAY   0x07
#define CMOS_MONTH 0x08

void cmos_init(struct cmos *cmos)
{
	atomic_init(&cmos->index, 0);
}

uint64_t cmos_read(void *arg, uint64_t offset, unsigned int width)
{
	struct cmos *cmos = arg;
	uint8_t index = atomic_load_explicit(&cmos->index, memory_order_relaxed);
	uint8_t value = index == CMOS_DAY || index == CMOS_MONTH;

	if (offset != CMOS_DATA)
		return bus_ones(width);
	return (bus_ones(width) & ~UINT64_C(0xff)) | value;
}

void cmos_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct cmos *cmos = arg;

	(void)width;
	if (offset != CMOS_DATA)
		atomic_store_explicit(&cmos->index, value & CMOS_INDEX_BITS, memory_order_relaxed);
}
