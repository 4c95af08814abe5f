/*
 * A device behind virtio-pci on a PCI bus, with an event loop of its own and a host that records, and what a
 * guest's driver does with it. The test's thread plays the vCPUs. Made anew for each test.
 *
 * The device is a fake one, by fix_setup() and fix_teardown(), or one of the test's own, between fix_open() with
 * fix_plug() and fix_unplug() with fix_close(). A test may define FIX_QUEUES and RAM_SIZE before it includes this.
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

/* ---- the driver ---- */

static inline void fix_reset(void)
{
	fix_set_status(0);
	for (int i = 0; fix_status() != 0; i++) {
		ck_assert_int_lt(i, 100000);
		usleep(50);
	}
}

static inline void fix_msix_entry(unsigned int vector)
{
	uint32_t entry = (fix_config_read(fix.msix_cap + PCI_MSIX_TABLE, 4) &
			  PCI_MSIX_TABLE_OFFSET) +
			 vector * PCI_MSIX_ENTRY_SIZE;

	fix_write(entry + PCI_MSIX_ENTRY_LOWER_ADDR, 4, 0xfee00000);
	fix_write(entry + PCI_MSIX_ENTRY_UPPER_ADDR, 4, 0);
	fix_write(entry + PCI_MSIX_ENTRY_DATA, 4, 0x4000 + vector);
	fix_write(entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 4, 0);
}

static inline void fix_enable_msix(void)
{
	unsigned int flags = fix.msix_cap + PCI_MSIX_FLAGS;

	fix_config_write(flags, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	for (unsigned int i = 0; i <= fix.dev->n_queues; i++)
		fix_msix_entry(i);
	fix_config_write(flags, 2, PCI_MSIX_FLAGS_ENABLE);
}

/* Up to FEATURES_OK, which the test may look for. */
static inline void fix_negotiate(uint64_t features)
{
	fix_reset();
	fix_set_status(S_ACK);
	fix_set_status(S_DRIVER);
	fix_set_features(features);
	fix_set_status(S_FEATURES_OK);
}

/* Lays the rings of queue out and tells the device, but for enabling it. */
static inline void fix_place_queue(unsigned int queue, uint16_t size)
{
	gpa_t base = 0x100000 * (gpa_t)(queue + 1);
	struct virtq_driver *drv = &fix.drv[queue];

	virtq_driver_init(drv, &fix.mem, base, base + 0x100000, size);
	fix_select(queue);
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
	fix_set_address(VIRTIO_PCI_COMMON_Q_DESCLO, drv->config.desc);
	fix_set_address(VIRTIO_PCI_COMMON_Q_AVAILLO, drv->config.avail);
	fix_set_address(VIRTIO_PCI_COMMON_Q_USEDLO, drv->config.used);
	fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, queue + 1);
}

static inline void fix_enable_queue(unsigned int queue)
{
	fix_select(queue);
	fix_set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

/* Everything up to DRIVER_OK, without it: vector 0 for the configuration, vector i + 1 for queue i. */
static inline void fix_prepare_with(uint64_t features, uint16_t queue_size)
{
	fix_negotiate(features);
	fix_enable_msix();
	fix_set_common(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned int i = 0; i < fix.dev->n_queues; i++)
		fix_place_queue(i, queue_size);
	for (unsigned int i = 0; i < fix.dev->n_queues; i++)
		fix_enable_queue(i);
}

static inline void fix_prepare(void)
{
	fix_prepare_with(VERSION_1, 16);
}

static inline void fix_go(void)
{
	fix_prepare();
	fix_set_status(S_DRIVER_OK);
	evloop_settle(&fix.loop);
}

/* Queues a request of 8 bytes, without a kick. */
static inline void fix_send(unsigned int queue)
{
	struct virtq_driver *drv = &fix.drv[queue];
	const struct virtq_piece pieces[] = {
		{virtq_driver_alloc_copy(drv, "question", 8), 8, false},
		{virtq_driver_alloc(drv, 8), 8, true}};

	virtq_driver_send(drv, pieces, 2);
}

/* Where queue is kicked, as a driver computes it (4.1.4.4). */
static inline uint32_t fix_notify_offset(unsigned int queue)
{
	unsigned int cap = fix.place[VIRTIO_PCI_CAP_NOTIFY_CFG].cap;
	uint32_t step = fix_config_read(cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);

	fix_select(queue);
	return fix.place[VIRTIO_PCI_CAP_NOTIFY_CFG].offset +
	       step * (uint32_t)fix_common(VIRTIO_PCI_COMMON_Q_NOFF, 2);
}

/* The eventfd that takes the guest's writes to a port or an address in memory; -1: none. */
static inline int fix_bound_at(bool port, uint64_t address)
{
	for (unsigned int i = 0; i < fix.n_binds; i++) {
		if (fix.binds[i].at.port == port && fix.binds[i].at.address == address)
			return fix.binds[i].fd;
	}
	return -1;
}

static inline int fix_bound(uint64_t gpa)
{
	return fix_bound_at(false, gpa);
}

/* The guest's write, which KVM turns into a signal where an eventfd is bound. Returns whether one was. */
static inline bool fix_kick(unsigned int queue)
{
	uint32_t offset = fix_notify_offset(queue);
	int fd = fix_bound(fix.bar + offset);
	uint64_t one = 1;

	if (fd < 0)
		fix_write(offset, 2, queue);
	else
		ck_assert_int_eq(write(fd, &one, sizeof(one)), sizeof(one));
	evloop_settle(&fix.loop);
	return fd >= 0;
}

/* A request goes through queue and comes back with its interrupt. */
static inline void fix_check_serves(unsigned int queue)
{
	unsigned int signals = atomic_load(&fix.signals[queue + 1]);
	unsigned int used = virtq_driver_n_used(&fix.drv[queue]);

	fix_send(queue);
	fix_kick(queue);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[queue]), used + 1);
	ck_assert_uint_eq(atomic_load(&fix.signals[queue + 1]), signals + 1);
}

/* ---- life ---- */

/* The host and its loop, which does not run yet. */
static inline void fix_open(void)
{
	const struct guest_mem_region ram = {.base = 0, .size = RAM_SIZE};

	memset((void *)&fix, 0, sizeof(fix));
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_eq(guest_mem_init(&fix.mem, &ram, 1), 0);
	pci_bus_init(&fix.bus, WINDOW, WINDOW_SIZE);
	pci_bus_set_ports(&fix.bus, PORTS, PORTS_SIZE);
	ck_assert_int_eq(evloop_init(&fix.loop), 0);
}

/* Runs the loop and looks for the device, which has at most FIX_QUEUES queues. */
static inline void fix_plug(struct virtio_device *dev)
{
	const struct virtio_pci_host host = {
		.bind_kick = fix_bind_kick,
		.unbind_kick = fix_unbind_kick,
		.msix = {.route = fix_route, .signal = fix_signal, .fd = fix_fd},
	};

	ck_assert_uint_le(dev->n_queues, FIX_QUEUES);
	fix.dev = dev;
	virtio_pci_init(&fix.vpci, dev, &fix.mem, &host);
	ck_assert_int_eq(pci_bus_add(&fix.bus, DEVFN, &fix.vpci.fn), 0);
	ck_assert_int_eq(evloop_start(&fix.loop, "test"), 0);
	fix_probe();
}

/* Then the device may be finished. */
static inline void fix_unplug(void)
{
	ck_assert_uint_eq(atomic_load(&fix.unrouted), 0);
	evloop_stop(&fix.loop);
	virtio_pci_fini(&fix.vpci);
	ck_assert_uint_eq(fix.bad_unbinds, 0);
}

static inline void fix_close(void)
{
	evloop_fini(&fix.loop);
	pci_bus_fini(&fix.bus);
	guest_mem_fini(&fix.mem);
}

static inline void fix_setup(void)
{
	fix_open();
	ck_assert_int_eq(fake_device_init(&fix.fake, &fix.loop), 0);
	fix.fake.on_kick = fake_device_echo;
	fix_plug(&fix.fake.dev);
}

static inline void fix_teardown(void)
{
	fix_unplug();
	fake_device_fini(&fix.fake);
	fix_close();
}

static inline int fix_run(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
