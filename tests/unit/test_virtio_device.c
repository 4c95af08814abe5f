/* virtio/virtio_device: what a transport and a device may expect of one another, without any transport's registers. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "tests/unit/evloop_settle.h"
#include "tests/unit/fake_device.h"
#include "tests/unit/virtq_driver.h"

#define RAM_SIZE UINT64_C(0x400000)

static struct guest_mem mem;
static struct evloop loop;
static struct fake_device fake;
static struct virtq_driver drv[FAKE_QUEUES];

/* A transport that counts. */
static struct {
	_Atomic unsigned int interrupts[FAKE_QUEUES], config_changes, needs_resets, stops;
	_Atomic unsigned int stops_of_device; /* when stopped() was called */
} transport;

static void transport_interrupt(void *arg, unsigned int queue)
{
	(void)arg;
	atomic_fetch_add(&transport.interrupts[queue], 1);
}

static void transport_config_changed(void *arg)
{
	(void)arg;
	atomic_fetch_add(&transport.config_changes, 1);
}

static void transport_needs_reset(void *arg)
{
	(void)arg;
	atomic_fetch_add(&transport.needs_resets, 1);
}

static void transport_stopped(void *arg)
{
	(void)arg;
	atomic_store(&transport.stops_of_device, atomic_load(&fake.stops));
	atomic_fetch_add(&transport.stops, 1);
}

static void setup(void)
{
	const struct guest_mem_region ram = {.base = 0, .size = RAM_SIZE};

	memset((void *)&transport, 0, sizeof(transport));
	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_eq(guest_mem_init(&mem, &ram, 1), 0);
	ck_assert_int_eq(evloop_init(&loop), 0);
	ck_assert_int_eq(fake_device_init(&fake, &loop), 0);
	fake.on_kick = fake_device_echo;
	fake.dev.transport = (struct virtio_transport){.interrupt = transport_interrupt,
						       .config_changed = transport_config_changed,
						       .needs_reset = transport_needs_reset,
						       .stopped = transport_stopped};
	ck_assert_int_eq(evloop_start(&loop, "test"), 0);
}

static void teardown(void)
{
	evloop_stop(&loop);
	fake_device_fini(&fake);
	evloop_fini(&loop);
	guest_mem_fini(&mem);
}

static void make_queues(unsigned int enabled)
{
	for (unsigned int i = 0; i < FAKE_QUEUES; i++) {
		gpa_t base = 0x100000 * (i + 1);

		virtq_driver_init(&drv[i], &mem, base, base + 0x100000, 16);
		fake.dev.enabled[i] = enabled >> i & 1;
		ck_assert_int_eq(virtq_init(&fake.dev.queue[i], &mem, &drv[i].config, 0), 0);
	}
}

static void start(unsigned int enabled)
{
	make_queues(enabled);
	virtio_device_start(&fake.dev);
	evloop_settle(&loop);
}

static void stop(void)
{
	virtio_device_stop(&fake.dev);
	evloop_settle(&loop);
}

/* Queues a request of 8 bytes, without a kick. */
static void send(unsigned int queue)
{
	const struct virtq_piece pieces[] = {
		{virtq_driver_alloc_copy(&drv[queue], "question", 8), 8, false},
		{virtq_driver_alloc(&drv[queue], 8), 8, true}};

	virtq_driver_send(&drv[queue], pieces, 2);
}

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
