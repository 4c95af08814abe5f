/* virtio/virtio_pci: resets that wait, and a device that needs one. */
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

/* ---- resets ---- */

/* A driver that does not look whether its reset is complete. */
static void *go_on(void *written)
{
	fix_set_status(S_ACK);
	atomic_store((_Atomic bool *)written, true);
	fix_select(1);
	return NULL;
}

/* Status 0 is read only after the device has let go of its queues; what is written meanwhile waits. */
START_TEST(test_reset_waits)
{
	_Atomic bool written = false;
	pthread_t driver;

	fix_go();
	fix.fake.hold_stop = true;
	fix_set_status(0);
	/* Kicks are undone at once. */
	ck_assert_uint_eq(fix.n_binds, 0);
	fix_set_status(0); /* impatience changes nothing */
	ck_assert_int_eq(pthread_create(&driver, NULL, go_on, &written), 0);
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
		usleep(500);
	}
	ck_assert(!atomic_load(&written));
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SELECT, 2), FAKE_QUEUES - 1);
	sem_post(&fix.fake.release);
	pthread_join(driver, NULL);
	ck_assert_uint_eq(fix_status(), S_ACK);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SELECT, 2), 1);
	fix_set_status(0);
	ck_assert_uint_eq(fix_status(), 0);
	ck_assert_uint_eq(fix.fake.stops, 1);
	fix_go();
	fix_check_serves(0);
	ck_assert_uint_eq(fix.fake.starts, 2);
}
END_TEST

/* The same by the window in configuration space, whose data is there. */
static void *go_on_by_window(void *arg)
{
	unsigned int data = *(unsigned int *)arg;

	fix_config_write(data, 1, S_ACK);
	return NULL;
}

/* A write through the window of 4.1.4.9 waits as well, and with it nobody else who uses the bus. */
START_TEST(test_reset_waits_window)
{
	uint32_t status = fix.place[VIRTIO_PCI_CAP_COMMON_CFG].offset + VIRTIO_PCI_COMMON_STATUS;
	unsigned int data;
	pthread_t driver;

	fix_go();
	fix.fake.hold_stop = true;
	fix_set_status(0);
	data = fix_window(status, 1);
	ck_assert_int_eq(pthread_create(&driver, NULL, go_on_by_window, &data), 0);
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
		ck_assert_uint_eq(pci_port_read(&fix.bus, 0, 4) >> 31, 1);
		usleep(500);
	}
	sem_post(&fix.fake.release);
	pthread_join(driver, NULL);
	ck_assert_uint_eq(fix_status(), S_ACK);
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

int main(void)
{
	Suite *s = suite_create("virtio/pci, resets");
	TCase *tc = tcase_create("work");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_add_test(tc, test_reset_waits);
	tcase_add_test(tc, test_reset_waits_window);
	tcase_add_test(tc, test_reset_state);
	tcase_add_test(tc, test_no_bus_master);
	tcase_add_test(tc, test_foreign_widths);
	tcase_add_test(tc, test_reset_during_start);
	tcase_add_test(tc, test_reset_before_driver_ok);
	tcase_add_test(tc, test_many_resets);
	tcase_add_test(tc, test_needs_reset);
	tcase_add_test(tc, test_needs_reset_during_reset);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
