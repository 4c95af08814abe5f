/*
 * For vpci_fixture.h: the fixture's struct, the host behind the device, and accesses of the guest to the configuration space and
 * to the device's registers.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "tests/unit/evloop_settle.h"
#include "tests/unit/fake_device.h"
#include "tests/unit/virtq_driver.h"
#include "virtio/virtio_pci.h"

#ifndef FIX_QUEUES
#define FIX_QUEUES FAKE_QUEUES /* at most; a device has at least one */
#endif
#ifndef RAM_SIZE
#define RAM_SIZE UINT64_C(0x400000)
#endif
#define WINDOW	    UINT64_C(0xc0000000)
#define WINDOW_SIZE UINT64_C(0x100000)
#define DEVFN	    PCI_DEVFN(4, 0)
#define BAR_SIZE    0x8000
#define PORTS	    0xc000
#define PORTS_SIZE  0x1000

#define VERSION_1 (UINT64_C(1) << VIRTIO_F_VERSION_1)

#define N_VECTORS (FIX_QUEUES + 1)
#define MAX_BINDS 16

/* Status bits, in the order in which Linux sets them. */
#define S_ACK	      VIRTIO_CONFIG_S_ACKNOWLEDGE
#define S_DRIVER      (S_ACK | VIRTIO_CONFIG_S_DRIVER)
#define S_FEATURES_OK (S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define S_DRIVER_OK   (S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK)
#define S_NEEDS_RESET VIRTIO_CONFIG_S_NEEDS_RESET

struct vpci_fixture {
	struct guest_mem mem;
	struct pci_bus bus;
	struct evloop loop;
	struct fake_device fake;
	struct virtio_device *dev;
	struct virtio_pci vpci;
	struct virtq_driver drv[FIX_QUEUES];
	/* what the guest found in the capability list: offset in the BAR, 0 length when not there */
	struct {
		uint32_t offset, length;
		unsigned int cap; /* in the configuration space */
	} place[VIRTIO_PCI_CAP_PCI_CFG + 1];
	unsigned int msix_cap;
	unsigned int port_cap; /* the notification capability in the BAR of ports */
	uint64_t bar;
	bool through_window; /* registers are accessed by VIRTIO_PCI_CAP_PCI_CFG */
	/* the host */
	struct {
		struct virtio_pci_kick at;
		int fd;
	} binds[MAX_BINDS];
	unsigned int n_binds;
	int bind_error;
	unsigned int bad_unbinds; /* of what was not bound */
	uint64_t address[N_VECTORS];
	uint32_t data[N_VECTORS];
	_Atomic bool routed[N_VECTORS];
	_Atomic unsigned int signals[N_VECTORS], unrouted;
};

static struct vpci_fixture fix;

/* ---- the host ---- */

static inline int fix_bind_kick(void *arg, struct virtio_pci_kick at, int fd)
{
	(void)arg;
	if (fix.bind_error)
		return fix.bind_error;
	ck_assert_uint_lt(fix.n_binds, MAX_BINDS);
	fix.binds[fix.n_binds].at = at;
	fix.binds[fix.n_binds++].fd = fd;
	return 0;
}

static inline void fix_unbind_kick(void *arg, struct virtio_pci_kick at, int fd)
{
	(void)arg;
	for (unsigned int i = 0; i < fix.n_binds; i++) {
		if (fix.binds[i].at.port == at.port && fix.binds[i].at.address == at.address &&
		    fix.binds[i].fd == fd) {
			fix.binds[i] = fix.binds[--fix.n_binds];
			return;
		}
	}
	fix.bad_unbinds++;
}

/* What could not be bound is unbound all the same, which a host does not mind: so many times, and then no more. */
static inline void fix_expect_bad_unbinds(unsigned int n)
{
	ck_assert_uint_eq(fix.bad_unbinds, n);
	fix.bad_unbinds = 0;
}

static inline int fix_route(void *arg, unsigned int vector, uint64_t address, uint32_t data)
{
	(void)arg;
	fix.address[vector] = address;
	fix.data[vector] = data;
	atomic_store(&fix.routed[vector], true);
	return 0;
}

static inline void fix_signal(void *arg, unsigned int vector)
{
	(void)arg;
	if (!atomic_load(&fix.routed[vector]))
		atomic_fetch_add(&fix.unrouted, 1);
	atomic_fetch_add(&fix.signals[vector], 1);
}

/* What stands for the eventfd of a vector. */
#define FIX_FD 100

static inline int fix_fd(void *arg, unsigned int vector)
{
	(void)arg;
	if (!atomic_load(&fix.routed[vector]))
		atomic_fetch_add(&fix.unrouted, 1);
	return FIX_FD + (int)vector;
}

static inline unsigned int fix_all_signals(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < N_VECTORS; i++)
		n += atomic_load(&fix.signals[i]);
	return n;
}

/* ---- configuration space ---- */

static inline uint32_t fix_config_read(unsigned int offset, unsigned int width)
{
	pci_port_write(&fix.bus, 0, 4, UINT32_C(0x80000000) | DEVFN << 8 | (offset & 0xfc));
	return (uint32_t)pci_port_read(&fix.bus, 4 + (offset & 3), width);
}

static inline void fix_config_write(unsigned int offset, unsigned int width, uint32_t value)
{
	pci_port_write(&fix.bus, 0, 4, UINT32_C(0x80000000) | DEVFN << 8 | (offset & 0xfc));
	pci_port_write(&fix.bus, 4 + (offset & 3), width, value);
}

static inline void fix_find_capability(unsigned int cap)
{
	unsigned int type = fix_config_read(cap + 3, 1);

	if (fix_config_read(cap, 1) == PCI_CAP_ID_MSIX)
		fix.msix_cap = cap;
	if (fix_config_read(cap, 1) != PCI_CAP_ID_VNDR || type > VIRTIO_PCI_CAP_PCI_CFG)
		return;
	if (type == VIRTIO_PCI_CAP_NOTIFY_CFG &&
	    fix_config_read(cap + VIRTIO_PCI_CAP_BAR, 1) != 0) {
		fix.port_cap = cap;
		return;
	}
	fix.place[type].cap = cap;
	fix.place[type].offset = fix_config_read(cap + VIRTIO_PCI_CAP_OFFSET, 4);
	fix.place[type].length = fix_config_read(cap + VIRTIO_PCI_CAP_LENGTH, 4);
}

/* As a driver without use for ports scans: memory on, the BAR where it is, the parts where the capabilities say. */
static inline void fix_probe(void)
{
	unsigned int cap, n = 0;

	fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	fix.bar = fix_config_read(PCI_BASE_ADDRESS_0, 4);
	cap = fix_config_read(PCI_CAPABILITY_LIST, 1);
	while (cap != 0 && n++ < 48) {
		fix_find_capability(cap);
		cap = fix_config_read(cap + PCI_CAP_LIST_NEXT, 1);
	}
	ck_assert_uint_eq(cap, 0);
}

/* ---- registers ---- */

/* 4.1.4.9: points the window at the register. */
static inline unsigned int fix_window(uint32_t offset, unsigned int width)
{
	unsigned int cap = fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap;

	fix_config_write(cap + VIRTIO_PCI_CAP_BAR, 1, 0);
	fix_config_write(cap + VIRTIO_PCI_CAP_OFFSET, 4, offset);
	fix_config_write(cap + VIRTIO_PCI_CAP_LENGTH, 4, width);
	return cap + (unsigned int)sizeof(struct virtio_pci_cap);
}

static inline uint64_t fix_read(uint32_t offset, unsigned int width)
{
	if (fix.through_window)
		return fix_config_read(fix_window(offset, width), width);
	return pci_window_read(&fix.bus, fix.bar - WINDOW + offset, width) & bus_ones(width);
}

static inline void fix_write(uint32_t offset, unsigned int width, uint64_t value)
{
	if (fix.through_window)
		fix_config_write(fix_window(offset, width), width, (uint32_t)value);
	else
		pci_window_write(&fix.bus, fix.bar - WINDOW + offset, width, value);
}

static inline uint64_t fix_common(uint32_t reg, unsigned int width)
{
	return fix_read(fix.place[VIRTIO_PCI_CAP_COMMON_CFG].offset + reg, width);
}

static inline void fix_set_common(uint32_t reg, unsigned int width, uint64_t value)
{
	fix_write(fix.place[VIRTIO_PCI_CAP_COMMON_CFG].offset + reg, width, value);
}

static inline uint8_t fix_status(void)
{
	return (uint8_t)fix_common(VIRTIO_PCI_COMMON_STATUS, 1);
}

static inline void fix_set_status(uint8_t status)
{
	fix_set_common(VIRTIO_PCI_COMMON_STATUS, 1, status);
}

static inline uint64_t fix_features(uint32_t select, uint32_t reg)
{
	uint64_t low;

	fix_set_common(select, 4, 0);
	low = fix_common(reg, 4);
	fix_set_common(select, 4, 1);
	return low | fix_common(reg, 4) << 32;
}

static inline uint64_t fix_device_features(void)
{
	return fix_features(VIRTIO_PCI_COMMON_DFSELECT, VIRTIO_PCI_COMMON_DF);
}

static inline uint64_t fix_driver_features(void)
{
	return fix_features(VIRTIO_PCI_COMMON_GFSELECT, VIRTIO_PCI_COMMON_GF);
}

static inline void fix_set_features(uint64_t features)
{
	fix_set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	fix_set_common(VIRTIO_PCI_COMMON_GF, 4, (uint32_t)features);
	fix_set_common(VIRTIO_PCI_COMMON_GFSELECT, 4, 1);
	fix_set_common(VIRTIO_PCI_COMMON_GF, 4, features >> 32);
}

static inline void fix_select(unsigned int queue)
{
	fix_set_common(VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
}

static inline void fix_set_address(uint32_t reg, uint64_t address)
{
	fix_set_common(reg, 4, (uint32_t)address);
	fix_set_common(reg + 4, 4, address >> 32);
}

static inline uint64_t fix_address(uint32_t reg)
{
	return fix_common(reg, 4) | fix_common(reg + 4, 4) << 32;
}
