/*
 * A guest against the registers of a virtio device on the PCI bus: its configuration space and the window in that, its BARs
 * wherever they are moved, MSI-X, kicks.
 *
 * Fuzzes: virtio/virtio_pci.c virtio/virtio_pci_common.c virtio/virtio_regs.c virtio/virtio_device.c vmm/core/msix.c
 */
#include <errno.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/transport.h"
#include "virtio/virtio_pci.h"

#define WINDOW	    UINT64_C(0xc0000000)
#define WINDOW_SIZE UINT64_C(0x100000)
#define PORTS	    0xc000
#define PORTS_SIZE  0x1000
#define DEVFN	    PCI_DEVFN(4, 0)
#define VECTORS	    (FAKE_QUEUES + 1)
#define MSIX_TABLE  0x4000 /* in the BAR */

static struct pci_bus bus;
static struct virtio_pci vpci;

/* ---- the host ---- */

static struct {
	struct {
		struct virtio_pci_kick at;
		int fd; /* -1: not bound */
	} bind[FAKE_QUEUES];
	int bind_error, route_error;
	bool routed[VECTORS];
	uint64_t address[VECTORS];
	uint32_t data[VECTORS];
	unsigned int signals[VECTORS];
} host;

static int host_bind(void *arg, struct virtio_pci_kick at, int fd)
{
	(void)arg;
	if (host.bind_error)
		return host.bind_error;
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		if (host.bind[i].fd >= 0)
			continue;
		host.bind[i].at = at;
		host.bind[i].fd = fd;
		return 0;
	}
	FUZZ_CHECK(!"one for each queue");
	return -ENOSPC;
}

static void host_unbind(void *arg, struct virtio_pci_kick at, int fd)
{
	(void)arg;
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		if (host.bind[i].fd == fd && host.bind[i].at.address == at.address &&
		    host.bind[i].at.port == at.port)
			host.bind[i].fd = -1;
	}
}

static int host_route(void *arg, unsigned int vector, uint64_t address, uint32_t data)
{
	(void)arg;
	FUZZ_CHECK(vector < VECTORS);
	if (host.route_error)
		return host.route_error;
	host.routed[vector] = true;
	host.address[vector] = address;
	host.data[vector] = data;
	return 0;
}

/* A vector sends what its entry says, and only when nothing masks it. */
static void check_vector(unsigned int vector)
{
	const struct msix_entry *e = &vpci.msix.table[vector];

	FUZZ_CHECK(vector < VECTORS && host.routed[vector]);
	FUZZ_CHECK(vpci.msix.enabled && !vpci.msix.all_masked && !(e->control & 1));
	FUZZ_CHECK(host.address[vector] == e->address && host.data[vector] == e->data);
}

static void host_signal(void *arg, unsigned int vector)
{
	(void)arg;
	check_vector(vector);
	host.signals[vector]++;
}

static int host_fd(void *arg, unsigned int vector)
{
	(void)arg;
	check_vector(vector);
	return 100 + (int)vector;
}

/* ---- accesses ---- */

static uint32_t config_read(unsigned int devfn, unsigned int offset, unsigned int width)
{
	pci_port_write(&bus, 0, 4, UINT32_C(0x80000000) | devfn << 8 | (offset & 0xfc));
	return (uint32_t)pci_port_read(&bus, 4 + (offset & 3), width);
}

static void config_write(unsigned int devfn, unsigned int offset, unsigned int width,
			 uint32_t value)
{
	pci_port_write(&bus, 0, 4, UINT32_C(0x80000000) | devfn << 8 | (offset & 0xfc));
	pci_port_write(&bus, 4 + (offset & 3), width, value);
}

static void bar_write(uint64_t offset, unsigned int width, uint64_t value)
{
	pci_window_write(&bus, vpci.fn.bar_address[0] - WINDOW + offset, width, value);
}

static uint64_t bar_read(uint64_t offset, unsigned int width)
{
	return pci_window_read(&bus, vpci.fn.bar_address[0] - WINDOW + offset, width);
}

static void set_msix(uint16_t flags)
{
	config_write(DEVFN, vpci.msix_cap + PCI_MSIX_FLAGS, 2, flags);
}

static void set_entry(unsigned int vector, uint64_t address, uint32_t data, uint32_t control)
{
	uint64_t at = MSIX_TABLE + vector * PCI_MSIX_ENTRY_SIZE;

	bar_write(at + PCI_MSIX_ENTRY_LOWER_ADDR, 8, address);
	bar_write(at + PCI_MSIX_ENTRY_DATA, 4, data);
	bar_write(at + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, control);
}

/* ---- a driver ---- */

static void enable_bars(void)
{
	config_write(DEVFN, PCI_BASE_ADDRESS_0, 4, WINDOW);
	config_write(DEVFN, PCI_BASE_ADDRESS_1, 4, PORTS);
	config_write(DEVFN, PCI_COMMAND, 2,
		     PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_IO);
}

static void set_address(uint32_t reg, uint64_t address)
{
	bar_write(reg, 4, (uint32_t)address);
	bar_write(reg + 4, 4, address >> 32);
}

static void place_queue(unsigned int queue, uint8_t sizes)
{
	struct virtq_driver *drv = &guest.drv[queue];

	virtq_driver_init(drv, &guest.mem, queue * GUEST_RINGS, (queue + 1) * GUEST_RINGS,
			  (uint16_t)(8u << sizes % 6));
	guest.next_desc[queue] = 0;
	bar_write(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	bar_write(VIRTIO_PCI_COMMON_Q_SIZE, 2, drv->config.size);
	set_address(VIRTIO_PCI_COMMON_Q_DESCLO, drv->config.desc);
	set_address(VIRTIO_PCI_COMMON_Q_AVAILLO, drv->config.avail);
	set_address(VIRTIO_PCI_COMMON_Q_USEDLO, drv->config.used);
	bar_write(VIRTIO_PCI_COMMON_Q_MSIX, 2, queue + 1);
	bar_write(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static void negotiate(uint64_t features)
{
	bar_write(VIRTIO_PCI_COMMON_STATUS, 1, 0);
	world_settle();
	bar_write(VIRTIO_PCI_COMMON_STATUS, 1, S_ACK);
	bar_write(VIRTIO_PCI_COMMON_STATUS, 1, S_DRIVER);
	for (uint32_t half = 0; half < 2; half++) {
		bar_write(VIRTIO_PCI_COMMON_GFSELECT, 4, half);
		bar_write(VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> 32 * half));
	}
	bar_write(VIRTIO_PCI_COMMON_STATUS, 1, S_FEATURES_OK);
}

static void bring_up(uint8_t how)
{
	enable_bars();
	negotiate(how & 1 ? fake.dev.features : BIT(VIRTIO_F_VERSION_1));
	set_msix(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned int i = 0; i < VECTORS; i++)
		set_entry(i, 0xfee00000, 0x4000 + i, 0);
	set_msix(PCI_MSIX_FLAGS_ENABLE);
	bar_write(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		if (!(how >> (4 + i) & 1))
			place_queue(i, how >> 1);
	}
	bar_write(VIRTIO_PCI_COMMON_STATUS, 1, S_DRIVER_OK);
	world_settle();
}

/* As the guest's write does it, which KVM takes where it was told to. */
static void kick(unsigned int queue, uint8_t how)
{
	uint64_t one = 1, offset = VIRTIO_PCI_NOTIFY_STEP * (uint64_t)queue;
	uint64_t port = vpci.fn.bar_address[1] + offset;
	uint64_t gpa = vpci.fn.bar_address[0] + VIRTIO_PCI_NOTIFY + offset;

	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		if (host.bind[i].fd >= 0 &&
		    host.bind[i].at.address == (host.bind[i].at.port ? port : gpa)) {
			FUZZ_CHECK(write(host.bind[i].fd, &one, sizeof(one)) == sizeof(one));
			return;
		}
	}
	if (how & 1)
		pci_ports_write(&bus, port - PORTS, 2, queue);
	else
		bar_write(VIRTIO_PCI_NOTIFY + offset, how & 2 ? 2 : 4, queue);
}

/* ---- operations ---- */

static unsigned int width_of(uint8_t code, unsigned int most)
{
	unsigned int width = 1u << (code & 3);

	return width < most ? width : most;
}

static void op_config(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), offset = fuzz_u8(in);
	unsigned int devfn = how >= 0xf0 ? offset : DEVFN, width = width_of(how, 4);

	if (how & 4)
		offset = (uint8_t)(vpci.window_cap + offset % 20);
	if (how & 8)
		offset = (uint8_t)(vpci.msix_cap + offset % 12);
	if (how & 0x20)
		config_write(devfn, offset, width, how & 0x10 ? fuzz_u32(in) : fuzz_u8(in));
	else
		config_read(devfn, offset, width);
}

static void op_window(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	unsigned int cap = vpci.window_cap, width = width_of(how, 4);
	unsigned int data = cap + (unsigned int)sizeof(struct virtio_pci_cap);

	config_write(DEVFN, cap + VIRTIO_PCI_CAP_BAR, 1, how >= 0xf8);
	config_write(DEVFN, cap + VIRTIO_PCI_CAP_OFFSET, 4, fuzz_u16(in));
	config_write(DEVFN, cap + VIRTIO_PCI_CAP_LENGTH, 4, how & 4 ? width : 2);
	if (how & 8)
		config_write(DEVFN, data, width, fuzz_u16(in));
	else
		config_read(DEVFN, data, width);
}

static void op_bar(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	unsigned int width = width_of(how, 8);
	uint64_t offset = (uint64_t)(how >> 5) << 12 | fuzz_u8(in);

	if (how & 4)
		bar_write(offset, width, how & 8 ? fuzz_u64(in) : fuzz_u8(in));
	else
		bar_read(offset, width);
	if (how & 0x10) /* and as far inside the windows */
		pci_window_read(&bus, fuzz_u32(in) % WINDOW_SIZE, width);
}

static void op_port(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint64_t offset = vpci.fn.bar_address[1] - PORTS + (how & 0x80 ? fuzz_u16(in) : how & 0x1f);

	if (how & 0x40)
		pci_ports_read(&bus, offset, width_of(how >> 4, 4));
	else
		pci_ports_write(&bus, offset, width_of(how >> 4, 4), how);
}

/* A register of the common configuration in its own width. */
static void op_common(struct fuzz_input *in)
{
	static const struct {
		uint8_t reg, width;
	} regs[] = {{VIRTIO_PCI_COMMON_DFSELECT, 4},  {VIRTIO_PCI_COMMON_GFSELECT, 4},
		    {VIRTIO_PCI_COMMON_GF, 4},	      {VIRTIO_PCI_COMMON_MSIX, 2},
		    {VIRTIO_PCI_COMMON_STATUS, 1},    {VIRTIO_PCI_COMMON_Q_SELECT, 2},
		    {VIRTIO_PCI_COMMON_Q_SIZE, 2},    {VIRTIO_PCI_COMMON_Q_MSIX, 2},
		    {VIRTIO_PCI_COMMON_Q_ENABLE, 2},  {VIRTIO_PCI_COMMON_Q_DESCLO, 4},
		    {VIRTIO_PCI_COMMON_Q_DESCHI, 4},  {VIRTIO_PCI_COMMON_Q_AVAILLO, 4},
		    {VIRTIO_PCI_COMMON_Q_AVAILHI, 4}, {VIRTIO_PCI_COMMON_Q_USEDLO, 4},
		    {VIRTIO_PCI_COMMON_Q_USEDHI, 4},  {VIRTIO_PCI_COMMON_STATUS, 1}};
	uint8_t how = fuzz_u8(in);

	bar_write(regs[how % 16].reg, regs[how % 16].width,
		  how & 0x80 ? fuzz_u32(in) : fuzz_u8(in));
	bar_read(regs[how % 16].reg, regs[how % 16].width);
}

static void op_entry(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);

	if (how & 0x80)
		set_msix((uint16_t)((how & 3u) << 14));
	else
		set_entry(how % VECTORS, how & 0x40 ? fuzz_u64(in) : 0xfee00000, fuzz_u8(in),
			  how >> 3 & 1);
	bar_read(MSIX_TABLE + 0x1000, 8);
}

static void op(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), how;

	switch (what % 12) {
	case 0:
		op_config(in);
		break;
	case 1:
		op_window(in);
		break;
	case 2:
		op_bar(in);
		break;
	case 3:
		op_port(in);
		break;
	case 4:
	case 5:
		op_common(in);
		break;
	case 6:
		op_entry(in);
		break;
	case 7:
		bring_up(fuzz_u8(in));
		break;
	case 8:
	case 9:
		how = fuzz_u8(in);
		transport_send(how % FAKE_QUEUES, fuzz_u8(in));
		kick(how % FAKE_QUEUES, how >> 4);
		break;
	case 10:
		transport_host(in);
		break;
	default:
		how = fuzz_u8(in);
		host.bind_error = how & 1 ? -ENOSPC : 0;
		host.route_error = how & 2 ? -EINVAL : 0;
		virtio_device_interrupt_fd(&fake.dev, how % FAKE_QUEUES);
	}
}

static void check(void)
{
	transport_check(&vpci.regs);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		FUZZ_CHECK(host.bind[i].fd < 0 || vpci.regs.live);
}

/* The next driver is a good one. */
static void check_serves(void)
{
	host.bind_error = host.route_error = 0;
	bring_up(1);
	check();
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		unsigned int before = host.signals[i + 1];

		if (fake.delegated >> i & 1)
			continue;
		transport_send(i, 0);
		kick(i, 0);
		check();
		FUZZ_CHECK(guest.drv[i].used->idx == 1);
		FUZZ_CHECK(host.signals[i + 1] == before + 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct virtio_pci_host ops = {
		.bind_kick = host_bind,
		.unbind_kick = host_unbind,
		.msix = {.route = host_route, .signal = host_signal, .fd = host_fd}};
	struct fuzz_input in = {.at = data, .left = size};

	memset(&host, 0, sizeof(host));
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		host.bind[i].fd = -1;
	transport_begin(fuzz_u8(&in));
	pci_bus_init(&bus, WINDOW, WINDOW_SIZE);
	pci_bus_set_ports(&bus, PORTS, PORTS_SIZE);
	virtio_pci_init(&vpci, &fake.dev, &guest.mem, &ops);
	FUZZ_CHECK(pci_bus_add(&bus, DEVFN, &vpci.fn) == 0);
	enable_bars();
	while (fuzz_more(&in)) {
		op(&in);
		check();
	}
	check_serves();
	virtio_pci_fini(&vpci);
	pci_bus_fini(&bus);
	transport_end();
	return 0;
}
