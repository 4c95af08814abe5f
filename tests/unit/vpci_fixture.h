/*
 * A device behind virtio-pci on a PCI bus, with an event loop of its own and a host that records, and what a
 * guest's driver does with it. The test's thread plays the vCPUs. Made anew for each test.
 *
 * The device is a fake one, by fix_setup() and fix_teardown(), or one of the test's own, between fix_open() with
 * fix_plug() and fix_unplug() with fix_close(). A test may define FIX_QUEUES and RAM_SIZE before it includes this.
 */
#pragma once

#include "tests/unit/vpci_host.h"

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
