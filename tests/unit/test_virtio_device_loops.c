/* virtio/virtio_device: queues that are served by loops of their own, and resets that wait for what is in flight. */
#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "tests/unit/evloop_settle.h"
#include "tests/unit/virtq_driver.h"
#include "virtio/virtio.h"

#define RAM_SIZE UINT64_C(0x400000)
#define QUEUES	 3

/* Queue 0 is served by the device's own loop, each other one by its own. */
static struct evloop loops[QUEUES];
static struct guest_mem mem;
static struct virtio_device dev;
static struct virtq_driver drv[QUEUES];
static _Atomic unsigned int kicks[QUEUES], wrong_thread, stops, stopped, quiesces, needs_resets;
static _Atomic bool stopped_too_early;
static bool hold; /* quiesce does not answer */

static void expect_thread(unsigned int loop)
{
	if (!pthread_equal(pthread_self(), loops[loop].thread))
		atomic_fetch_add(&wrong_thread, 1);
}

static void on_start(struct virtio_device *d)
{
	(void)d;
	expect_thread(0);
}

static void on_kick(struct virtio_device *d, unsigned int queue)
{
	struct virtq_chain chain;
	struct iovec iov[16];
	int n;

	expect_thread(queue);
	atomic_fetch_add(&kicks[queue], 1);
	while ((n = virtq_pop(&d->queue[queue], &chain, iov, 16)) > 0)
		virtq_push(&d->queue[queue], chain.head, 0);
	if (n < 0)
		virtio_device_broken(d, "test");
	else
		virtio_device_publish(d, queue);
}

static void on_quiesce(struct virtio_device *d, unsigned int queue)
{
	expect_thread(queue);
	atomic_fetch_add(&quiesces, 1);
	if (!hold)
		virtio_device_quiesced(d);
}

static void on_stop(struct virtio_device *d)
{
	(void)d;
	expect_thread(0);
	atomic_fetch_add(&stops, 1);
}

static void transport_stopped(void *arg)
{
	(void)arg;
	expect_thread(0);
	if (atomic_load(&stops) == 0)
		atomic_store(&stopped_too_early, true);
	atomic_fetch_add(&stopped, 1);
}

static void transport_interrupt(void *arg, unsigned int queue)
{
	(void)arg;
	(void)queue;
}

static void transport_needs_reset(void *arg)
{
	(void)arg;
	atomic_fetch_add(&needs_resets, 1);
}

static const struct virtio_device_ops ops = {
	.start = on_start, .kick = on_kick, .quiesce = on_quiesce, .stop = on_stop};

/* Every loop has run what was posted to any, also what one posts to another. */
static void settle(void)
{
	for (unsigned int i = 0; i < 2 * QUEUES; i++)
		evloop_settle(&loops[i % QUEUES]);
}

static void setup(void)
{
	const struct guest_mem_region ram = {.base = 0, .size = RAM_SIZE};

	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_eq(guest_mem_init(&mem, &ram, 1), 0);
	for (unsigned int i = 0; i < QUEUES; i++)
		ck_assert_int_eq(evloop_init(&loops[i]), 0);
	dev = (struct virtio_device){.ops = &ops,
				     .name = "test",
				     .loop = &loops[0],
				     .queue_size = 16,
				     .n_queues = QUEUES,
				     .queue_loop = {NULL, &loops[1], &loops[2]}};
	ck_assert_int_eq(virtio_device_init(&dev), 0);
	ck_assert_ptr_eq(dev.queue_loop[0], &loops[0]);
	dev.transport = (struct virtio_transport){.interrupt = transport_interrupt,
						  .needs_reset = transport_needs_reset,
						  .stopped = transport_stopped};
	for (unsigned int i = 0; i < QUEUES; i++)
		ck_assert_int_eq(evloop_start(&loops[i], "test"), 0);
}

static void teardown(void)
{
	for (unsigned int i = 0; i < QUEUES; i++)
		evloop_stop(&loops[i]);
	virtio_device_fini(&dev);
	for (unsigned int i = 0; i < QUEUES; i++)
		evloop_fini(&loops[i]);
	guest_mem_fini(&mem);
	ck_assert_uint_eq(wrong_thread, 0);
	ck_assert(!stopped_too_early);
}

static void start(void)
{
	for (unsigned int i = 0; i < QUEUES; i++) {
		gpa_t base = 0x100000 * (i + 1);

		virtq_driver_init(&drv[i], &mem, base, base + 0x100000, 16);
		dev.enabled[i] = true;
		ck_assert_int_eq(virtq_init(&dev.queue[i], &mem, &drv[i].config, 0), 0);
	}
	virtio_device_start(&dev);
	settle();
}

static void send(unsigned int queue)
{
	const struct virtq_piece piece = {virtq_driver_alloc(&drv[queue], 8), 8, true};

	virtq_driver_send(&drv[queue], &piece, 1);
	virtio_device_rekick(&dev, queue);
}

/* Each queue is served by its own loop. */
START_TEST(test_served)
{
	start();
	for (unsigned int i = 0; i < QUEUES; i++) {
		ck_assert_uint_eq(kicks[i], 1);
		send(i);
		settle();
		ck_assert_uint_eq(kicks[i], 2);
		ck_assert_uint_eq(virtq_driver_n_used(&drv[i]), 1);
	}
	virtio_device_stop(&dev);
	settle();
	ck_assert_uint_eq(stops, 1);
	ck_assert_uint_eq(stopped, 1);
	for (unsigned int i = 0; i < QUEUES; i++)
		virtio_device_rekick(&dev, i);
	settle();
	for (unsigned int i = 0; i < QUEUES; i++)
		ck_assert_uint_eq(kicks[i], 2);
}
END_TEST

static void release_one(void *arg)
{
	(void)arg;
	virtio_device_quiesced(&dev);
}

/* The reset is over when the last queue has let go, and not before. */
START_TEST(test_reset_waits)
{
	hold = true;
	start();
	virtio_device_stop(&dev);
	settle();
	ck_assert_uint_eq(quiesces, QUEUES);
	for (unsigned int i = 0; i < QUEUES; i++) {
		ck_assert_uint_eq(stops, 0);
		ck_assert_uint_eq(stopped, 0);
		evloop_call(&loops[i], release_one, NULL);
		settle();
	}
	ck_assert_uint_eq(stops, 1);
	ck_assert_uint_eq(stopped, 1);
}
END_TEST

/* A ring broken on one loop ends the service on all of them, until the device is started again. */
START_TEST(test_broken)
{
	start();
	virtq_driver_set_avail_idx(&drv[1], 17);
	virtio_device_rekick(&dev, 1);
	settle();
	ck_assert_uint_eq(needs_resets, 1);
	send(2);
	settle();
	ck_assert_uint_eq(kicks[2], 1);
	virtio_device_stop(&dev);
	settle();
	ck_assert_uint_eq(stopped, 1);
	start();
	send(1);
	settle();
	ck_assert_uint_eq(virtq_driver_n_used(&drv[1]), 1);
}
END_TEST

/* Start and stop in quick succession, from any thread: as many answers as resets. */
START_TEST(test_restarts)
{
	start();
	for (unsigned int i = 0; i < 200; i++) {
		virtio_device_stop(&dev);
		while (atomic_load(&stopped) <= i)
			settle();
		for (unsigned int q = 0; q < QUEUES; q++)
			virtio_device_rekick(&dev, q);
		start();
	}
	virtio_device_stop(&dev);
	settle();
	ck_assert_uint_eq(stopped, 201);
	ck_assert_uint_eq(quiesces, 201 * QUEUES);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/device, several loops");
	TCase *tc = tcase_create("loops");
	SRunner *runner = srunner_create(s);
	int failed;

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_served);
	tcase_add_test(tc, test_reset_waits);
	tcase_add_test(tc, test_broken);
	tcase_add_test(tc, test_restarts);
	suite_add_tcase(s, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
