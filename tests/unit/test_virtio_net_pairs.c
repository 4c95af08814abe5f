/*
 * A network card with several pairs of queues, each on a loop of its own, and drivers that use one, all, or ever
 * other ones of them. Most of what can go wrong here shows itself under ThreadSanitizer only.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/unit/evloop_settle.h"
#include "tests/unit/net_fixture.h"

#define BIT(feature) (UINT64_C(1) << (feature))
#define PAIRS	     3u
#define QUEUES	     (2 * PAIRS + 1)
#define RING	     UINT64_C(0x100000)	 /* of each queue, from address 0 on */
#define BUFFERS	     UINT64_C(0x1000000) /* 256 of 2 KiB for each receive queue */
#define SCRATCH	     UINT64_C(0x2000000) /* a frame to send, a request, an answer */
#define FRAME	     100u

#define FEATURES                                                                                   \
	(NET_V1 | NET_MERGE | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |              \
	 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE))
#define WITH_MQ (FEATURES | BIT(VIRTIO_NET_F_MQ))

static struct guest_mem mem;
static struct evloop loops[PAIRS];
static struct tap tap;
static int peer[PAIRS];
static struct virtio_net net;
static struct virtq_driver drv[QUEUES];
static _Atomic unsigned int stopped, needs_reset, wrong_thread, filters;
static unsigned int n_stops;

static void on_interrupt(void *arg, unsigned int queue)
{
	(void)arg;
	(void)queue;
}

static void on_config_changed(void *arg)
{
	(void)arg;
}

static void on_needs_reset(void *arg)
{
	(void)arg;
	atomic_fetch_add(&needs_reset, 1);
}

static void on_stopped(void *arg)
{
	(void)arg;
	atomic_fetch_add(&stopped, 1);
}

/* What the card's own loop, and no other, may do. */
static int on_filter(struct net_backend *be, const struct net_filter *filter)
{
	(void)be;
	(void)filter;
	if (!pthread_equal(pthread_self(), loops[0].thread))
		atomic_fetch_add(&wrong_thread, 1);
	atomic_fetch_add(&filters, 1);
	return 0;
}

static int on_queues(struct net_backend *be, unsigned int n)
{
	(void)be;
	(void)n;
	if (!pthread_equal(pthread_self(), loops[0].thread))
		atomic_fetch_add(&wrong_thread, 1);
	return 0;
}

static void setup_with(struct net_limit_config limit)
{
	static struct net_backend_ops ops;
	const struct guest_mem_region ram = {.base = 0, .size = 64 << 20};
	struct virtio_net_options options = {
		.loop = &loops[0], .backend = &tap.be, .rx_limit = limit, .tx_limit = limit};

	log_set_level(LOG_LEVEL_ERROR);
	ck_assert_int_eq(guest_mem_init(&mem, &ram, 1), 0);
	tap_init(&tap);
	strcpy(tap.name, "fake0");
	ops = *tap.be.ops;
	ops.set_filter = on_filter;
	ops.set_queues = on_queues;
	tap.be.ops = &ops;
	tap.be.n_queues = PAIRS;
	for (unsigned int i = 0; i < PAIRS; i++) {
		int pair[2];

		ck_assert_int_eq(
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			0);
		tap.be.fd[i] = pair[0];
		peer[i] = pair[1];
		ck_assert_int_eq(evloop_init(&loops[i]), 0);
		options.pair_loop[i] = &loops[i];
	}
	ck_assert_int_eq(virtio_net_init(&net, &options), 0);
	net.dev.transport = (struct virtio_transport){.interrupt = on_interrupt,
						      .config_changed = on_config_changed,
						      .needs_reset = on_needs_reset,
						      .stopped = on_stopped};
	for (unsigned int i = 0; i < PAIRS; i++)
		ck_assert_int_eq(evloop_start(&loops[i], "test"), 0);
	atomic_store(&stopped, 0);
	atomic_store(&needs_reset, 0);
	atomic_store(&wrong_thread, 0);
	n_stops = 0;
}

static void setup(void)
{
	setup_with((struct net_limit_config){0});
}

/* So slow that all pairs wait most of the time. */
static void setup_limited(void)
{
	setup_with((struct net_limit_config){.bps = 400000, .bps_burst = 2000, .pps = 5000});
}

static void teardown(void)
{
	virtio_net_fini(&net);
	for (unsigned int i = 0; i < PAIRS; i++) {
		evloop_stop(&loops[i]);
		evloop_fini(&loops[i]);
		close(peer[i]);
	}
	tap_close(&tap);
	guest_mem_fini(&mem);
}

/* ---- a driver ---- */

static void post(unsigned int pair)
{
	static unsigned int next;
	struct virtq_piece piece = {BUFFERS + pair * 0x80000 + next++ % 256 * 2048, 2048, true};

	virtq_driver_send(&drv[2 * pair], &piece, 1);
}

/* Up to DRIVER_OK with these queues; the loops may not have seen it yet. */
static void start_queues(uint64_t features, unsigned int queues)
{
	static const uint8_t frame[FRAME];

	ck_assert_int_eq(guest_mem_write(&mem, SCRATCH, frame, sizeof(frame)), 0);
	net.dev.negotiated = features;
	for (unsigned int i = 0; i < QUEUES; i++) {
		virtq_driver_init(&drv[i], &mem, i * RING, (i + 1) * RING, 256);
		ck_assert_int_eq(
			virtq_init(&net.dev.queue[i], &mem, &drv[i].config, net.dev.negotiated), 0);
		net.dev.enabled[i] = queues & 1u << i;
	}
	for (unsigned int i = 0; i < (features & BIT(VIRTIO_NET_F_MQ) ? PAIRS : 1); i++)
		for (unsigned int n = 0; n < 32; n++)
			post(i);
	virtio_device_start(&net.dev);
}

static void start(uint64_t features)
{
	start_queues(features, features & BIT(VIRTIO_NET_F_MQ) ? (1u << QUEUES) - 1 : 7);
}

static void reset(void)
{
	virtio_device_stop(&net.dev);
	n_stops++;
	while (atomic_load(&stopped) < n_stops)
		usleep(50);
}

static void send_frame(unsigned int pair)
{
	struct virtq_piece piece = {SCRATCH, FRAME, false};

	while (virtq_driver_used(&drv[2 * pair + 1], NULL, NULL))
		;
	if (drv[2 * pair + 1].n_free > 0)
		virtq_driver_send(&drv[2 * pair + 1], &piece, 1);
	virtio_device_rekick(&net.dev, 2 * pair + 1);
}

static void take_frames(unsigned int pair)
{
	while (virtq_driver_used(&drv[2 * pair], NULL, NULL))
		post(pair);
	virtio_device_rekick(&net.dev, 2 * pair);
}

/* Hands in a request that is answered later, or not at all. */
static void request(unsigned int queue, const void *bytes, uint32_t len)
{
	struct virtq_piece pieces[2] = {{SCRATCH + 4096, len, false}, {SCRATCH + 8192, 1, true}};

	ck_assert_int_eq(guest_mem_write(&mem, pieces[0].gpa, bytes, len), 0);
	virtq_driver_send(&drv[queue], pieces, 2);
	virtio_device_rekick(&net.dev, queue);
}

/* Returns the answer. */
static uint8_t ask(unsigned int queue, const void *bytes, uint32_t len)
{
	uint8_t ack = 0x55;

	request(queue, bytes, len);
	for (int i = 0; i < 100000 && !virtq_driver_used(&drv[queue], NULL, NULL); i++)
		usleep(50);
	ck_assert_int_eq(guest_mem_read(&mem, SCRATCH + 8192, &ack, 1), 0);
	return ack;
}

static uint8_t set_pairs(uint16_t n)
{
	const uint8_t bytes[4] = {4, 0, (uint8_t)n, 0};

	return ask(2 * PAIRS, bytes, sizeof(bytes));
}

/* As some time after the link has come back. */
static void announce(void)
{
	static struct evloop_task task;

	if (!task.fn)
		task = (struct evloop_task){.fn = net.announce_timer.fn, .arg = &net};
	evloop_post(net.dev.loop, &task);
}

static const uint8_t promisc_on[] = {0, 0, 1}, promisc_off[] = {0, 0, 0};

/* ---- tests ---- */

/* 5.1.2: the control queue of a driver without MQ has the index of the second pair's receive queue. */
START_TEST(test_control_queue_without_mq)
{
	static const uint8_t mac[] = {1, 1, 2, 9, 9, 9, 9, 9};

	for (unsigned int round = 0; round < 20; round++) {
		uint64_t features = round % 3 == 2 ? WITH_MQ : FEATURES;
		unsigned int queue = features == WITH_MQ ? 2 * PAIRS : 2;

		start(features);
		atomic_store(&filters, 0);
		for (unsigned int i = 0; i < 5; i++) {
			announce();
			ck_assert_uint_eq(ask(queue, i % 2 ? promisc_on : promisc_off, 3),
					  VIRTIO_NET_OK);
			ck_assert_uint_eq(ask(queue, mac, sizeof(mac)), VIRTIO_NET_OK);
		}
		ck_assert_uint_eq(atomic_load(&filters), 10);
		reset();
	}
	ck_assert_uint_eq(atomic_load(&wrong_thread), 0);
	ck_assert_uint_eq(atomic_load(&needs_reset), 0);
}
END_TEST

/* A driver without MQ that uses queues which it knows nothing of gets nothing by it. */
START_TEST(test_queues_unknown_to_the_driver)
{
	struct pollfd p = {.fd = peer[1], .events = POLLIN};

	start_queues(FEATURES, (1u << QUEUES) - 1);
	send_frame(1);
	for (unsigned int i = 0; i < PAIRS; i++)
		evloop_settle(&loops[i]);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	ck_assert_uint_eq(atomic_load(&needs_reset), 0);
	reset();
}
END_TEST

/* Every pair that is on carries frames both ways; one that was turned off and on again too. */
START_TEST(test_pairs)
{
	uint8_t frame[FRAME] = {0};

	start(WITH_MQ);
	for (unsigned int round = 0; round < 3; round++) {
		ck_assert_uint_eq(set_pairs(PAIRS), VIRTIO_NET_OK);
		for (unsigned int i = 0; i < PAIRS; i++) {
			struct pollfd p = {.fd = peer[i], .events = POLLIN};

			send_frame(i);
			ck_assert_int_eq(poll(&p, 1, 10000), 1);
			ck_assert_int_eq(recv(peer[i], frame, sizeof(frame), 0), FRAME);
			ck_assert_int_eq(send(peer[i], frame, sizeof(frame), MSG_NOSIGNAL), FRAME);
			for (int n = 0; n < 10000 && virtq_driver_n_used(&drv[2 * i]) == 0; n++)
				usleep(1000);
			ck_assert(virtq_driver_used(&drv[2 * i], NULL, NULL));
			post(i);
		}
		ck_assert_uint_eq(set_pairs(1), VIRTIO_NET_OK);
		ck_assert_uint_eq(set_pairs(PAIRS + 1), VIRTIO_NET_ERR);
	}
	reset();
	ck_assert_uint_eq(atomic_load(&wrong_thread), 0);
}
END_TEST

static _Atomic bool wire_ends;

/* The other end of all wires: sends what it can, and takes what comes. */
static void *wire(void *arg)
{
	uint8_t frame[2048] = {0};

	(void)arg;
	while (!atomic_load(&wire_ends)) {
		for (unsigned int i = 0; i < PAIRS; i++) {
			(void)!send(peer[i], frame, FRAME, MSG_NOSIGNAL | MSG_DONTWAIT);
			while (recv(peer[i], frame, sizeof(frame), MSG_DONTWAIT) > 0)
				;
		}
	}
	return NULL;
}

/* Pairs come and go, filters change and the guest is asked to announce itself, in the midst of traffic and of resets. */
START_TEST(test_everything_at_once)
{
	pthread_t thread;

	atomic_store(&wire_ends, false);
	ck_assert_int_eq(pthread_create(&thread, NULL, wire, NULL), 0);
	for (unsigned int round = 0; round < 60; round++) {
		bool mq = round % 4 != 3;
		unsigned int queue = mq ? 2 * PAIRS : 2;

		start(mq ? WITH_MQ : FEATURES);
		for (unsigned int i = 0; i < 30; i++) {
			unsigned int pair = mq ? i % PAIRS : 0;

			if (mq && i % 5 == 0)
				ck_assert_uint_eq(set_pairs((uint16_t)(1 + i / 5 % PAIRS)),
						  VIRTIO_NET_OK);
			if (i % 7 == 0)
				ck_assert_uint_eq(ask(queue, promisc_off, 3), VIRTIO_NET_OK);
			announce();
			send_frame(pair);
			take_frames(pair);
		}
		/* This one comes together with the reset. */
		request(queue, promisc_on, 3);
		reset();
	}
	atomic_store(&wire_ends, true);
	pthread_join(thread, NULL);
	ck_assert_uint_eq(atomic_load(&wrong_thread), 0);
	ck_assert_uint_eq(atomic_load(&needs_reset), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_net_pairs");
	TCase *tc = tcase_create("pairs"), *limited = tcase_create("pairs with limits");

	tcase_set_timeout(tc, 100);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_control_queue_without_mq);
	tcase_add_test(tc, test_queues_unknown_to_the_driver);
	tcase_add_test(tc, test_pairs);
	tcase_add_test(tc, test_everything_at_once);
	suite_add_tcase(suite, tc);
	tcase_set_timeout(limited, 100);
	tcase_add_checked_fixture(limited, setup_limited, teardown);
	tcase_add_test(limited, test_pairs);
	tcase_add_test(limited, test_everything_at_once);
	suite_add_tcase(suite, limited);
	return net_run(suite);
}
