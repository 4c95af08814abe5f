/* virtio/virtio_pci: a device at work: kicks, interrupts, a BAR that moves. */
#include "tests/unit/vpci_fixture.h"

#include <pthread.h>

/* ---- the BAR moves ---- */

static inline void move_bar(uint64_t to)
{
	fix_config_write(PCI_BASE_ADDRESS_0, 4, (uint32_t)to);
	fix.bar = to;
}

/* ---- interrupts ---- */

static inline uint8_t read_isr(void)
{
	return (uint8_t)fix_read(fix.place[VIRTIO_PCI_CAP_ISR_CFG].offset, 1);
}

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

static void start_polling(void)
{
	fix_negotiate(VERSION_1);
	fix_set_status(S_DRIVER_OK);
}

/* What changed before DRIVER_OK, or while there was no driver, is told after it, once: the driver may know what was before. */
START_TEST(test_config_changed_before)
{
	start_polling();
	ck_assert_uint_eq(read_isr(), 0);
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	ck_assert_uint_eq(read_isr(), VIRTIO_PCI_ISR_CONFIG);
	fix_reset();
	start_polling();
	ck_assert_uint_eq(read_isr(), 0);
	fix_reset();
	virtio_device_config_set(&fix.fake.dev, 0, "t", 1);
	fix_reset();
	fix_negotiate(VERSION_1);
	virtio_device_config_set(&fix.fake.dev, 0, "T", 1);
	ck_assert_uint_eq(read_isr(), 0);
	fix_set_status(S_DRIVER_OK);
	ck_assert_uint_eq(read_isr(), VIRTIO_PCI_ISR_CONFIG);
	fix_reset();
	start_polling();
	ck_assert_uint_eq(read_isr(), 0);
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

static unsigned int serve_by(unsigned int queue, unsigned int vector)
{
	unsigned int before = atomic_load(&fix.signals[vector]);

	fix_send(queue);
	fix_kick(queue);
	return atomic_load(&fix.signals[vector]) - before;
}

/* 4.1.5.1.2.1: while the device runs, a driver takes its vectors away and gives others; who holds a queue's eventfd hears of it. */
START_TEST(test_vectors_change)
{
	struct virtio_device *dev = &fix.fake.dev;
	unsigned int moves;

	fix_go();
	ck_assert_uint_eq(serve_by(1, 2), 1);
	moves = fix.fake.moves[1];
	fix_select(1);
	fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, VIRTIO_MSI_NO_VECTOR);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	ck_assert_uint_eq(fix.fake.moves[1], moves + 1);
	ck_assert_int_eq(virtio_device_interrupt_fd(dev, 1), -1);
	ck_assert_uint_eq(serve_by(1, 2), 0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv[1]), 2);
	fix_select(1);
	fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1); /* with queue 0 */
	ck_assert_uint_eq(fix.fake.moves[1], moves + 2);
	ck_assert_int_eq(virtio_device_interrupt_fd(dev, 1), FIX_FD + 1);
	ck_assert_uint_eq(serve_by(1, 1), 1);
	ck_assert_uint_eq(serve_by(0, 1), 1);
	fix_set_common(VIRTIO_PCI_COMMON_MSIX, 2, VIRTIO_MSI_NO_VECTOR);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	virtio_device_config_set(dev, 0, "T", 1);
	ck_assert_uint_eq(fix.signals[0], 0);
	fix_set_common(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	virtio_device_config_set(dev, 0, "t", 1);
	ck_assert_uint_eq(fix.signals[0], 1);
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

int main(void)
{
	Suite *s = suite_create("virtio/pci at work");
	TCase *tc = tcase_create("work");

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
	tcase_add_test(tc, test_config_changed_before);
	tcase_add_test(tc, test_vectors_change);
	tcase_add_test(tc, test_masked);
	tcase_add_test(tc, test_interrupt_fd);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
