/* Finding the devices, and their registers on either transport. */
#include "device.h"

#include <linux/pci_regs.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

#define PCI_ADDRESS   0xcf8
#define PCI_DATA      0xcfc
#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_BASE   0x1040
#define MMIO_FIRST    UINT64_C(0xd0000000)
#define MMIO_MAGIC    0x74726976

struct device devices[MAX_DEVICES];
unsigned int n_devices;

/* ---- PCI ---- */

static uint16_t pci_select(uint8_t devfn, unsigned int offset)
{
	out32(PCI_ADDRESS, 0x80000000u | (uint32_t)devfn << 8 | (offset & 0xfc));
	return (uint16_t)(PCI_DATA + (offset & 3));
}

uint32_t pci_read(uint8_t devfn, unsigned int offset, unsigned int width)
{
	return port_read(pci_select(devfn, offset), width);
}

void pci_write(uint8_t devfn, unsigned int offset, unsigned int width, uint32_t value)
{
	port_write(pci_select(devfn, offset), width, value);
}

static void add_pci(uint8_t devfn)
{
	struct device *d = &devices[n_devices];
	uint32_t id = pci_read(devfn, PCI_VENDOR_ID, 4);

	if ((id & 0xffff) != VIRTIO_VENDOR || n_devices == MAX_DEVICES)
		return;
	pci_write(devfn, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	*d = (struct device){.pci = true, .id = (id >> 16) - VIRTIO_BASE, .devfn = devfn};
	d->regs = pci_read(devfn, PCI_BASE_ADDRESS_0, 4) & ~UINT32_C(0xf);
	d->ports = (uint16_t)(pci_read(devfn, PCI_BASE_ADDRESS_1, 4) & ~3u);
	d->n_queues = mem_read(d->regs + VIRTIO_PCI_COMMON_NUMQ, 2);
	n_devices++;
}

static void add_mmio(uint64_t regs)
{
	struct device *d = &devices[n_devices];

	if (mem_read(regs, 4) != MMIO_MAGIC || n_devices == MAX_DEVICES)
		return;
	*d = (struct device){.regs = regs, .id = mem_read(regs + VIRTIO_MMIO_DEVICE_ID, 4)};
	while (d->n_queues < MAX_QUEUES && select_queue(d, d->n_queues) > 0)
		d->n_queues++;
	n_devices++;
}

void find_devices(void)
{
	n_devices = 0;
	for (unsigned int devfn = 0; devfn < 256; devfn++)
		add_pci((uint8_t)devfn);
	for (unsigned int i = 0; n_devices == i && i < MAX_DEVICES; i++)
		add_mmio(MMIO_FIRST + i * MMIO_REGS_SIZE);
	for (unsigned int i = 0; i < n_devices; i++) {
		if (devices[i].n_queues > MAX_QUEUES)
			devices[i].n_queues = MAX_QUEUES;
	}
	if (n_devices > 0)
		return;
	give_up("there are no devices");
}

struct device *find_device(uint32_t id)
{
	for (unsigned int i = 0; i < n_devices; i++) {
		if (devices[i].id == id)
			return &devices[i];
	}
	return NULL;
}

bool first_of_kind(const struct device *d)
{
	return find_device(d->id) == d;
}

const char *device_name(const struct device *d)
{
	switch (d->id) {
	case VIRTIO_ID_NET:
		return "net";
	case VIRTIO_ID_BLOCK:
		return "blk";
	case VIRTIO_ID_CONSOLE:
		return "console";
	case VIRTIO_ID_RNG:
		return "rng";
	case VIRTIO_ID_BALLOON:
		return "balloon";
	case VIRTIO_ID_VSOCK:
		return "vsock";
	case VIRTIO_ID_FS:
		return "fs";
	default:
		return "a device of another kind";
	}
}

/* ---- registers ---- */

uint8_t get_status(const struct device *d)
{
	return (uint8_t)(d->pci ? mem_read(d->regs + VIRTIO_PCI_COMMON_STATUS, 1)
				: mem_read(d->regs + VIRTIO_MMIO_STATUS, 4));
}

void set_status(const struct device *d, uint8_t status)
{
	if (d->pci)
		mem_write(d->regs + VIRTIO_PCI_COMMON_STATUS, 1, status);
	else
		mem_write(d->regs + VIRTIO_MMIO_STATUS, 4, status);
}

bool needs_reset(const struct device *d)
{
	return get_status(d) & VIRTIO_CONFIG_S_NEEDS_RESET;
}

static uint32_t get_feature_half(const struct device *d, uint32_t half)
{
	if (d->pci) {
		mem_write(d->regs + VIRTIO_PCI_COMMON_DFSELECT, 4, half);
		return (uint32_t)mem_read(d->regs + VIRTIO_PCI_COMMON_DF, 4);
	}
	mem_write(d->regs + VIRTIO_MMIO_DEVICE_FEATURES_SEL, 4, half);
	return (uint32_t)mem_read(d->regs + VIRTIO_MMIO_DEVICE_FEATURES, 4);
}

uint64_t get_features(const struct device *d)
{
	return (uint64_t)get_feature_half(d, 1) << 32 | get_feature_half(d, 0);
}

void set_features(const struct device *d, uint64_t features)
{
	for (uint32_t half = 0; half < 2; half++, features >>= 32) {
		if (d->pci) {
			mem_write(d->regs + VIRTIO_PCI_COMMON_GFSELECT, 4, half);
			mem_write(d->regs + VIRTIO_PCI_COMMON_GF, 4, (uint32_t)features);
		} else {
			mem_write(d->regs + VIRTIO_MMIO_DRIVER_FEATURES_SEL, 4, half);
			mem_write(d->regs + VIRTIO_MMIO_DRIVER_FEATURES, 4, (uint32_t)features);
		}
	}
}

uint16_t queue_size(const struct device *d)
{
	return (uint16_t)(d->pci ? mem_read(d->regs + VIRTIO_PCI_COMMON_Q_SIZE, 2)
				 : mem_read(d->regs + VIRTIO_MMIO_QUEUE_NUM_MAX, 4));
}

uint16_t select_queue(const struct device *d, unsigned int queue)
{
	if (d->pci)
		mem_write(d->regs + VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	else
		mem_write(d->regs + VIRTIO_MMIO_QUEUE_SEL, 4, queue);
	return queue_size(d);
}

/* A register of 64 bits in two halves. */
static void set_address(const struct device *d, unsigned int pci_low, unsigned int mmio_low,
			uint64_t address)
{
	uint64_t at = d->regs + (d->pci ? pci_low : mmio_low);

	mem_write(at, 4, (uint32_t)address);
	mem_write(at + 4, 4, (uint32_t)(address >> 32));
}

void set_queue(const struct device *d, const struct queue_setup *setup)
{
	if (d->pci)
		mem_write(d->regs + VIRTIO_PCI_COMMON_Q_SIZE, 2, setup->size);
	else
		mem_write(d->regs + VIRTIO_MMIO_QUEUE_NUM, 4, setup->size);
	set_address(d, VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_MMIO_QUEUE_DESC_LOW, setup->desc);
	set_address(d, VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_MMIO_QUEUE_AVAIL_LOW, setup->avail);
	set_address(d, VIRTIO_PCI_COMMON_Q_USEDLO, VIRTIO_MMIO_QUEUE_USED_LOW, setup->used);
}

void enable_queue(const struct device *d)
{
	if (d->pci)
		mem_write(d->regs + VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	else
		mem_write(d->regs + VIRTIO_MMIO_QUEUE_READY, 4, 1);
}

uint64_t config_offset(const struct device *d)
{
	return d->pci ? PCI_REGS_DEVICE : VIRTIO_MMIO_CONFIG;
}

/* On PCI by the ports and by memory in turn. */
void kick(const struct device *d, unsigned int queue)
{
	barrier();
	if (!d->pci)
		mem_write(d->regs + VIRTIO_MMIO_QUEUE_NOTIFY, 4, queue);
	else if (chance(50))
		out16((uint16_t)(d->ports + 4 * queue), (uint16_t)queue);
	else
		mem_write(d->regs + PCI_REGS_NOTIFY + 4 * queue, 2, queue);
}

/* ---- life ---- */

void device_reset(const struct device *d)
{
	uint64_t since = now();

	set_status(d, 0);
	while (get_status(d) != 0) {
		if (now() - since < 2 * PATIENCE)
			continue;
		FAIL("%s: the reset does not end", device_name(d));
		give_up("nothing more is tried");
	}
}

void device_negotiate(struct device *d, uint64_t features)
{
	device_reset(d);
	set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	d->features = get_features(d) & (features | BIT64(VIRTIO_F_VERSION_1));
	set_features(d, d->features);
	set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			      VIRTIO_CONFIG_S_FEATURES_OK);
	EXPECT(get_status(d) & VIRTIO_CONFIG_S_FEATURES_OK, "%s: refuses its own features",
	       device_name(d));
}

void device_start(struct device *d, uint64_t features)
{
	device_negotiate(d, features);
	d->clean = true;
	for (unsigned int i = 0; i < d->n_queues; i++) {
		uint16_t most = select_queue(d, i);
		struct queue_setup setup;

		ring_make(&d->ring[i], most < RING_SIZE ? most : RING_SIZE);
		setup = ring_setup(&d->ring[i]);
		set_queue(d, &setup);
		enable_queue(d);
	}
	set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
			      VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
}
