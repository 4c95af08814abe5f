/* virtio/virtio_pci: the registers of the queues, and rings that cannot be. */
#include "tests/unit/vpci_fixture.h"

/* ---- queue registers ---- */

START_TEST(test_queue_registers)
{
	fix_negotiate(VERSION_1);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		fix_select(i);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SELECT, 2), i);
		fix_set_address(VIRTIO_PCI_COMMON_Q_DESCLO, UINT64_C(0x123456789abcdef0) + i);
		fix_set_address(VIRTIO_PCI_COMMON_Q_AVAILLO, UINT64_C(0x23456789abcdef01) + i);
		fix_set_address(VIRTIO_PCI_COMMON_Q_USEDLO, UINT64_C(0x3456789abcdef012) + i);
		fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 2 << i);
	}
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		fix_select(i);
		ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_DESCLO),
				  UINT64_C(0x123456789abcdef0) + i);
		ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_AVAILLO),
				  UINT64_C(0x23456789abcdef01) + i);
		ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_USEDLO),
				  UINT64_C(0x3456789abcdef012) + i);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 2u << i);
	}
	/* 64 bits at once, as 4.1.3.1 does not ask for but drivers do. */
	fix_select(1);
	fix_set_common(VIRTIO_PCI_COMMON_Q_DESCLO, 8, UINT64_C(0xfedcba9876543210));
	ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_DESCLO), UINT64_C(0xfedcba9876543210));
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_DESCLO, 8), UINT64_C(0xfedcba9876543210));
	fix_reset();
	fix_select(1);
	ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_DESCLO), 0);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), FAKE_QUEUE_SIZE);
}
END_TEST

START_TEST(test_queue_size)
{
	fix_negotiate(VERSION_1);
	fix_select(0);
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, FAKE_QUEUE_SIZE + 1);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), FAKE_QUEUE_SIZE);
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 0xffff);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), FAKE_QUEUE_SIZE);
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 1);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 1);
	for (uint16_t size = 2; size < FAKE_QUEUE_SIZE; size++) {
		bool power = (size & (size - 1)) == 0;

		fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 1);
		fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, size);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), power ? size : 1);
	}
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 0);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), 0);
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, FAKE_QUEUE_SIZE);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), FAKE_QUEUE_SIZE);
}
END_TEST

/* 4.1.4.3.1: a queue that is not there has size 0 and takes nothing. */
START_TEST(test_queue_select_out_of_range)
{
	static const uint16_t queues[] = {FAKE_QUEUES, VIRTIO_MAX_QUEUES, 255, 0x8000, 0xffff};

	fix_prepare();
	for (size_t i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		fix_select(queues[i]);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SELECT, 2), queues[i]);
		for (uint32_t reg = VIRTIO_PCI_COMMON_Q_SIZE; reg < 56; reg += 2)
			fix_set_common(reg, 2, 1);
		for (uint32_t reg = VIRTIO_PCI_COMMON_Q_SIZE; reg < 56; reg += 2)
			ck_assert_uint_eq(fix_common(reg, 2), reg == VIRTIO_PCI_COMMON_Q_MSIX
								      ? VIRTIO_MSI_NO_VECTOR
								      : 0);
	}
	fix_set_status(S_DRIVER_OK);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		fix_check_serves(i);
}
END_TEST

/* Tries to change everything about queue 0. */
static void spoil_queue(void)
{
	fix_select(0);
	for (uint32_t reg = VIRTIO_PCI_COMMON_Q_DESCLO; reg <= VIRTIO_PCI_COMMON_Q_USEDHI; reg += 4)
		fix_set_common(reg, 4, 0xfffffff0);
	fix_set_common(VIRTIO_PCI_COMMON_Q_SIZE, 2, 2);
	fix_set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
}

static void check_queue_unspoilt(void)
{
	const struct virtq_config *config = &fix.drv[0].config;

	fix_select(0);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_SIZE, 2), config->size);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
	ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_DESCLO), config->desc);
	ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_AVAILLO), config->avail);
	ck_assert_uint_eq(fix_address(VIRTIO_PCI_COMMON_Q_USEDLO), config->used);
}

START_TEST(test_queue_locked)
{
	fix_prepare();
	spoil_queue();
	check_queue_unspoilt();
	fix_set_status(S_DRIVER_OK);
	spoil_queue();
	check_queue_unspoilt();
	fix_check_serves(0);
}
END_TEST

/* Drivers of Windows and NetBSD enable a queue first and choose its vector then. */
START_TEST(test_vector_after_enable)
{
	fix_negotiate(VERSION_1);
	fix_enable_msix();
	fix_place_queue(0, 16);
	fix_enable_queue(0);
	fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, VIRTIO_MSI_NO_VECTOR);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), 1);
	fix_set_status(S_DRIVER_OK);
	fix_check_serves(0);
	ck_assert_uint_gt(fix.signals[1], 0);
}
END_TEST

/* A queue left out is left out until the next reset. */
START_TEST(test_queue_enabled_too_late)
{
	fix_negotiate(VERSION_1);
	fix_enable_msix();
	fix_place_queue(0, 16);
	fix_place_queue(1, 16);
	fix_enable_queue(0);
	fix_set_status(S_DRIVER_OK);
	fix_enable_queue(1);
	ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	fix_check_serves(0);
	fix_send(1);
	fix_kick(1);
	ck_assert_uint_eq(fix.fake.kicks[1], 0);
	ck_assert_uint_eq(fix.n_binds, 1);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
}
END_TEST

/* 4.1.4.3.2: only 1 is a value to write. */
START_TEST(test_queue_enable_values)
{
	static const uint16_t values[] = {0, 2, 3, 0x100, 0x8001, 0xffff};

	fix_negotiate(VERSION_1);
	fix_select(0);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		fix_set_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2, values[i]);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	}
}
END_TEST

/* 4.1.5.1.2.1: a vector that is not there reads back as none. */
START_TEST(test_vectors)
{
	static const uint16_t bad[] = {N_VECTORS, N_VECTORS + 1, MSIX_MAX_VECTORS,
				       0x7ff,	  0xfffe,	 VIRTIO_MSI_NO_VECTOR};

	fix_negotiate(VERSION_1);
	fix_select(2);
	for (uint16_t v = 0; v < N_VECTORS; v++) {
		fix_set_common(VIRTIO_PCI_COMMON_MSIX, 2, v);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_MSIX, 2), v);
		fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, v);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), v);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		fix_set_common(VIRTIO_PCI_COMMON_MSIX, 2, 1);
		fix_set_common(VIRTIO_PCI_COMMON_MSIX, 2, bad[i]);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
		fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
		fix_set_common(VIRTIO_PCI_COMMON_Q_MSIX, 2, bad[i]);
		ck_assert_uint_eq(fix_common(VIRTIO_PCI_COMMON_Q_MSIX, 2), VIRTIO_MSI_NO_VECTOR);
	}
}
END_TEST

/* ---- rings that cannot be ---- */

static const struct {
	uint32_t reg;
	uint64_t value;
} bad_rings[] = {
	{VIRTIO_PCI_COMMON_Q_DESCLO, 0x100008},		 /* not a multiple of 16 */
	{VIRTIO_PCI_COMMON_Q_AVAILLO, 0x100001},	 /* not of 2 */
	{VIRTIO_PCI_COMMON_Q_USEDLO, 0x100002},		 /* not of 4 */
	{VIRTIO_PCI_COMMON_Q_DESCLO, RAM_SIZE},		 /* behind RAM */
	{VIRTIO_PCI_COMMON_Q_DESCLO, RAM_SIZE - 16},	 /* over its end */
	{VIRTIO_PCI_COMMON_Q_AVAILLO, RAM_SIZE - 2},	 /* the same */
	{VIRTIO_PCI_COMMON_Q_USEDLO, RAM_SIZE - 4},	 /* the same */
	{VIRTIO_PCI_COMMON_Q_DESCLO, UINT64_MAX - 15},	 /* over the end of the space */
	{VIRTIO_PCI_COMMON_Q_AVAILLO, UINT64_MAX - 1},	 /* the same */
	{VIRTIO_PCI_COMMON_Q_USEDLO, UINT64_MAX - 3},	 /* the same */
	{VIRTIO_PCI_COMMON_Q_DESCLO, WINDOW},		 /* a device's registers */
	{VIRTIO_PCI_COMMON_Q_USEDLO, UINT64_C(1) << 32}, /* the high half counts */
	{VIRTIO_PCI_COMMON_Q_SIZE, 0},			 /* a queue of nothing */
};

/* The device asks for a reset, tells so by its interrupt, and all of it lives. */
START_TEST(test_bad_ring)
{
	fix_negotiate(VERSION_1);
	fix_enable_msix();
	fix_set_common(VIRTIO_PCI_COMMON_MSIX, 2, 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		fix_place_queue(i, 16);
	fix_select(1);
	if (bad_rings[_i].reg == VIRTIO_PCI_COMMON_Q_SIZE)
		fix_set_common(bad_rings[_i].reg, 2, bad_rings[_i].value);
	else
		fix_set_address(bad_rings[_i].reg, bad_rings[_i].value);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		fix_enable_queue(i);
	fix_set_status(S_DRIVER_OK);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK | S_NEEDS_RESET);
	ck_assert_uint_eq(fix.signals[0], 1);
	ck_assert_uint_eq(fix_read(fix.place[VIRTIO_PCI_CAP_ISR_CFG].offset, 1),
			  VIRTIO_PCI_ISR_CONFIG);
	/* Nothing runs. */
	fix_kick(0);
	ck_assert_uint_eq(fix.fake.starts + fix_all_signals(), 1);
	ck_assert_uint_eq(fix.n_binds, 0);
	fix_set_status(S_DRIVER_OK);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK | S_NEEDS_RESET);
	/* The next attempt is like any other. */
	fix_go();
	ck_assert_uint_eq(fix.fake.stops, 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		fix_check_serves(i);
}
END_TEST

/* The address of a queue that is not enabled may be anything. */
START_TEST(test_bad_ring_not_enabled)
{
	fix_negotiate(VERSION_1);
	fix_enable_msix();
	fix_place_queue(0, 16);
	fix_select(1);
	fix_set_address(VIRTIO_PCI_COMMON_Q_DESCLO, UINT64_MAX);
	fix_enable_queue(0);
	fix_set_status(S_DRIVER_OK);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
	fix_check_serves(0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/pci, queues");
	TCase *tc = tcase_create("registers");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_add_test(tc, test_queue_registers);
	tcase_add_test(tc, test_queue_size);
	tcase_add_test(tc, test_queue_select_out_of_range);
	tcase_add_test(tc, test_queue_locked);
	tcase_add_test(tc, test_vector_after_enable);
	tcase_add_test(tc, test_queue_enabled_too_late);
	tcase_add_test(tc, test_queue_enable_values);
	tcase_add_test(tc, test_vectors);
	tcase_add_loop_test(tc, test_bad_ring, 0, sizeof(bad_rings) / sizeof(bad_rings[0]));
	tcase_add_test(tc, test_bad_ring_not_enabled);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
