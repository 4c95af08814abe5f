/* virtio/virtio_device: devices that are broken, and the configuration space. */
#include "tests/unit/virtio_device_fixture.h"

/* ---- broken ---- */

/* One bad ring: no queue is served any more, the driver is told once, and a reset heals it. */
START_TEST(test_broken)
{
	start(7);
	virtq_driver_set_avail_idx(&drv[0], 1000);
	send(1);
	virtio_device_rekick(&fake.dev, 0);
	evloop_settle(&loop);
	ck_assert_uint_eq(transport.needs_resets, 1);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		virtio_device_rekick(&fake.dev, i);
	evloop_settle(&loop);
	ck_assert_uint_eq(fake.kicks[0], 2);
	ck_assert_uint_eq(fake.kicks[1], 1);
	ck_assert_uint_eq(fake.kicks[2], 1);
	ck_assert_uint_eq(transport.needs_resets, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), 0);
	stop();
	ck_assert_uint_eq(fake.stops, 1);
	start(7);
	send(0);
	virtio_device_rekick(&fake.dev, 0);
	evloop_settle(&loop);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 1);
}
END_TEST

static void break_it(struct fake_device *dev)
{
	virtio_device_broken(&dev->dev, "at once");
	virtio_device_broken(&dev->dev, "and again");
}

static void break_it_by_kick(struct fake_device *dev, unsigned int queue)
{
	(void)queue;
	break_it(dev);
}

/* Broken in its start already: no queue is ever served. */
START_TEST(test_broken_in_start)
{
	fake.on_start = break_it;
	start(7);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		virtio_device_rekick(&fake.dev, i);
	evloop_settle(&loop);
	ck_assert_uint_eq(fake_device_all_kicks(&fake), 0);
	ck_assert_uint_eq(transport.needs_resets, 1);
	stop();
	ck_assert_uint_eq(transport.stops, 1);
}
END_TEST

/* All three queues are ready in one batch; the first to be served breaks the device, so the others are not. */
START_TEST(test_broken_in_batch)
{
	fake.on_kick = break_it_by_kick;
	start(7);
	ck_assert_uint_eq(fake_device_all_kicks(&fake), 1);
	ck_assert_uint_eq(transport.needs_resets, 1);
}
END_TEST

/* The host cannot watch a queue: the device asks for a reset instead of hanging silently. */
START_TEST(test_unwatchable)
{
	make_queues(7);
	close(fake.dev.kick_fd[1]);
	virtio_device_start(&fake.dev);
	evloop_settle(&loop);
	ck_assert_uint_eq(transport.needs_resets, 1);
	ck_assert_uint_eq(fake_device_all_kicks(&fake), 0);
	stop();
	ck_assert_uint_eq(transport.stops, 1);
	ck_assert_int_eq(dup2(fake.dev.kick_fd[0], fake.dev.kick_fd[1]), fake.dev.kick_fd[1]);
}
END_TEST

/* ---- configuration ---- */

START_TEST(test_config_get)
{
	char got[FAKE_CONFIG_LEN + 8];

	for (size_t offset = 0; offset < VIRTIO_MAX_CONFIG; offset++) {
		for (size_t len = 0; len <= sizeof(got); len++) {
			memset(got, 0x77, sizeof(got));
			virtio_device_config_get(&fake.dev, offset, got, len);
			for (size_t i = 0; i < sizeof(got); i++) {
				char want = 0x77;

				if (i < len)
					want = offset + i < FAKE_CONFIG_LEN
						       ? FAKE_CONFIG[offset + i]
						       : 0;
				if (got[i] != want)
					ck_abort_msg("%zu bytes at %zu: %zu", len, offset, i);
			}
		}
	}
	virtio_device_config_get(&fake.dev, SIZE_MAX, got, 8);
	ck_assert_mem_eq(got, "\0\0\0\0\0\0\0\0", 8);
}
END_TEST

START_TEST(test_config_set)
{
	uint32_t before, after;
	char got[6];

	before = virtio_device_config_get(&fake.dev, 0, got, 6);
	ck_assert_uint_eq(virtio_device_config_get(&fake.dev, 0, got, 6), before);
	virtio_device_config_set(&fake.dev, 0, "twelve", 6);
	after = virtio_device_config_get(&fake.dev, 0, got, 6);
	ck_assert_uint_ne(after, before);
	ck_assert_mem_eq(got, "twelve", 6);
	ck_assert_uint_eq(transport.config_changes, 1);
	virtio_device_config_set(&fake.dev, FAKE_CONFIG_LEN - 1, "!", 1);
	virtio_device_config_get(&fake.dev, FAKE_CONFIG_LEN - 1, got, 2);
	ck_assert_mem_eq(got, "!\0", 2);
	/* Before a transport is there, nobody is told. */
	fake.dev.transport.config_changed = NULL;
	virtio_device_config_set(&fake.dev, 0, "T", 1);
	ck_assert_uint_eq(transport.config_changes, 2);
}
END_TEST

/* The driver reaches the bytes that are its own, and no others. */
START_TEST(test_config_write)
{
	static const unsigned int widths[] = {1, 2, 4, 8};
	unsigned int width = widths[_i];
	char got[FAKE_CONFIG_LEN];

	fake.dev.config_writable = 0xf0 | UINT64_C(3) << (FAKE_CONFIG_LEN - 1);
	for (size_t offset = 0; offset < VIRTIO_MAX_CONFIG + 8; offset++) {
		memcpy(fake.dev.config, FAKE_CONFIG, FAKE_CONFIG_LEN);
		virtio_device_config_write(&fake.dev, offset, width, UINT64_C(0x8786858483828180));
		virtio_device_config_get(&fake.dev, 0, got, sizeof(got));
		for (size_t i = 0; i < sizeof(got); i++) {
			bool own = (i >= 4 && i < 8) || i == FAKE_CONFIG_LEN - 1;
			char want = FAKE_CONFIG[i];

			if (own && i >= offset && i < offset + width)
				want = (char)(0x80 + (i - offset));
			if (got[i] != want)
				ck_abort_msg("%u bytes at %zu: %zu", width, offset, i);
		}
	}
	virtio_device_config_write(&fake.dev, SIZE_MAX, width, UINT64_MAX);
	ck_assert_uint_eq(fake.dev.config[FAKE_CONFIG_LEN], 0);
	ck_assert_uint_eq(transport.config_changes, 0);
}
END_TEST

#define N_SETS 5000

static void *set_many(void *arg)
{
	char text[8];

	(void)arg;
	for (int i = 0; i < N_SETS; i++) {
		memset(text, 'a' + i % 26, sizeof(text));
		virtio_device_config_set(&fake.dev, 4, text, sizeof(text));
	}
	return NULL;
}

/* Read byte by byte between two equal generations, the bytes belong together (4.1.4.3.1). */
START_TEST(test_config_generation)
{
	unsigned int torn = 0, whole = 0;
	pthread_t thread;

	virtio_device_config_set(&fake.dev, 4, "aaaaaaaa", 8);
	ck_assert_int_eq(pthread_create(&thread, NULL, set_many, NULL), 0);
	while (transport.config_changes < N_SETS + 1) {
		uint32_t before, after;
		char text[8], more[8];

		before = virtio_device_config_get(&fake.dev, 4, text, 4);
		virtio_device_config_get(&fake.dev, 8, text + 4, 4);
		after = virtio_device_config_get(&fake.dev, 4, more, 8);
		if (after != before)
			continue;
		whole++;
		for (int i = 1; i < 8; i++)
			torn += text[i] != text[0] || more[i] != text[0];
	}
	pthread_join(thread, NULL);
	ck_assert_uint_eq(torn, 0);
	(void)whole;
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("virtio/device, broken and configured");
	TCase *tc = tcase_create("device");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_broken);
	tcase_add_test(tc, test_broken_in_start);
	tcase_add_test(tc, test_broken_in_batch);
	tcase_add_test(tc, test_unwatchable);
	tcase_add_test(tc, test_config_get);
	tcase_add_test(tc, test_config_set);
	tcase_add_loop_test(tc, test_config_write, 0, 4);
	tcase_add_test(tc, test_config_generation);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
