/* virtio/virtio_mmio: a device at work: kicks, the interrupt line, and resets that wait. */
#include "tests/unit/vmmio_fixture.h"

/* ---- kicks and interrupts ---- */

/* With eventfds (0) and, when KVM refuses them, without (1). */
START_TEST(test_serves)
{
	bind_error = _i ? -ENOSPC : 0;
	go();
	ck_assert_uint_eq(n_bound(), _i ? 0 : FAKE_QUEUES);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		send_request(i);
		kick(i);
		ck_assert_uint_eq(virtq_driver_n_used(&drv[i]), 1);
		ck_assert_uint_eq(atomic_load(&edges), i + 1);
		ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
		set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
		ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
		ck_assert(!atomic_load(&line));
	}
	set(VIRTIO_MMIO_QUEUE_NOTIFY, FAKE_QUEUES);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	set(VIRTIO_MMIO_STATUS, 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0);
	ck_assert_uint_eq(n_bound(), 0);
	ck_assert_uint_eq(atomic_load(&fake.stops), 1);
}
END_TEST

/* A queue that is served inline has no eventfd, and is served when the write returns; after a reset it is left alone. */
START_TEST(test_serves_inline)
{
	fake.dev.serve_inline[1] = true;
	go();
	ck_assert_uint_eq(n_bound(), FAKE_QUEUES - 1);
	ck_assert_int_lt(bound[1], 0);
	for (unsigned int i = 1; i <= 3; i++) {
		send_request(1);
		set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
		ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), i);
	}
	set(VIRTIO_MMIO_STATUS, 0);
	send_request(1);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), 3);
}
END_TEST

/* While the line is up no edge is made; what an acknowledgement leaves makes one. */
START_TEST(test_edges)
{
	go();
	send_request(0);
	kick(0);
	send_request(1);
	kick(1);
	ck_assert_uint_eq(atomic_load(&edges), 1);
	virtio_device_config_set(&fake.dev, 0, "t", 1);
	ck_assert_uint_eq(atomic_load(&edges), 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS),
			  VIRTIO_MMIO_INT_VRING | VIRTIO_MMIO_INT_CONFIG);
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	ck_assert(atomic_load(&line));
	ck_assert_uint_eq(atomic_load(&edges), 2);
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING); /* is not set */
	ck_assert_uint_eq(atomic_load(&edges), 2);
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
	ck_assert(!atomic_load(&line));
	ck_assert_uint_eq(atomic_load(&edges), 2);
}
END_TEST

/* What changed before DRIVER_OK is told after it. */
START_TEST(test_config_changed_before)
{
	virtio_device_config_set(&fake.dev, 0, "t", 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	go();
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	ck_assert_uint_eq(atomic_load(&edges), 1);
}
END_TEST

START_TEST(test_broken_ring)
{
	go();
	virtq_driver_put(&drv[0], 999);
	virtq_driver_publish(&drv[0]);
	kick(0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_CONFIG);
	go();
	send_request(0);
	kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 1);
}
END_TEST

/* ---- reset ---- */

static _Atomic bool reset_done;

static void *reset_thread(void *arg)
{
	(void)arg;
	set(VIRTIO_MMIO_STATUS, 0);
	atomic_store(&reset_done, true);
	return NULL;
}

/* The write returns when the device has let go; other vCPUs may look meanwhile, and their writes count for nothing. */
START_TEST(test_reset_waits)
{
	pthread_t thread;

	go();
	atomic_store(&reset_done, false);
	atomic_store(&fake.hold_stop, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, reset_thread, NULL), 0);
	for (int i = 0; atomic_load(&fake.stops) == 0; i++) {
		ck_assert_int_lt(i, 5000);
		usleep(1000);
	}
	usleep(20000);
	ck_assert(!atomic_load(&reset_done));
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
	ck_assert_uint_eq(n_bound(), 0);
	set(VIRTIO_MMIO_QUEUE_SEL, 2);
	set(VIRTIO_MMIO_STATUS, S_ACK);
	sem_post(&fake.release);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), 0);
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		set(VIRTIO_MMIO_QUEUE_SEL, i);
		ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
	}
	go();
	ck_assert_uint_eq(atomic_load(&fake.starts), 2);
}
END_TEST

/* ---- queues taken back ---- */

static uint32_t ready(unsigned int queue)
{
	set(VIRTIO_MMIO_QUEUE_SEL, queue);
	return get(VIRTIO_MMIO_QUEUE_READY);
}

static void take(unsigned int queue)
{
	set(VIRTIO_MMIO_QUEUE_SEL, queue);
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 0);
}

/* 4.2.2.1 and 4.2.2.2: from the first queue that the driver takes back on nothing is served, kicks or no; it reads what it wrote, and may reset. */
START_TEST(test_takes_queues)
{
	go();
	send_request(0);
	kick(0);
	set(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
	take(1);
	ck_assert_uint_eq(atomic_load(&fake.stops), 1);
	ck_assert_uint_eq(atomic_load(&fake.quiesces[1]), 1);
	ck_assert_uint_eq(n_bound(), 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
	ck_assert_uint_eq(ready(0), 0); /* the others are taken with it */
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		send_request(i);
		kick(i);
	}
	virtio_device_config_set(&fake.dev, 0, "t", 1);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 1);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	set(VIRTIO_MMIO_QUEUE_NUM, 8);
	set(VIRTIO_MMIO_QUEUE_READY, 1); /* only after a reset */
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	ck_assert_uint_eq(ready(1), 0);
	take(0);
	take(1);
	take(2);
	ck_assert_uint_eq(atomic_load(&fake.stops), 1);
	ck_assert_uint_eq(atomic_load(&fake.starts), 1);
	go();
	ck_assert_uint_eq(atomic_load(&fake.starts), 2);
	send_request(1);
	kick(1);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), 1);
}
END_TEST

/* One that was served inline, and one that others serve, is taken back like any other. */
START_TEST(test_takes_queue_served_otherwise)
{
	fake.dev.serve_inline[1] = true;
	fake.delegated = 1;
	go();
	take(_i);
	ck_assert_uint_eq(atomic_load(&fake.quiesces[0]), 1);
	send_request(1);
	set(VIRTIO_MMIO_QUEUE_NOTIFY, 1);
	evloop_settle(&loop);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), 0);
}
END_TEST

/* A queue that the device does not have, or that was never given to it, is nothing to stop for. */
START_TEST(test_takes_no_queue)
{
	prepare();
	take(2);
	set(VIRTIO_MMIO_STATUS, S_DRIVER_OK);
	take(2);
	take(FAKE_QUEUES);
	evloop_settle(&loop);
	ck_assert_uint_eq(atomic_load(&fake.stops), 0);
	send_request(0);
	kick(0);
	ck_assert_uint_eq(virtq_driver_n_used(&drv[0]), 1);
}
END_TEST

/* One that the driver has broken, too; it still asks for its reset. */
START_TEST(test_takes_broken_queue)
{
	go();
	virtq_driver_put(&drv[0], 999);
	virtq_driver_publish(&drv[0]);
	kick(0);
	take(0);
	ck_assert_uint_eq(atomic_load(&fake.stops), 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK | VIRTIO_CONFIG_S_NEEDS_RESET);
	go();
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
}
END_TEST

static _Atomic unsigned int n_written;

static void *write_ready(void *arg)
{
	(void)arg;
	set(VIRTIO_MMIO_QUEUE_READY, 0);
	atomic_fetch_add(&n_written, 1);
	return NULL;
}

static void *write_status(void *arg)
{
	(void)arg;
	set(VIRTIO_MMIO_STATUS, 0);
	atomic_fetch_add(&n_written, 1);
	return NULL;
}

/* The queue is not ready, and the write returns, when the device has let go; what other vCPUs write meanwhile waits: the same (0), or a reset (1). */
START_TEST(test_take_waits)
{
	pthread_t thread[2];

	go();
	atomic_store(&n_written, 0);
	atomic_store(&fake.hold_stop, true);
	set(VIRTIO_MMIO_QUEUE_SEL, 1);
	ck_assert_int_eq(pthread_create(&thread[0], NULL, write_ready, NULL), 0);
	for (int i = 0; atomic_load(&fake.stops) == 0; i++) {
		ck_assert_int_lt(i, 5000);
		usleep(1000);
	}
	ck_assert_int_eq(pthread_create(&thread[1], NULL, _i ? write_status : write_ready, NULL),
			 0);
	usleep(20000);
	ck_assert_uint_eq(atomic_load(&n_written), 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_QUEUE_READY), 1);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), S_DRIVER_OK);
	sem_post(&fake.release);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	ck_assert_uint_eq(ready(1), 0);
	ck_assert_uint_eq(ready(0), 0);
	ck_assert_uint_eq(get(VIRTIO_MMIO_STATUS), _i ? 0 : S_DRIVER_OK);
	ck_assert_uint_eq(atomic_load(&fake.stops), 1);
	go();
	ck_assert_uint_eq(atomic_load(&fake.starts), 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio/virtio_mmio at work");
	TCase *tc = tcase_create("virtio_mmio");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_serves, 0, 2);
	tcase_add_test(tc, test_serves_inline);
	tcase_add_test(tc, test_edges);
	tcase_add_test(tc, test_config_changed_before);
	tcase_add_test(tc, test_broken_ring);
	tcase_add_test(tc, test_reset_waits);
	tcase_add_test(tc, test_takes_queues);
	tcase_add_loop_test(tc, test_takes_queue_served_otherwise, 0, 2);
	tcase_add_test(tc, test_takes_no_queue);
	tcase_add_test(tc, test_takes_broken_queue);
	tcase_add_loop_test(tc, test_take_waits, 0, 2);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
