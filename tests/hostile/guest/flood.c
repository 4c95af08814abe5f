/* Kicks and resets without end; and what the soak runs. */
#include "device.h"
#include "themes.h"

#define I8042_COMMAND 0x64
#define I8042_RESET   0xfe

/* Every notification address, also those of queues that are not there. */
static void flood_device(const struct device *d, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		unsigned int queue = i % (d->n_queues + 2);

		if (!d->pci) {
			mem_write(d->regs + 0x50, 4, queue);
			continue;
		}
		out16((uint16_t)(d->ports + 4 * queue), (uint16_t)queue);
		mem_write(d->regs + PCI_REGS_NOTIFY + 4 * queue, 4, queue);
	}
}

static void flood_all(unsigned int n)
{
	for (unsigned int i = 0; i < n_devices; i++)
		flood_device(&devices[i], n);
}

static void flood_on(void)
{
	while (!second_stopping())
		flood_all(8);
}

/* Kicked, asked for something, reset in the middle of it. */
static void churn(struct device *d)
{
	size_t mark = alloc_mark();
	const struct piece piece = {RAM_END / 2, 512, d->id == VIRTIO_ID_RNG};

	device_start(d, chance(50) ? ALL_FEATURES : 0);
	for (unsigned int q = 0; q < d->n_queues; q++) {
		for (unsigned int i = 0; i < 8; i++)
			ring_offer(&d->ring[q], ring_chain(&d->ring[q], &piece, 1));
	}
	flood_device(d, 30);
	device_reset(d);
	alloc_release(mark);
}

void attack_flood(void)
{
	find_devices();
	second_start(flood_on);
	for (unsigned int i = 0; i < 30 * param("rounds", 1); i++)
		churn(&devices[i % n_devices]);
	second_stop();
	for (unsigned int i = 0; i < n_devices; i++)
		device_check(&devices[i]);
	OK("kicks and resets");
}

/* ---- for the soak ---- */

void attack_mixed(void)
{
	find_devices();
	for (unsigned int i = 0;; i++) {
		churn(&devices[rnd_below(n_devices)]);
		flood_all(20);
		if (i % 8 != 0)
			continue;
		device_check(&devices[rnd_below(n_devices)]);
		OK("still there");
	}
}

void attack_reboot(void)
{
	find_devices();
	for (unsigned int i = 0; i < 4; i++)
		churn(&devices[rnd_below(n_devices)]);
	for (unsigned int i = 0; i < n_devices; i++)
		device_start(&devices[i], ALL_FEATURES);
	flood_all(10);
	out8(I8042_COMMAND, I8042_RESET);
	halt();
}
