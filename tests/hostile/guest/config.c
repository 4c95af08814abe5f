/* PCI configuration space, and BARs where they do not belong. */
#include "device.h"
#include "themes.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#define COMMAND_ON (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)
#define WINDOW	   UINT32_C(0xc0000000)
#define WINDOW_END UINT32_C(0xd0000000)

static void restore(const struct device *d)
{
	pci_write(d->devfn, PCI_COMMAND, 2, 0);
	pci_write(d->devfn, PCI_BASE_ADDRESS_0, 4, (uint32_t)d->regs);
	pci_write(d->devfn, PCI_BASE_ADDRESS_1, 4, d->ports);
	pci_write(d->devfn, PCI_COMMAND, 2, COMMAND_ON);
}

/* Function masks vectors while their messages are not ours. */
static void msix_off(const struct device *d)
{
	for (unsigned int cap = pci_read(d->devfn, PCI_CAPABILITY_LIST, 1), n = 0; cap && n < 48;
	     cap = pci_read(d->devfn, cap + 1, 1), n++) {
		if (pci_read(d->devfn, cap, 1) == PCI_CAP_ID_MSIX)
			pci_write(d->devfn, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_MASKALL);
	}
}

static void hit_offset(uint8_t devfn, unsigned int offset)
{
	for (unsigned int width = 1; width <= 4; width *= 2) {
		pci_read(devfn, offset, width);
		pci_write(devfn, offset, width, chance(50) ? rnd() : (uint32_t)rnd_nasty());
	}
}

/* The ports of the mechanism itself, out of step. */
static void hit_mechanism(void)
{
	for (unsigned int i = 0; i < 3000; i++) {
		out32(0xcf8, chance(70) ? 0x80000000u | rnd() : rnd());
		port_read((uint16_t)(0xcf8 + rnd_below(8)), 1u << rnd_below(3));
		out16((uint16_t)(0xcf8 + rnd_below(2)), (uint16_t)rnd());
	}
}

void attack_config(void)
{
	find_devices();
	if (!devices[0].pci) {
		OK("no PCI");
		return;
	}
	for (unsigned int i = 0; i < n_devices; i++) {
		struct device *d = &devices[i];

		for (unsigned int offset = 0; offset < 256; offset++)
			hit_offset(d->devfn, offset);
		msix_off(d);
		restore(d);
		EXPECT(pci_read(d->devfn, PCI_VENDOR_ID, 2) == 0x1af4, "the vendor was changed");
		device_check(d);
		OK("configuration space of %s", device_name(d));
	}
	for (unsigned int offset = 0; offset < 256; offset++)
		hit_offset(0, offset); /* the host bridge */
	for (unsigned int devfn = 0; devfn < 256; devfn++)
		hit_offset((uint8_t)devfn, rnd_below(64)); /* and those that are not there */
	for (unsigned int i = 0; i < n_devices; i++) {
		msix_off(&devices[i]);
		restore(&devices[i]);
	}
	hit_mechanism();
	for (unsigned int i = 0; i < n_devices; i++) {
		restore(&devices[i]);
		device_check(&devices[i]);
	}
	OK("every function, and the mechanism's ports");
}

/* ---- BARs ---- */

static void move(const struct device *d, uint32_t address)
{
	pci_write(d->devfn, PCI_BASE_ADDRESS_0, 4, address);
}

/* Memory stays memory, whatever a BAR says. */
static void over_memory(const struct device *d)
{
	static const uint32_t places[] = {0x8000, 0x200000, 0x1000000, 0x3ff8000};

	for (unsigned int i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		uint64_t at = places[i] + VIRTIO_PCI_COMMON_STATUS;
		uint64_t before = mem_read(at, 1);

		move(d, places[i]);
		EXPECT(mem_read(at, 1) == before, "a BAR hides memory at %x", at);
		if (places[i] < 0x200000 || places[i] >= GUEST_SAFE) {
			mem_write(at, 1, before ^ 0x55);
			EXPECT(mem_read(at, 1) == (before ^ 0x55), "memory at %x is lost", at);
			mem_write(at, 1, before);
		}
	}
	restore(d);
	EXPECT(get_status(d) == 0, "what was written to memory came to %s", device_name(d));
}

/* Where others are, and outside of the window, where nobody may answer. */
static void over_others(const struct device *d, const struct device *other)
{
	static const uint32_t outside[] = {0xfec00000, 0xfee00000, 0xd0000000,
					   0xffff8000, 0xbfff8000, 0x4000000};

	move(d, (uint32_t)other->regs);
	mem_read(other->regs + VIRTIO_PCI_COMMON_STATUS, 1);
	mem_write(other->regs + VIRTIO_PCI_COMMON_STATUS, 1, 1);
	mem_write(other->regs + PCI_REGS_NOTIFY, 2, 0);
	pci_write(d->devfn, PCI_BASE_ADDRESS_1, 4, other->ports);
	out16(other->ports, 0);
	for (unsigned int i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		move(d, outside[i]);
		mem_read(outside[i] + VIRTIO_PCI_COMMON_STATUS, 4);
	}
	move(d, WINDOW_END - PCI_REGS_SIZE); /* the last place */
	EXPECT(mem_read(WINDOW_END - PCI_REGS_SIZE + VIRTIO_PCI_COMMON_NUMQ, 2) > 0,
	       "%s is not at the window's end", device_name(d));
	for (uint32_t port = 0; port < 0x10000; port += 0x400)
		pci_write(d->devfn, PCI_BASE_ADDRESS_1, 4, port);
	restore(d);
	restore(other);
}

static struct device *volatile kicked;

static void kick_on(void)
{
	while (!second_stopping()) {
		for (unsigned int q = 0; q < kicked->n_queues; q++) {
			mem_write(kicked->regs + PCI_REGS_NOTIFY + 4 * q, 2, q);
			out16((uint16_t)(kicked->ports + 4 * q), (uint16_t)q);
		}
	}
}

/* A live device's BARs wander while it is kicked where it was. */
static void wander(struct device *d)
{
	size_t mark = alloc_mark();

	device_start(d, ALL_FEATURES);
	kicked = d;
	second_start(kick_on);
	for (unsigned int i = 0; i < 60; i++) {
		move(d, chance(60) ? WINDOW + rnd_below(0x1000) * PCI_REGS_SIZE
				   : (uint32_t)rnd_nasty());
		if (chance(50))
			pci_write(d->devfn, PCI_BASE_ADDRESS_1, 4,
				  0xc000 + (rnd_below(0x4000) & ~0xffu));
		if (chance(30))
			pci_write(d->devfn, PCI_COMMAND, 2, COMMAND_ON & ~(1u << rnd_below(2)));
		if (chance(30))
			pci_write(d->devfn, PCI_COMMAND, 2, COMMAND_ON);
	}
	second_stop();
	restore(d);
	alloc_release(mark);
	device_check(d);
}

void attack_bars(void)
{
	find_devices();
	if (!devices[0].pci) {
		OK("no PCI");
		return;
	}
	for (unsigned int i = 0; i < n_devices; i++) {
		struct device *d = &devices[i], *other = &devices[(i + 1) % n_devices];

		device_reset(d);
		over_memory(d);
		over_others(d, other);
		device_check(d);
		device_check(other);
		wander(d);
		OK("BARs of %s", device_name(d));
	}
}
