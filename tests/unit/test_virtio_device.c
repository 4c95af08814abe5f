/* virtio/virtio_device: what a transport and a device may expect of one another, without any transport's registers. */
#include "tests/unit/virtio_device_fixture.h"

/* ---- init ---- */

START_TEST(test_init)
{
	ck_assert_uint_eq(fake.dev.features, FAKE_FEATURES | UINT64_C(1) << VIRTIO_F_VERSION_1 |
						     UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX |
						     UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		ck_assert_int_ge(fake.dev.kick_fd[i], 0);
		for (unsigned int k = 0; k < i; k++)
			ck_assert_int_ne(fake.dev.kick_fd[i], fake.dev.kick_fd[k]);
	}
	evloop_settle(&loop);
	ck_assert_uint_eq(fake.starts + fake.stops + fake_device_all_kicks(&fake), 0);
}
END_TEST

/* The process may open that many more descriptors; after the failure as many as before. */
START_TEST(test_init_without_descriptors)
{
	struct fake_device other;
	struct rlimit limit;
	int lowest = dup(0);

	close(lowest);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)lowest + (rlim_t)_i;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(fake_device_init(&other, &loop), -EMFILE);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(dup(0), lowest);
	close(lowest);
	sem_destroy(&other.release);
}
END_TEST

/* ---- start and stop ---- */

/* Each enabled queue is kicked once after the start, those that are not never. */
START_TEST(test_start)
{
	start((unsigned int)_i);
	ck_assert_uint_eq(fake.starts, 1);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		ck_assert_uint_eq(fake.kicks[i], (unsigned int)_i >> i & 1);
	stop();
	ck_assert_uint_eq(fake.stops, 1);
	ck_assert_uint_eq(transport.stops, 1);
	/* The device let go of its queues before the transport was told. */
	ck_assert_uint_eq(transport.stops_of_device, 1);
}
END_TEST

/* Requests that were there before anybody listened are served. */
START_TEST(test_kick_before_start)
{
	make_queues(7);
	send(1);
	virtio_device_rekick(&fake.dev, 1);
	virtio_device_start(&fake.dev);
	evloop_settle(&loop);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), 1);
	ck_assert_uint_eq(transport.interrupts[1], 1);
	/* Both kicks were one, as they came before the queue was looked at. */
	ck_assert_uint_eq(fake.kicks[1], 1);
}
END_TEST

START_TEST(test_stop_without_start)
{
	stop();
	ck_assert_uint_eq(fake.stops, 0);
	ck_assert_uint_eq(transport.stops, 1);
}
END_TEST

START_TEST(test_stop_during_start)
{
	make_queues(7);
	fake.hold_start = true;
	virtio_device_start(&fake.dev);
	virtio_device_stop(&fake.dev);
	usleep(5000);
	ck_assert_uint_eq(transport.stops, 0);
	sem_post(&fake.release);
	evloop_settle(&loop);
	ck_assert_uint_eq(fake.starts, 1);
	ck_assert_uint_eq(fake.stops, 1);
	ck_assert_uint_eq(transport.stops, 1);
	ck_assert_uint_eq(fake_device_all_kicks(&fake), 0);
}
END_TEST

START_TEST(test_kick_after_stop)
{
	unsigned int kicks;

	start(7);
	stop();
	kicks = fake_device_all_kicks(&fake);
	send(0);
	virtio_device_rekick(&fake.dev, 0);
	evloop_settle(&loop);
	ck_assert_uint_eq(fake_device_all_kicks(&fake), kicks);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 0);
}
END_TEST

START_TEST(test_restart)
{
	for (unsigned int round = 1; round <= 10; round++) {
		start(7);
		send(2);
		virtio_device_rekick(&fake.dev, 2);
		evloop_settle(&loop);
		ck_assert_uint_eq(virtq_driver_n_used(&drv[2]), 1);
		stop();
		ck_assert_uint_eq(fake.starts, round);
		ck_assert_uint_eq(fake.stops, round);
		ck_assert_uint_eq(transport.stops, round);
		ck_assert_uint_eq(transport.interrupts[2], round);
	}
}
END_TEST

/* ---- queues ---- */

START_TEST(test_kicks)
{
	start(7);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		unsigned int before = fake_device_all_kicks(&fake);

		virtio_device_rekick(&fake.dev, i);
		evloop_settle(&loop);
		ck_assert_uint_eq(fake.kicks[i], 2);
		ck_assert_uint_eq(fake_device_all_kicks(&fake), before + 1);
	}
}
END_TEST

static void kick_again(struct fake_device *dev, unsigned int queue)
{
	if (atomic_load(&dev->kicks[queue]) < 10)
		virtio_device_rekick(&dev->dev, queue);
}

/* A device that bounds its work asks to be called again. */
START_TEST(test_rekick)
{
	fake.on_kick = kick_again;
	start(1);
	for (int i = 0; i < 10; i++)
		evloop_settle(&loop);
	ck_assert_uint_eq(fake.kicks[0], 10);
}
END_TEST

START_TEST(test_publish)
{
	start(7);
	send(0);
	virtio_device_rekick(&fake.dev, 0);
	evloop_settle(&loop);
	ck_assert_uint_eq(transport.interrupts[0], 1);
	/* The driver can do without, and nothing new is nothing to tell. */
	virtq_driver_set_avail_flags(&drv[0], VRING_AVAIL_F_NO_INTERRUPT);
	send(0);
	virtio_device_rekick(&fake.dev, 0);
	evloop_settle(&loop);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 2);
	virtq_driver_set_avail_flags(&drv[0], 0);
	virtio_device_rekick(&fake.dev, 0);
	evloop_settle(&loop);
	ck_assert_uint_eq(transport.interrupts[0], 1);
	ck_assert_uint_eq(transport.interrupts[1] + transport.interrupts[2], 0);
}
END_TEST

/* Who has the queue reads its kicks, the first one included, until it is quiesced; the others go on as ever. */
START_TEST(test_delegate)
{
	uint64_t count;

	fake.delegated = 2;
	start(7);
	virtio_device_rekick(&fake.dev, 1);
	virtio_device_rekick(&fake.dev, 2);
	evloop_settle(&loop);
	ck_assert_uint_eq(fake.kicks[0], 1);
	ck_assert_uint_eq(fake.kicks[1], 0);
	ck_assert_uint_eq(fake.kicks[2], 2);
	ck_assert_int_eq(read(fake.dev.kick_fd[1], &count, sizeof(count)), sizeof(count));
	ck_assert_uint_eq(count, 2);
	stop();
	for (unsigned int i = 0; i < FAKE_QUEUES; i++)
		ck_assert_uint_eq(fake.quiesces[i], 1);
	ck_assert_uint_eq(transport.stops, 1);
	fake.delegated = 0;
	start(7);
	ck_assert_uint_eq(fake.kicks[1], 1);
}
END_TEST

static int transport_interrupt_fd(void *arg, unsigned int queue)
{
	(void)arg;
	return 10 + (int)queue;
}

START_TEST(test_interrupt_fd)
{
	ck_assert_int_eq(virtio_device_interrupt_fd(&fake.dev, 1), -1);
	fake.dev.transport.interrupt_fd = transport_interrupt_fd;
	ck_assert_int_eq(virtio_device_interrupt_fd(&fake.dev, 1), 11);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("virtio/device");
	TCase *tc = tcase_create("device");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_init);
	tcase_add_loop_test(tc, test_init_without_descriptors, 0, FAKE_QUEUES);
	tcase_add_loop_test(tc, test_start, 0, 8);
	tcase_add_test(tc, test_kick_before_start);
	tcase_add_test(tc, test_stop_without_start);
	tcase_add_test(tc, test_stop_during_start);
	tcase_add_test(tc, test_kick_after_stop);
	tcase_add_test(tc, test_restart);
	tcase_add_test(tc, test_kicks);
	tcase_add_test(tc, test_rekick);
	tcase_add_test(tc, test_publish);
	tcase_add_test(tc, test_delegate);
	tcase_add_test(tc, test_interrupt_fd);
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
