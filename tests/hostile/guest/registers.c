/* Every register of every device, in every width at every offset; and addresses where nothing is. */
#include "device.h"
#include "themes.h"

#define REGS_DENSE 0x48 /* of each page: what the structures reach, and some more */
#define IOAPIC	   UINT64_C(0xfec00000)

static void hit(uint64_t address, bool write)
{
	for (unsigned int width = 1; width <= 8; width *= 2) {
		mem_read(address, width);
		if (write)
			mem_write(address, width, rnd_place());
	}
}

/* A page: where it has registers everywhere, and over its end. */
static void hit_page(uint64_t page)
{
	for (unsigned int offset = 0; offset < REGS_DENSE; offset++)
		hit(page + offset, true);
	for (unsigned int offset = REGS_DENSE; offset < PAGE - 16; offset += 509)
		hit(page + offset, true);
	for (unsigned int offset = PAGE - 9; offset < PAGE; offset++)
		hit(page + offset, true);
}

static void hit_device(struct device *d)
{
	uint64_t size = d->pci ? PCI_REGS_SIZE : MMIO_REGS_SIZE;

	for (uint64_t page = 0; page < size; page += PAGE) {
		if (d->pci && (page == PCI_REGS_MSIX))
			continue; /* msix.c: a message may be one that ends us */
		hit_page(d->regs + page);
	}
	if (d->pci) {
		for (unsigned int offset = 0; offset < 40; offset++)
			for (unsigned int width = 1; width <= 4; width *= 2) {
				port_read((uint16_t)(d->ports + offset), width);
				port_write((uint16_t)(d->ports + offset), width, rnd());
			}
	}
}

/* With queues that are set up well, so that more is behind the registers. */
static void hit_live_device(struct device *d)
{
	size_t mark = alloc_mark();

	device_start(d, ALL_FEATURES);
	hit_page(d->regs);
	hit_page(d->regs + config_offset(d));
	device_reset(d);
	alloc_release(mark);
}

/* The redirection table is left masked, for the messages are ours to get. */
static void hit_ioapic(void)
{
	for (unsigned int offset = 0; offset < 0x30; offset++)
		hit(IOAPIC + offset, offset < 0x10 || offset >= 0x20);
	for (unsigned int reg = 0; reg < 256; reg++) {
		mem_write(IOAPIC, 4, reg);
		hit(IOAPIC + 0x10, false);
		mem_write(IOAPIC + 0x10, 4, reg >= 0x10 && reg < 0x60 ? rnd() | 1u << 16 : rnd());
	}
	for (unsigned int pin = 0; pin < 64; pin++) {
		mem_write(IOAPIC, 4, 0x10 + 2 * pin);
		mem_write(IOAPIC + 0x10, 4, 1u << 16);
	}
}

static void hit_nothing(void)
{
	static const uint64_t places[] = {RAM_END,
					  UINT64_C(0xbffff000),
					  UINT64_C(0xc0800000),
					  UINT64_C(0xcffff000),
					  UINT64_C(0xd0010000),
					  UINT64_C(0xe0000000),
					  UINT64_C(0xfec01000),
					  UINT64_C(0xfed00000),
					  UINT64_C(0xffffe000)};

	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		for (unsigned int n = 0; n < 10; n++)
			hit(places[i] + rnd_below(PAGE - 8), true);
		EXPECT((uint32_t)mem_read(places[i], 4) == UINT32_MAX, "something is at %x",
		       places[i]);
	}
	/* From memory into nothing. */
	for (unsigned int back = 1; back < 8; back++)
		hit(RAM_END - back, true);
}

void attack_registers(void)
{
	find_devices();
	for (unsigned int i = 0; i < n_devices; i++) {
		hit_device(&devices[i]);
		hit_live_device(&devices[i]);
		OK("registers of %s", device_name(&devices[i]));
	}
	hit_ioapic();
	hit_nothing();
	OK("the IO-APIC, and where nothing is");
	for (unsigned int i = 0; i < n_devices; i++)
		device_check(&devices[i]);
}
