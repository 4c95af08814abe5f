/* The MSI-X table, written while it is used; and messages that are none. */
#include "device.h"
#include "themes.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#define LAPIC	  UINT64_C(0xfee00000)
#define LAPIC_SVR (LAPIC + 0xf0)
#define LAPIC_IRR (LAPIC + 0x200)
#define LAPIC_ON  0x1ff
/* Delivery modes other than fixed and lowest priority, in both halves of a write: they would hit this CPU itself. */
#define TAME	  UINT64_C(0xfffff9fffffff9ff)

static struct device *fired;
static unsigned int msix_cap;

static unsigned int find_cap(const struct device *d, uint8_t id)
{
	unsigned int cap = pci_read(d->devfn, PCI_CAPABILITY_LIST, 1);

	while (cap && pci_read(d->devfn, cap, 1) != id)
		cap = pci_read(d->devfn, cap + 1, 1);
	return cap;
}

static void set_vectors(const struct device *d)
{
	mem_write(d->regs + VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned int q = 0; q < d->n_queues; q++) {
		select_queue(d, q);
		mem_write(d->regs + VIRTIO_PCI_COMMON_Q_MSIX, 2, q + 1);
	}
}

static void set_entry(const struct device *d, unsigned int vector, uint64_t address, uint32_t data)
{
	uint64_t at = d->regs + PCI_REGS_MSIX + 16 * vector;

	mem_write(at, 8, address);
	mem_write(at + 8, 4, data);
	mem_write(at + 12, 4, 0);
}

/* Negotiated, with vectors, up to DRIVER_OK. */
static void start_with_vectors(struct device *d)
{
	device_negotiate(d, 0);
	msix_cap = find_cap(d, PCI_CAP_ID_MSIX);
	pci_write(d->devfn, msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	set_vectors(d);
	for (unsigned int q = 0; q < d->n_queues; q++) {
		struct queue_setup setup;

		select_queue(d, q);
		ring_make(&d->ring[q], RING_SIZE);
		setup = ring_setup(&d->ring[q]);
		set_queue(d, &setup);
		enable_queue(d);
	}
	set_status(d, 0xf);
}

static bool pending(unsigned int vector)
{
	return mem_read(LAPIC_IRR + 16 * (vector / 32), 4) & (1u << vector % 32);
}

/* Entropy without end, an interrupt for each piece. */
static void fire(unsigned int n)
{
	const struct piece piece = {RAM_END - PAGE, 16, true};

	for (unsigned int i = 0; i < n; i++)
		exchange(fired, 0, &piece, 1);
}

static void fire_on(void)
{
	while (!second_stopping())
		fire(1);
}

static void write_table(uint64_t tame)
{
	const struct device *d = fired;
	unsigned int offset = rnd_below(16 * (d->n_queues + 2));
	unsigned int width = 1u << rnd_below(4);

	if (chance(70))
		offset &= ~(width - 1);
	mem_write(d->regs + PCI_REGS_MSIX + offset, width,
		  (chance(50) ? rnd() : rnd_nasty()) & tame);
	mem_read(d->regs + PCI_REGS_MSIX + offset, width);
	mem_read(d->regs + PCI_REGS_PBA + rnd_below(16), width);
	if (chance(20))
		pci_write(d->devfn, msix_cap + PCI_MSIX_FLAGS, 2, rnd() & 0xc000);
	if (chance(50)) /* awake */
		mem_write(d->regs + PCI_REGS_MSIX + 16 * rnd_below(d->n_queues + 1) + 12, 4, 0);
}

static bool begin(void)
{
	find_devices();
	fired = find_device(VIRTIO_ID_RNG);
	if (!fired || !fired->pci) {
		OK("no MSI-X");
		return false;
	}
	mem_write(LAPIC_SVR, 4, LAPIC_ON);
	start_with_vectors(fired);
	return true;
}

void attack_msix(void)
{
	unsigned int vector = 0x40;

	if (!begin())
		return;
	second_start(fire_on);
	for (unsigned int i = 0; i < 1500 * param("rounds", 1); i++)
		write_table(TAME);
	second_stop();
	/* Beyond the table, and in its pending bits. */
	for (unsigned int offset = 0; offset < PAGE; offset += 40) {
		mem_write(fired->regs + PCI_REGS_MSIX + offset, 8, rnd_nasty() & TAME);
		mem_write(fired->regs + PCI_REGS_PBA + offset, 4, rnd());
	}
	start_with_vectors(fired);
	while (pending(vector)) /* by the above */
		vector++;
	set_entry(fired, 1, LAPIC, vector);
	fire(1);
	for (uint64_t since = now(); !pending(vector) && now() - since < PATIENCE;)
		pause();
	EXPECT(pending(vector), "no interrupt comes any more");
	pci_write(fired->devfn, msix_cap + PCI_MSIX_FLAGS, 2, 0);
	device_check(fired);
	OK("the MSI-X table while it is used");
}

void attack_wild(void)
{
	if (!begin())
		return;
	second_start(fire_on);
	for (unsigned int i = 0; i < 2000; i++)
		write_table(~UINT64_C(0));
	second_stop();
}
