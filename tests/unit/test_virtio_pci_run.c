/* virtio/virtio_pci: a device at work: kicks, interrupts, resets, a BAR that moves, the window, hostile accesses. */
#include "tests/unit/vpci_fixture.h"

#include <pthread.h>

/* ---- kicks ---- */

/* Where no eventfd could be bound the write itself kicks. */
START_TEST(test_kick)
{
	fix.bind_error = _i ? -ENOSPC : 0;
	fix_go();
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		unsigned int kicks = fix.fake.kicks[i];

		fix_send(i);
		ck_assert_int_eq(fix_kick(i), !_i);
		ck_assert_uint_eq(fix.fake.kicks[i], kicks + 1);
		ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[i]), 1);
	}
	ck_assert_uint_eq(fix.bad_unbinds, 0);
	fix_reset();
	ck_assert_uint_eq(fix.n_binds, 0);
	fix_expect_bad_unbinds(_i ? FAKE_QUEUES : 0);
}
END_TEST

/* Each queue has an address and an eventfd of its own. */
START_TEST(test_binds)
{
	fix_go();
	ck_assert_uint_eq(fix.n_binds, FAKE_QUEUES);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		ck_assert_int_eq(fix_bound(fix.bar + fix_notify_offset(i)),
				 fix.fake.dev.kick_fd[i]);
	ck_assert_uint_ge(fix_notify_offset(0), fix.place[VIRTIO_PCI_CAP_NOTIFY_CFG].offset);
	ck_assert_uint_le(fix_notify_offset(FAKE_QUEUES - 1) + 2,
			  fix.place[VIRTIO_PCI_CAP_NOTIFY_CFG].offset +
				  fix.place[VIRTIO_PCI_CAP_NOTIFY_CFG].length);
}
END_TEST

/* A queue that is served inline has no eventfd, and is served when the write returns; after a reset it is left alone. */
START_TEST(test_served_inline)
{
	fix.fake.dev.serve_inline[1] = true;
	fix_go();
	ck_assert_uint_eq(fix.n_binds, FAKE_QUEUES - 1);
	ck_assert_int_eq(fix_bound(fix.bar + fix_notify_offset(1)), -1);
	for (unsigned int i = 1; i <= 3; i++) {
		fix_send(1);
		fix_write(fix_notify_offset(1), 2, 1);
		ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[1]), i);
		ck_assert_uint_eq(atomic_load(&fix.signals[2]), i);
	}
	fix_check_serves(0);
	fix_reset();
	fix_send(1);
	fix_write(fix_notify_offset(1), 2, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[1]), 3);
}
END_TEST

/* Its ring breaks: the vCPU that kicked sees the status that asks for a reset. */
START_TEST(test_breaks_inline)
{
	unsigned int served;

	fix.fake.dev.serve_inline[1] = true;
	fix_go();
	served = fix.fake.kicks[1];
	virtq_driver_set_avail_idx(&fix.drv[1], 100);
	fix_write(fix_notify_offset(1), 2, 1);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK | S_NEEDS_RESET);
	ck_assert_uint_eq(atomic_load(&fix.signals[0]), 1);
	ck_assert_uint_eq(fix.fake.kicks[1], served + 1);
	fix_write(fix_notify_offset(1), 2, 1);
	ck_assert_uint_eq(fix.fake.kicks[1], served + 1);
	fix_go();
	fix_send(1);
	fix_write(fix_notify_offset(1), 2, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[1]), 1);
}
END_TEST

/* Any width and value at the address is a kick; behind the last queue nobody is. */
START_TEST(test_kick_widths)
{
	static const unsigned int widths[] = {1, 2, 4, 8};

	fix.bind_error = -ENOSPC;
	fix_go();
	for (int w = 0; w < 4; w++) {
		unsigned int kicks = fix.fake.kicks[1], all = fake_device_all_kicks(&fix.fake);

		fix_write(fix_notify_offset(1), widths[w], UINT64_MAX);
		evloop_settle(&fix.loop);
		ck_assert_uint_eq(fix.fake.kicks[1], kicks + 1);
		fix_write(fix_notify_offset(FAKE_QUEUES - 1) + 4, widths[w], 0);
		fix_write(fix.place[VIRTIO_PCI_CAP_NOTIFY_CFG].offset + 0xff8, widths[w], 0);
		evloop_settle(&fix.loop);
		ck_assert_uint_eq(fake_device_all_kicks(&fix.fake), all + 1);
	}
	fix_reset();
	fix_expect_bad_unbinds(FAKE_QUEUES);
}
END_TEST

/* Before DRIVER_OK and after a reset the device hears nothing. */
START_TEST(test_kick_when_not_live)
{
	fix_prepare();
	fix_kick(0);
	ck_assert_uint_eq(fake_device_all_kicks(&fix.fake), 0);
	fix_set_status(S_DRIVER_OK);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.kicks[0], 1);
	fix_reset();
	ck_assert(!fix_kick(0));
	ck_assert_uint_eq(fix.fake.kicks[0], 1);
}
END_TEST

/* ---- the BAR moves ---- */

static void move_bar(uint64_t to)
{
	fix_config_write(PCI_BASE_ADDRESS_0, 4, (uint32_t)to);
	fix.bar = to;
}

/* The eventfds follow the BAR while the device is live, and only then. */
START_TEST(test_rebind)
{
	move_bar(WINDOW + 0x20000);
	ck_assert_uint_eq(fix.n_binds, 0);
	fix_go();
	ck_assert_int_ge(fix_bound(WINDOW + 0x20000 + fix_notify_offset(0)), 0);
	fix_check_serves(0);
	move_bar(WINDOW + 0x40000);
	ck_assert_uint_eq(fix.n_binds, FAKE_QUEUES);
	ck_assert_int_lt(fix_bound(WINDOW + 0x20000 + fix_notify_offset(0)), 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		ck_assert_int_ge(fix_bound(WINDOW + 0x40000 + fix_notify_offset(i)), 0);
		fix_check_serves(i);
	}
	/* Memory off, and outside the window: nowhere, and back again. */
	fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	ck_assert_uint_eq(fix.n_binds, 0);
	fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	ck_assert_uint_eq(fix.n_binds, FAKE_QUEUES);
	move_bar(0x1000);
	ck_assert_uint_eq(fix.n_binds, 0);
	move_bar(WINDOW);
	fix_check_serves(2);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	fix_reset();
	ck_assert_uint_eq(fix.n_binds, 0);
	move_bar(WINDOW + 0x8000);
	ck_assert_uint_eq(fix.n_binds, 0);
	fix_go();
	fix_check_serves(1);
}
END_TEST

/* The device goes live while its BAR is nowhere, by the window in the configuration space. */
START_TEST(test_live_without_bar)
{
	fix_prepare();
	move_bar(0x1000);
	fix.through_window = true;
	fix_set_status(S_DRIVER_OK);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.n_binds, 0);
	ck_assert_uint_eq(fix.fake.starts, 1);
	fix_check_serves(0);
	move_bar(WINDOW);
	ck_assert_uint_eq(fix.n_binds, FAKE_QUEUES);
	fix.through_window = false;
	fix_check_serves(1);
}
END_TEST

/* ---- interrupts ---- */

static uint8_t read_isr(void)
{
	return (uint8_t)fix_read(fix.place[VIRTIO_PCI_CAP_ISR_CFG].offset, 1);
}

START_TEST(test_vectors)
{
	fix_go();
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		fix_check_serves(i);
		ck_assert_uint_eq(fix_all_signals(), i + 1);
	}
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	ck_assert_uint_eq(fix.signals[0], 1);
	ck_assert_uint_eq(fix_all_signals(), FAKE_QUEUES + 1);
	for (unsigned int i = 0; i < N_VECTORS; i++) {
		ck_assert_uint_eq(fix.address[i], 0xfee00000);
		ck_assert_uint_eq(fix.data[i], 0x4000 + i);
	}
}
END_TEST

/* All by one vector, as Linux does when it gets no more. */
START_TEST(test_shared_vector)
{
	fix_prepare();
	fix_reset();
	fix_negotiate(VERSION_1);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		fix_place_queue(i, 16);
		fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
		fix_enable_queue(i);
	}
	fix_set_status(S_DRIVER_OK);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		fix_send(i);
		fix_kick(i);
	}
	ck_assert_uint_eq(fix.signals[1], FAKE_QUEUES);
	ck_assert_uint_eq(fix_all_signals(), FAKE_QUEUES);
}
END_TEST

/* A driver that polls gives no vectors: the ISR tells all the same, once. */
START_TEST(test_no_vector_and_isr)
{
	fix_negotiate(VERSION_1);
	fix_enable_msix();
	fix_place_queue(0, 16);
	fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, VIRTIO_MSI_NO_VECTOR);
	fix_enable_queue(0);
	fix_set_status(S_DRIVER_OK);
	ck_assert_uint_eq(read_isr(), 0);
	fix_send(0);
	fix_kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 1);
	ck_assert_uint_eq(read_isr(), 1);
	ck_assert_uint_eq(read_isr(), 0);
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	ck_assert_uint_eq(read_isr(), VIRTIO_PCI_ISR_CONFIG);
	fix_send(0);
	fix_kick(0);
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	ck_assert_uint_eq(read_isr(), 1 | VIRTIO_PCI_ISR_CONFIG);
	ck_assert_uint_eq(fix_all_signals(), 0);
	/* A reset forgets it. */
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	fix_reset();
	ck_assert_uint_eq(read_isr(), 0);
}
END_TEST

/* An interrupt of a masked vector waits in the pending bits, which the BAR shows. */
START_TEST(test_masked)
{
	uint32_t pba = fix_config_read(fix.msix_cap + PCI_MSIX_PBA, 4) & PCI_MSIX_PBA_OFFSET;
	uint32_t table = fix_config_read(fix.msix_cap + PCI_MSIX_TABLE, 4) & PCI_MSIX_TABLE_OFFSET;
	uint32_t control = table + 2 * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;

	fix_go();
	fix_write(control, 4, PCI_MSIX_ENTRY_CTRL_MASKBIT);
	ck_assert_uint_eq(fix_read(control, 4), PCI_MSIX_ENTRY_CTRL_MASKBIT);
	fix_send(1);
	fix_kick(1);
	ck_assert_uint_eq(fix_all_signals(), 0);
	ck_assert_uint_eq(fix_read(pba, 8), 1 << 2);
	fix_write(control, 4, 0);
	ck_assert_uint_eq(fix.signals[2], 1);
	ck_assert_uint_eq(fix_read(pba, 8), 0);
	/* The same by the function's mask, written by its byte alone. */
	fix_config_write(fix.msix_cap + PCI_MSIX_FLAGS + 1, 1,
			 (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8);
	fix_send(1);
	fix_kick(1);
	ck_assert_uint_eq(fix.signals[2], 1);
	fix_config_write(fix.msix_cap, 4,
			 (uint32_t)PCI_MSIX_FLAGS_ENABLE << 16); /* with id and link, read-only */
	ck_assert_uint_eq(fix.signals[2], 2);
	ck_assert_uint_eq(fix_config_read(fix.msix_cap, 1), PCI_CAP_ID_MSIX);
}
END_TEST

/* A queue's interrupts can be had as an eventfd while its vector is not masked; the device hears of every change. */
START_TEST(test_interrupt_fd)
{
	struct virtio_device *dev = &fix.fake.dev;
	uint32_t control = (fix_config_read(fix.msix_cap + PCI_MSIX_TABLE, 4) &
			    PCI_MSIX_TABLE_OFFSET) +
			   2 * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;
	unsigned int moves;

	ck_assert_int_eq(virtio_device_interrupt_fd(dev, 1), -1);
	fix_go();
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		ck_assert_int_eq(virtio_device_interrupt_fd(dev, i), FIX_FD + 1 + (int)i);
	moves = fix.fake.moves[1];
	fix_write(control, 4, PCI_MSIX_ENTRY_CTRL_MASKBIT);
	ck_assert_int_eq(virtio_device_interrupt_fd(dev, 1), -1);
	ck_assert_int_eq(virtio_device_interrupt_fd(dev, 2), FIX_FD + 3);
	ck_assert_uint_eq(fix.fake.moves[1], moves + 1);
	fix_write(control, 4, 0);
	ck_assert_int_eq(virtio_device_interrupt_fd(dev, 1), FIX_FD + 2);
	ck_assert_uint_eq(fix.fake.moves[1], moves + 2);
	moves = fix.fake.moves[2];
	fix_config_write(fix.msix_cap + PCI_MSIX_FLAGS, 2, 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		ck_assert_int_eq(virtio_device_interrupt_fd(dev, i), -1);
	ck_assert_uint_eq(fix.fake.moves[2], moves + 1);
	fix_reset();
	fix_enable_msix();
	ck_assert_int_eq(virtio_device_interrupt_fd(dev, 1), -1); /* which has no vector */
}
END_TEST

/* ---- resets ---- */

/* Status 0 is read only after the device has let go of its queues; meanwhile nothing can be written. */
START_TEST(test_reset_waits)
{
	fix_go();
	fix.fake.hold_stop = true;
	fix_set_status(0);
	/* Kicks are undone at once. */
	ck_assert_uint_eq(fix.n_binds, 0);
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
		usleep(500);
	}
	fix_set_status(0); /* impatience changes nothing */
	fix_set_status(S_ACK);
	fix_set_features(0);
	fix_select(1);
	fix_set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SELECT, 2), FAKE_QUEUES - 1);
	sem_post(&fix.fake.release);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix_status(), 0);
	ck_assert_uint_eq(fix.fake.stops, 1);
	fix_go();
	fix_check_serves(0);
	ck_assert_uint_eq(fix.fake.starts, 2);
}
END_TEST

/* What reset means (2.4): every register as at first. */
START_TEST(test_reset_state)
{
	fix_go();
	fix_reset();
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_DFSELECT, 4), 0);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_GFSELECT, 4), 0);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_GF, 4), 0);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SELECT, 2), 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		fix_select(i);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), FAKE_QUEUE_SIZE);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_DESCLO), 0);
		ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_AVAILLO), 0);
		ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_USEDLO), 0);
	}
	/* The vectors' messages are PCI's, not virtio's. */
	ck_assert_uint_eq(fix_config_read(fix.msix_cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE,
			  PCI_MSIX_FLAGS_ENABLE);
}
END_TEST

/* As before a jump into another kernel: whoever is no bus master touches no memory, and begins anew afterwards. */
START_TEST(test_no_bus_master)
{
	fix_go();
	fix_check_serves(0);
	fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(fix.n_binds, 0);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.stops, 1);
	ck_assert_uint_eq(fix_status(), 0);
	fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.starts, 1);
	fix_go();
	fix_check_serves(0);
}
END_TEST

/* 4.1.3.1: an access of another width than the field's changes nothing. */
START_TEST(test_foreign_widths)
{
	fix_negotiate(VERSION_1);
	fix_select(0);
	fix_set_address(VIRTIO_PCI_COMMON_Q_DESCLO, UINT64_C(0x1122334455667788));
	fix_set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 1, 0);
	fix_set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 2, 0);
	ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_DESCLO), UINT64_C(0x1122334455667788));
	fix_set_common(VIRTIO_PCI_COMMON_STATUS, 2, 0);
	fix_set_common(VIRTIO_PCI_COMMON_STATUS, 4, 0);
	ck_assert_uint_eq(fix_status(), S_FEATURES_OK);
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 4, 2);
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 1, 2);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), FAKE_QUEUE_SIZE);
}
END_TEST

START_TEST(test_reset_during_start)
{
	fix_prepare();
	fix.fake.hold_start = true;
	fix_set_status(S_DRIVER_OK);
	fix_set_status(0);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	fix_set_status(0);
	sem_post(&fix.fake.release);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix_status(), 0);
	ck_assert_uint_eq(fix.fake.starts, 1);
	ck_assert_uint_eq(fix.fake.stops, 1);
	ck_assert_uint_eq(fake_device_all_kicks(&fix.fake), 0);
	fix_go();
	fix_check_serves(1);
}
END_TEST

/* Without DRIVER_OK there is nobody to wait for. */
START_TEST(test_reset_before_driver_ok)
{
	static const uint8_t steps[] = {0, S_ACK, S_DRIVER, S_FEATURES_OK};

	for (size_t i = 0; i < sizeof(steps); i++) {
		fix_negotiate(VERSION_1);
		fix_set_status(0);
		fix_set_status(steps[i]);
		fix_set_status(0);
		ck_assert_uint_eq(fix_status(), 0);
	}
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.fake.starts + fix.fake.stops, 0);
}
END_TEST

START_TEST(test_many_resets)
{
	for (unsigned int i = 1; i <= 30; i++) {
		fix_prepare();
		fix_set_status(S_DRIVER_OK);
		if (i % 3 == 0)
			fix_check_serves(i % FAKE_QUEUES);
		if (i % 2 == 0)
			evloop_settle(&fix.loop);
		fix_reset();
		ck_assert_uint_eq(fix.fake.starts, i);
		ck_assert_uint_eq(fix.fake.stops, i);
		ck_assert_uint_eq(fix.n_binds, 0);
	}
}
END_TEST

/* The ring breaks while the device runs: it asks for a reset, and after that runs again (2.1.2). */
START_TEST(test_needs_reset)
{
	unsigned int kicks;

	fix_go();
	virtq_driver_set_avail_idx(&fix.drv[1], 500);
	fix_kick(1);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK | S_NEEDS_RESET);
	ck_assert_uint_eq(fix.signals[0], 1);
	ck_assert_uint_eq(read_isr(), VIRTIO_PCI_ISR_CONFIG);
	kicks = fake_device_all_kicks(&fix.fake);
	fix_send(0);
	fix_kick(0);
	ck_assert_uint_eq(fake_device_all_kicks(&fix.fake), kicks);
	ck_assert_uint_eq(fix.signals[0], 1);
	/* The driver cannot take the bit away but by a reset. */
	fix_set_status(S_DRIVER_OK);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK | S_NEEDS_RESET);
	fix_go();
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	ck_assert_uint_eq(fix.fake.stops, 1);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		fix_check_serves(i);
}
END_TEST

/* It breaks when the driver has begun its reset already: nobody is left to be told. */
static void break_it(struct fake_device *fake)
{
	virtio_device_broken(&fake->dev, "test");
}

START_TEST(test_needs_reset_during_reset)
{
	fix_prepare();
	fix.fake.hold_start = true;
	fix.fake.on_start = break_it;
	fix_set_status(S_DRIVER_OK);
	fix_set_status(0);
	sem_post(&fix.fake.release);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix_status(), 0);
	ck_assert_uint_eq(fix_all_signals(), 0);
	fix.fake.on_start = NULL;
	fix_go();
	fix_check_serves(0);
}
END_TEST

/* ---- device configuration ---- */

START_TEST(test_device_config)
{
	static const unsigned int widths[] = {1, 2, 4, 8};
	uint32_t base = fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset;
	char text[64] = FAKE_CONFIG;

	for (int w = 0; w < 4; w++) {
		for (uint32_t at = 0; at + widths[w] <= sizeof(text); at++) {
			uint64_t want = 0;

			memcpy(&want, text + at, widths[w]);
			ck_assert_uint_eq(fix_read(base + at, widths[w]), want);
			/* It is not the driver's to write. */
			fix_write(base + at, widths[w], UINT64_MAX);
			ck_assert_uint_eq(fix_read(base + at, widths[w]), want);
		}
		ck_assert_uint_eq(fix_read(base + 0xff8, widths[w]), 0);
	}
	fix.fake.dev.config_writable = 0xc;
	fix_write(base, 4, 0x44434241);
	ck_assert_uint_eq(fix_read(base, 1), (uint8_t)FAKE_CONFIG[0]);
	ck_assert_uint_eq(fix_read(base + 2, 2), 0x4443);
}
END_TEST

START_TEST(test_config_generation)
{
	uint64_t before = fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), after;

	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), before);
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	after = fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	ck_assert_uint_ne(after, before);
	fix_set_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1, before);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), after);
	ck_assert_uint_eq(fix_read(fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset, 1), 'T');
	/* A reset does not turn it back. */
	fix_reset();
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_CFGGENERATION, 1), after);
}
END_TEST

/* ---- the window of 4.1.4.9 ---- */

START_TEST(test_window)
{
	uint32_t config = fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset;

	fix.through_window = true;
	ck_assert_uint_eq(fix_read(config, 4), 'w' << 8 | 't' | 'e' << 16 | 'n' << 24);
	ck_assert_uint_eq(fix_read(config + 2, 2), 'e' | 'n' << 8);
	ck_assert_uint_eq(fix_read(config + 5, 1), 'y');
	/* The capability shows what was written into it. */
	ck_assert_uint_eq(
		fix_config_read(fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap + VIRTIO_PCI_CAP_OFFSET, 4),
		config + 5);
	ck_assert_uint_eq(
		fix_config_read(fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap + VIRTIO_PCI_CAP_LENGTH, 4),
		1);
	/* A read has the effect of a read: the ISR is cleared. */
	fix.through_window = false;
	fix_go();
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	fix.through_window = true;
	ck_assert_uint_eq(read_isr(), VIRTIO_PCI_ISR_CONFIG);
	ck_assert_uint_eq(read_isr(), 0);
	/* And the reverse: reading the capability's other bytes has none. */
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	fix_window(fix.place[VIRTIO_PCI_CAP_ISR_CFG].offset, 1);
	for (unsigned int i = 0; i < sizeof(struct virtio_pci_cap); i++)
		fix_config_read(fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap + i, 1);
	ck_assert_uint_eq(read_isr(), VIRTIO_PCI_ISR_CONFIG);
}
END_TEST

/* A kick through the window. */
START_TEST(test_window_kick)
{
	uint32_t offset;

	fix_go();
	offset = fix_notify_offset(2);
	fix_send(2);
	fix.through_window = true;
	fix_write(offset, 2, 2);
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[2]), 1);
}
END_TEST

/* Set up as it must not be, the window shows and touches nothing. */
static const struct {
	uint8_t bar;
	uint32_t offset, length;
	unsigned int width;
} bad_windows[] = {
	{1, 0x2000, 4, 4},	    /* another BAR */
	{255, 0x2000, 4, 4},	    /* none that exists */
	{0, BAR_SIZE, 4, 4},	    /* behind the BAR */
	{0, 0xfffffffc, 4, 4},	    /* far behind */
	{0, 0x2001, 4, 4},	    /* not aligned */
	{0, 0x2002, 4, 4},	    /* the same */
	{0, 0x2001, 2, 2},	    /* the same */
	{0, 0x2000, 0, 4},	    /* no length */
	{0, 0x2000, 3, 4},	    /* none that is allowed */
	{0, 0x2000, 8, 4},	    /* the same */
	{0, 0x2000, 0x80000004, 4}, /* the same */
	{0, 0x2000, 1, 4},	    /* another length than the access */
	{0, 0x2000, 4, 1},	    /* the same */
};

START_TEST(test_bad_window)
{
	unsigned int cap = fix.place[VIRTIO_PCI_CAP_PCI_CFG].cap;
	unsigned int data = cap + (unsigned int)sizeof(struct virtio_pci_cap);
	uint32_t isr = fix.place[VIRTIO_PCI_CAP_ISR_CFG].offset;

	ck_assert_uint_eq(fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset, 0x2000);
	ck_assert_uint_eq(fix_read(isr, 1), 0);
	fix_config_write(cap + VIRTIO_PCI_CAP_BAR, 1, bad_windows[_i].bar);
	fix_config_write(cap + VIRTIO_PCI_CAP_OFFSET, 4, bad_windows[_i].offset);
	fix_config_write(cap + VIRTIO_PCI_CAP_LENGTH, 4, bad_windows[_i].length);
	ck_assert_uint_eq(fix_config_read(data, bad_windows[_i].width), 0);
	fix_config_write(data, bad_windows[_i].width, 0x01010101);
	/* What was written there is there, and no more. */
	ck_assert_uint_eq(fix_config_read(data, bad_windows[_i].width),
			  0x01010101 & bus_ones(bad_windows[_i].width));
	ck_assert_uint_eq(fix_read(fix.place[VIRTIO_PCI_CAP_DEVICE_CFG].offset, 1), 't');
}
END_TEST

/* ---- hostile ---- */

static uint32_t random_state;

static uint32_t random32(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state ^ random_state >> 15;
}

/* After all of it the device can be reset and works. */
static void check_survived(void)
{
	fix.through_window = false;
	move_bar(WINDOW);
	fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	fix_go();
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		fix_check_serves(i);
}

/* Every offset at every width, read and written with some values, the device idle or live. */
START_TEST(test_sweep)
{
	static const uint64_t values[] = {
		0, 1, 0xff, UINT64_MAX, UINT64_C(0x8000000080000000), UINT64_C(0x0f0f0f0f0f0f0f0f)};
	static const unsigned int widths[] = {1, 2, 4, 8};

	if (_i & 1)
		fix_go();
	for (uint32_t offset = 0; offset < BAR_SIZE; offset++) {
		for (int w = 0; w < 4 && offset + widths[w] <= BAR_SIZE; w++) {
			fix_read(offset, widths[w]);
			/* All values where something is, one elsewhere. */
			if (offset % 0x1000 < 0x80)
				for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++)
					fix_write(offset, widths[w], values[v]);
			else
				fix_write(offset, widths[w], random32());
		}
	}
	check_survived();
}
END_TEST

/* The same for the configuration space, where the window and the BAR are moved about meanwhile. */
START_TEST(test_sweep_config)
{
	static const uint32_t values[] = {0, 1, 0xff, UINT32_MAX, 0xc0008000, 0x7};

	if (_i & 1)
		fix_go();
	for (unsigned int offset = 0; offset < PCI_CONFIG_SIZE; offset++) {
		for (unsigned int width = 1; width <= 4; width *= 2) {
			if (offset % 4 + width > 4)
				continue;
			for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
				fix_config_write(offset, width, values[v]);
				fix_config_read(offset, width);
			}
		}
	}
	check_survived();
	ck_assert_uint_eq(fix_config_read(PCI_VENDOR_ID, 2), 0x1af4);
}
END_TEST

/* One hostile access, mostly to where it matters. */
static void hostile_access(void)
{
	static const unsigned int widths[] = {1, 2, 4, 8};
	uint32_t random = random32(), offset = random32() % BAR_SIZE;
	unsigned int width = widths[random & 3];
	uint64_t value = (uint64_t)random32() << 32 | random32();

	if (random >> 2 & 3)
		offset = random32() % 64; /* the common configuration */
	if (random >> 4 & 1)
		offset &= ~(width - 1);
	if (random >> 5 & 1)
		value &= 0xf;
	if ((random >> 8 & 0xff) == 0) {
		fix_config_write(random32() % PCI_CONFIG_SIZE & ~3u, 4, random32());
		return;
	}
	if (fix.bar + offset + width > WINDOW + WINDOW_SIZE)
		return;
	if (random >> 6 & 1)
		fix_read(offset, width);
	else
		fix_write(offset, width, value);
}

static _Atomic bool attacking;

static void *change_config(void *arg)
{
	(void)arg;
	while (atomic_load(&attacking)) {
		virtio_device_config_set(&fix.fake.dev, 4, "text", 4);
		usleep(100);
	}
	return NULL;
}

/* Anything in any order, started from a device that works, while its backend changes the configuration. */
START_TEST(test_random)
{
	pthread_t thread;

	random_state = (uint32_t)_i;
	atomic_store(&attacking, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, change_config, NULL), 0);
	for (int round = 0; round < 5; round++) {
		fix_go();
		for (int i = 0; i < 3000; i++)
			hostile_access();
		move_bar(WINDOW);
		fix_config_write(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	}
	atomic_store(&attacking, false);
	pthread_join(thread, NULL);
	check_survived();
}
END_TEST

/* Two vCPUs at once: one resets and starts, the other pokes at everything but the status and the queues. */
static void *poke(void *arg)
{
	uint32_t seed = 1;

	(void)arg;
	while (atomic_load(&attacking)) {
		uint32_t offset = (seed = seed * 1664525 + 1013904223) >> 8 & 0x7fff;

		if (offset < 0x1000)
			pci_window_read(&fix.bus, offset, 4);
		else
			pci_window_write(&fix.bus, offset & ~3u, 4, seed);
	}
	return NULL;
}

START_TEST(test_two_vcpus)
{
	pthread_t thread;

	fix_prepare();
	atomic_store(&attacking, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, poke, NULL), 0);
	for (int i = 0; i < 50; i++) {
		fix_reset();
		fix_set_status(S_ACK);
		fix_set_status(S_DRIVER);
		fix_set_features(VERSION_1);
		fix_set_status(S_FEATURES_OK);
		for (unsigned int q = 0; q < FAKE_QUEUES; q++) {
			fix_place_queue(q, 16);
			fix_enable_queue(q);
		}
		fix_set_status(S_DRIVER_OK);
		fix_send(0);
		fix_kick(0);
		ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[0]), 1);
		ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	}
	atomic_store(&attacking, false);
	pthread_join(thread, NULL);
	check_survived();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/pci at work");
	TCase *tc = tcase_create("work"), *hostile = tcase_create("hostile");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_add_loop_test(tc, test_kick, 0, 2);
	tcase_add_test(tc, test_binds);
	tcase_add_test(tc, test_served_inline);
	tcase_add_test(tc, test_breaks_inline);
	tcase_add_test(tc, test_kick_widths);
	tcase_add_test(tc, test_kick_when_not_live);
	tcase_add_test(tc, test_rebind);
	tcase_add_test(tc, test_live_without_bar);
	tcase_add_test(tc, test_vectors);
	tcase_add_test(tc, test_shared_vector);
	tcase_add_test(tc, test_no_vector_and_isr);
	tcase_add_test(tc, test_masked);
	tcase_add_test(tc, test_interrupt_fd);
	tcase_add_test(tc, test_reset_waits);
	tcase_add_test(tc, test_reset_state);
	tcase_add_test(tc, test_no_bus_master);
	tcase_add_test(tc, test_foreign_widths);
	tcase_add_test(tc, test_reset_during_start);
	tcase_add_test(tc, test_reset_before_driver_ok);
	tcase_add_test(tc, test_many_resets);
	tcase_add_test(tc, test_needs_reset);
	tcase_add_test(tc, test_needs_reset_during_reset);
	tcase_add_test(tc, test_device_config);
	tcase_add_test(tc, test_config_generation);
	tcase_add_test(tc, test_window);
	tcase_add_test(tc, test_window_kick);
	tcase_add_loop_test(tc, test_bad_window, 0, sizeof(bad_windows) / sizeof(bad_windows[0]));
	tcase_set_timeout(hostile, 60);
	tcase_add_checked_fixture(hostile, fix_setup, fix_teardown);
	tcase_add_loop_test(hostile, test_sweep, 0, 2);
	tcase_add_loop_test(hostile, test_sweep_config, 0, 2);
	tcase_add_loop_test(hostile, test_random, 0, 8);
	tcase_add_test(hostile, test_two_vcpus);
	suite_add_tcase(s, tc);
	suite_add_tcase(s, hostile);
	return fix_run(s);
}
