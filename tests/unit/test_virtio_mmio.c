/* virtio/virtio_mmio: the registers of 4.2.2. */
#include "tests/unit/vmmio_fixture.h"

/* ---- registers ---- */

static const struct {
	uint32_t reg, value;
} fresh[] = {
	{0x000, 0x74726976},
	{0x004, 2},
	{0x008, FAKE_ID},
	{0x00c, 0x1af4},
	{0x010, (uint32_t)OFFERED},
	{0x034, FAKE_QUEUE_SIZE},
	{0x044, 0},
	{0x060, 0},
	{0x070, 0},
	{0x0b0, UINT32_MAX}, /* 4.2.2: no such shared memory region */
	{0x0b4, UINT32_MAX},
	{0x0b8, UINT32_MAX},
	{0x0bc, UINT32_MAX},
	{0x0fc, 0},
};

static void check_fresh(void)
{
	for (uint32_t reg = 0; reg < 0x100; reg += 4) {
		uint32_t want = 0; /* write-only, or nothing */

		for (unsigned int i = 0; i < sizeof(fresh) / sizeof(fresh[0]); i++) {
			if (fresh[i].reg == reg)
				want = fresh[i].value;
		}
		ck_assert_msg(get(reg) == want, "register 0x%x is 0x%x", reg, get(reg));
	}
}

START_TEST(test_fresh)
{
	check_fresh();
}
END_TEST

/* 4.2.2.2: 32 bits wide and aligned, nothing else. */
START_TEST(test_widths)
{
	static const unsigned int widths[] = {1, 2, 8};

	for (unsigned int i = 0; i < 3; i++) {
		for (uint64_t reg = 0; reg + widths[i] <= 0x100; reg++) {
			ck_assert_uint_eq(virtio_mmio_read(&vmmio, reg, widths[i]), 0);
			virtio_mmio_write(&vmmio, reg, widths[i], 1);
		}
	}
	for (uint64_t reg = 0; reg < 0xfc; reg++) {
		if (reg % 4 == 0)
			continue;
		ck_assert_uint_eq(virtio_mmio_read(&vmmio, reg, 4), 0);
		virtio_mmio_write(&vmmio, reg, 4, 1);
	}
	evloop_settle(&loop);
	ck_assert_uint_eq(fake_device_all_kicks(&fake), 0);
	check_fresh();
}
END_TEST

START_TEST(test_config_space)
{
	const char *want = FAKE_CONFIG;
	uint64_t wide;

	for (unsigned int i = 0; i < FAKE_CONFIG_LEN; i++)
		ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0x100 + i, 1), (uint8_t)want[i]);
	memcpy(&wide, want + 8, 8);
	ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0x108, 8), wide);
	ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0x100 + FAKE_CONFIG_LEN, 2), 0);
	ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0xffc, 4), 0);
	virtio_mmio_write(&vmmio, 0x100, 1, 'x'); /* not the driver's */
	ck_assert_uint_eq(virtio_mmio_read(&vmmio, 0x100, 1), (uint8_t)want[0]);
	virtio_device_config_set(&fake.dev, 0, "T", 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_CONFIG_GENERATION), 1);
	ck_assert_uint_eq(atomic_load(&edges), 0); /* nobody listens yet */
}
END_TEST

START_TEST(test_features)
{
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_FEATURES), (uint32_t)(OFFERED >> 32));
	set(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	ck_assert_uint_eq(get(VIRTIO_MMIO_DEVICE_FEATURES), 0);
	set(VIRTIO_MMIO_STATUS, S_DRIVER);
	set_features(VERSION_1 | 1); /* 1 is not offered */
	set(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER);
	set_features(0); /* 6.1: VERSION_1 must be there */
	set(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER);
	set_features(VERSION_1);
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK & ~VIRTIO_CONFIG_S_FEATURES_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER);
	set(VIRTIO_MMIO_STATUS, S_FEATURES_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_FEATURES_OK);
	set_features(VERSION_1 | UINT64_C(1) << 41); /* too late */
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	evloop_settle(&loop);
	ck_assert_uint_eq(atomic_load(&fake.negotiated), VERSION_1);
}
END_TEST

START_TEST(test_queue_registers)
{
	prepare();
	ck_assert_uint_eq(n_bound(), 0);
	set(VIRTIO_MMIO_QUEUE_SEL, 0);
	set(VIRTIO_MMIO_QUEUE_DESC_LOW, 0x1000); /* it is ready: holds still */
	set(VIRTIO_MMIO_QUEUE_READY, 2);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	set(VIRTIO_MMIO_QUEUE_READY, 0); /* Linux takes queues back like this */
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
	set(VIRTIO_MMIO_QUEUE_NUM, FAKE_QUEUE_SIZE + 1); /* refused: 16 stays */
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	set(VIRTIO_MMIO_QUEUE_SEL, FAKE_QUEUES);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
	set(VIRTIO_MMIO_QUEUE_SEL, UINT32_C(0x10000)); /* 32 bits of it count */
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_NUM_MAX), 0);
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	evloop_settle(&loop);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
	ck_assert_uint_eq(fake.dev.queue[0].size, 16);
	set(VIRTIO_MMIO_QUEUE_SEL, 0);
	set(VIRTIO_MMIO_QUEUE_READY, 2);
	set(VIRTIO_MMIO_QUEUE_NUM, 8);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	ck_assert_uint_eq(vmmio.regs.state.queue[0].size, 16);
	ck_assert_uint_eq(vmmio.regs.state.queue[0].desc, drv[0].config.desc);
	send_request(0);
	kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 1);
}
END_TEST

static const struct {
	uint32_t reg, value;
} bad_queues[] = {
	{VIRTIO_MMIO_QUEUE_NUM, 15},
	{VIRTIO_MMIO_QUEUE_NUM, 0},
	{VIRTIO_MMIO_QUEUE_DESC_LOW, 8},
	{VIRTIO_MMIO_QUEUE_DESC_HIGH, 1},
	{VIRTIO_MMIO_QUEUE_AVAIL_LOW, 1},
	{VIRTIO_MMIO_QUEUE_AVAIL_HIGH, UINT32_MAX},
	{VIRTIO_MMIO_QUEUE_USED_LOW, 2},
	{VIRTIO_MMIO_QUEUE_USED_HIGH, 1},
	{VIRTIO_MMIO_QUEUE_USED_LOW, 0x3fffc0},
};

/* The device asks for a reset, and works after it. */
START_TEST(test_bad_queue)
{
	prepare();
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	set(bad_queues[_i].reg, bad_queues[_i].value);
	set(VIRTIO_MMIO_QUEUE_READY, 1);
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	evloop_settle(&loop);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	ck_assert(atomic_load(&line));
	ck_assert_uint_eq(atomic_load(&fake.starts), 0);
	ck_assert_uint_eq(n_bound(), 0);
	go();
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	ck_assert(!atomic_load(&line));
	ck_assert_uint_eq(atomic_load(&fake.starts), 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio/virtio_mmio");
	TCase *tc = tcase_create("virtio_mmio");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_fresh);
	tcase_add_test(tc, test_widths);
	tcase_add_test(tc, test_config_space);
	tcase_add_test(tc, test_features);
	tcase_add_test(tc, test_queue_registers);
	tcase_add_loop_test(tc, test_bad_queue, 0, sizeof(bad_queues) / sizeof(bad_queues[0]));
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
