/* The rate limits of a network card: on a clock that the test turns, shared by threads, and on a card. */
#include <pthread.h>

#include "tests/unit/net_fixture.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static struct net_limit limit;
static struct net_limit_rest rest;

static void init(uint64_t bps, uint64_t bps_burst, uint64_t pps, uint64_t pps_burst)
{
	net_limit_init(&limit, &(struct net_limit_config){bps, bps_burst, pps, pps_burst});
	rest = (struct net_limit_rest){0};
}

/* Packets of that size that pass up to that moment, by somebody who waits as told. */
static unsigned int pass(uint64_t from, uint64_t end, size_t bytes)
{
	unsigned int n = 0;

	for (uint64_t now = from; now <= end;) {
		uint64_t wait = net_limit_wait(&limit, now);

		if (wait == 0) {
			net_limit_pay(&limit, &rest, now, bytes);
			n++;
		}
		now += wait;
	}
	return n;
}

/* ---- the clock ---- */

START_TEST(test_none)
{
	init(0, 0, 0, 0);
	ck_assert(!limit.limited);
	for (int i = 0; i < 100; i++) {
		ck_assert_uint_eq(net_limit_wait(&limit, 0), 0);
		net_limit_pay(&limit, &rest, 0, NET_PACKET_MAX);
	}
}
END_TEST

START_TEST(test_packets)
{
	init(0, 0, 100, 5);
	ck_assert_uint_eq(pass(0, 0, 1500), 5);
	ck_assert_uint_eq(pass(0, 10 * S, 1500), 1000);
	/* a rest fills the bucket and no more */
	ck_assert_uint_eq(pass(100 * S, 100 * S, 1500), 5);
}
END_TEST

START_TEST(test_bytes)
{
	init(1000000, 100000, 0, 0);
	ck_assert_uint_eq(pass(0, 0, 1500), 67); /* the last one is not all paid for */
	ck_assert_uint_eq(pass(0, 100 * S, 1500), 66667);
}
END_TEST

START_TEST(test_tighter_of_both)
{
	init(1000000, 1, 100, 1);
	ck_assert_uint_eq(pass(0, 10 * S, 100), 1001);
	init(1000000, 1, 100, 1);
	ck_assert_uint_eq(pass(0, 10 * S, 50000), 201);
}
END_TEST

/* However long, a packet passes, and what follows waits for all of it. */
START_TEST(test_large)
{
	init(1000, 10, 0, 0);
	ck_assert_uint_eq(pass(0, 0, 65000), 1);
	ck_assert_uint_eq(net_limit_wait(&limit, 1 * S), 64 * S - 9 * MS);
	ck_assert_uint_eq(pass(1 * S, 130 * S, 65000), 2);
}
END_TEST

START_TEST(test_default_burst)
{
	init(0, 0, 1000, 0);
	ck_assert_uint_eq(pass(0, 0, 60), 100);
	ck_assert_uint_eq(net_limit_wait(&limit, 0), 1 * MS);
	init(5, 0, 5, 0);
	ck_assert_uint_eq(pass(0, 0, 1), 1);
}
END_TEST

/* No fraction is lost at rates that no ns divides, and fast ones need few timers. */
START_TEST(test_exact)
{
	unsigned int waits = 0;
	uint64_t n = 0;

	init(0, 0, 14880952, 0);
	for (uint64_t now = 0, wait; now < 1 * S; now += wait) {
		wait = net_limit_wait(&limit, now);
		if (wait == 0) {
			net_limit_pay(&limit, &rest, now, 60);
			n++;
		}
		waits += wait > 0;
	}
	ck_assert_uint_ge(n, 14880952 + 1488095 - 15000);
	ck_assert_uint_le(n, 14880952 + 1488095 + 1);
	ck_assert_uint_le(waits, 1001);
}
END_TEST

START_TEST(test_extremes)
{
	static const uint64_t all[] = {1, 7, UINT64_C(1) << 40, UINT64_MAX};

	for (unsigned int i = 0; i < 16; i++) {
		init(all[i / 4], all[i % 4], all[i % 4], all[i / 4]);
		for (unsigned int n = 0; n < 1000; n++)
			net_limit_pay(&limit, &rest, n % 2 ? UINT64_MAX - n : n, NET_PACKET_MAX);
		net_limit_wait(&limit, UINT64_MAX);
		net_limit_wait(&limit, 0);
	}
	init(1, 1, 0, 0);
	net_limit_pay(&limit, &rest, 0, 1000);
	ck_assert_uint_eq(net_limit_wait(&limit, 0), 1000 * S);
}
END_TEST

/* ---- several queues ---- */

#define THREADS 4u
#define PAID	50000u

static void *pay(void *arg)
{
	struct net_limit_rest own = {0};

	(void)arg;
	for (unsigned int i = 0; i < PAID; i++)
		net_limit_pay(&limit, &own, 0, 7);
	return NULL;
}

/* What several pay at once is all counted, but for the parts of a ns that each still owes. */
START_TEST(test_shared)
{
	const uint64_t want = UINT64_C(7) * PAID * THREADS * S / 999983;
	pthread_t thread[THREADS];
	uint64_t full;

	init(999983, 1, 0, 0);
	for (unsigned int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, pay, NULL), 0);
	for (unsigned int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	full = atomic_load(&limit.bucket[NET_LIMIT_BYTES].full_ns);
	ck_assert_uint_le(full, want);
	ck_assert_uint_ge(full, want - THREADS);
}
END_TEST

static unsigned int goes;

static void on_go(void *arg)
{
	(void)arg;
	goes++;
}

/* What the loop does when the time has come. */
static void fire(struct evloop *loop, struct evloop_timer *timer)
{
	ck_assert(timer->armed);
	evloop_timer_cancel(loop, timer);
	timer->fn(timer->arg);
}

/* A queue that has waited has its turn even if another one was faster; what passes so is paid for. */
START_TEST(test_turns)
{
	struct net_gate gate[2];
	struct evloop loop;

	init(0, 0, 1, 2);
	ck_assert_int_eq(evloop_init(&loop), 0);
	for (unsigned int i = 0; i < 2; i++) {
		net_gate_init(&gate[i], &limit, on_go, NULL);
		ck_assert(net_gate_open(&gate[i], &loop));
		net_gate_pay(&gate[i], 60);
	}
	for (unsigned int i = 0; i < 2; i++) {
		ck_assert(!net_gate_open(&gate[i], &loop));
		ck_assert(!net_gate_open(&gate[i], &loop));
	}
	goes = 0;
	for (unsigned int i = 0; i < 2; i++) {
		fire(&loop, &gate[i].timer);
		ck_assert_uint_eq(goes, i + 1);
		ck_assert(net_gate_open(&gate[i], &loop));
		net_gate_pay(&gate[i], 60);
		ck_assert(!net_gate_open(&gate[i], &loop));
	}
	ck_assert_uint_gt(net_limit_wait(&limit, evloop_now()), 2 * S - S / 2);
	/* one that is stopped has no turn any more */
	fire(&loop, &gate[0].timer);
	net_gate_stop(&gate[0], &loop);
	net_gate_stop(&gate[1], &loop);
	ck_assert(!gate[1].timer.armed);
	ck_assert(!net_gate_open(&gate[0], &loop));
	net_gate_stop(&gate[0], &loop);
	evloop_fini(&loop);
}
END_TEST

/* ---- on a card ---- */

/* Three packets at once, and the next in a minute. */
static const struct net_limit_config none, slow = {.pps = 1, .pps_burst = 3},
					   slow_bytes = {.bps = 1, .bps_burst = 250};

static bool always(struct net_backend *be, unsigned int queue)
{
	(void)be;
	(void)queue;
	return true;
}

START_TEST(test_receive)
{
	struct net_fixture *f = net_open_limited(NET_MERGE | (_i & 1 ? NET_EVENT : 0),
						 _i & 2 ? slow_bytes : slow, none);
	struct net_gate *gate = &f->net.pair[0].rx.gate;
	struct net_backend_ops ops = *f->tap.be.ops;
	static uint8_t packet[100];

	ck_assert(virtio_net_has_limits(&f->net));
	/* also one that always has more, as a stream in its buffer, makes nobody spin */
	ops.pending = always;
	f->tap.be.ops = &ops;
	for (int i = 0; i < 20; i++)
		ck_assert(net_post(f, 1600, 0));
	for (uint32_t i = 0; i < 8; i++) {
		net_fill(packet, 100, i);
		ck_assert(net_wire_send(f, packet, 100));
	}
	net_kick(f, 0);
	for (uint32_t i = 0; i < 3; i++)
		net_expect(f, 100, i);
	for (uint32_t i = 3; i < 8; i++) {
		ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
		ck_assert_uint_eq(f->net.pair[0].rx.watch.events, 0);
		ck_assert_uint_eq(net_pump(f), 0);
		net_kick(f, 0); /* new buffers do not help */
		ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
		fire(&f->loop, &gate->timer);
		net_expect(f, 100, i);
	}
	ck_assert(gate->timer.armed);
	net_reset(f);
	net_close(f);
}
END_TEST

START_TEST(test_send)
{
	struct net_fixture *f = net_open_limited(_i & 1 ? NET_EVENT : 0, none,
						 _i & 2 ? slow_bytes : slow);
	struct net_gate *gate = &f->net.pair[0].tx.gate;
	struct virtq_piece piece = {.len = 100};
	static uint8_t packet[200];

	ck_assert(virtio_net_has_limits(&f->net));
	piece.gpa = virtq_driver_alloc(&f->tx, 100);
	for (uint32_t i = 0; i < 8; i++)
		virtq_driver_send(&f->tx, &piece, 1);
	net_kick(f, 1);
	for (uint32_t i = 0; i < 8; i++) {
		if (i >= 3) {
			ck_assert_int_eq(recv(f->peer, packet, sizeof(packet), 0), -1);
			ck_assert_uint_eq(net_pump(f), 0);
			net_kick(f, 1);
			ck_assert_int_eq(recv(f->peer, packet, sizeof(packet), 0), -1);
			/* what was sent is given back before the wait */
			ck_assert_uint_eq(virtq_driver_n_used(&f->tx), i);
			fire(&f->loop, &gate->timer);
		}
		ck_assert_int_eq(recv(f->peer, packet, sizeof(packet), 0), 100);
	}
	ck_assert_uint_eq(virtq_driver_n_used(&f->tx), 8);
	/* the ring is empty and the gate shut: the first packet after that is not forgotten */
	fire(&f->loop, &gate->timer);
	virtq_driver_send(&f->tx, &piece, 1);
	ck_assert(!gate->timer.armed);
	ck_assert(virtq_driver_needs_kick(&f->tx, f->net.dev.queue[1].event_idx));
	net_kick(f, 1);
	fire(&f->loop, &gate->timer);
	ck_assert_int_eq(recv(f->peer, packet, sizeof(packet), 0), 100);
	net_close(f);
}
END_TEST

/* A packet that waits for buffers has passed: it is not held up by the limit once more. */
START_TEST(test_held)
{
	struct net_fixture *f = net_open_limited(
		NET_MERGE, (struct net_limit_config){.pps = 1, .pps_burst = 1}, none);
	static uint8_t packet[1000];

	ck_assert(net_post(f, 500, 0));
	net_fill(packet, sizeof(packet), 7);
	ck_assert(net_wire_send(f, packet, sizeof(packet)));
	net_kick(f, 0);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	ck_assert(net_post(f, 500, 0));
	net_kick(f, 0);
	net_expect(f, sizeof(packet), 7);
	net_close(f);
}
END_TEST

/* A reset in the midst of waiting: the timer goes, and the next driver has the same limit. */
START_TEST(test_reset)
{
	struct net_fixture *f = net_open_limited(NET_MERGE, slow, slow);
	struct net_gate *gate = &f->net.pair[0].rx.gate;
	static uint8_t packet[100];

	for (uint32_t round = 0; round < 3; round++) {
		ck_assert(net_post(f, 1600, 0));
		for (uint32_t i = 0; i < 4; i++)
			net_wire_send(f, packet, sizeof(packet));
		for (uint32_t i = 0; i < 8; i++)
			ck_assert(net_post(f, 1600, 0));
		net_kick(f, 0);
		ck_assert_uint_eq(virtq_driver_n_used(&f->rx), round == 0 ? 3 : 0);
		ck_assert(gate->timer.armed);
		net_reset(f);
		ck_assert(!gate->timer.armed);
		net_start(f, NET_MERGE, 256);
	}
	net_close(f);
}
END_TEST

/* On a loop that runs: so many packets in so much time, and all of them. */
START_TEST(test_rate)
{
	const struct net_limit_config rate = {.pps = 2000, .pps_burst = 100};
	struct net_fixture *f = net_open_limited(NET_MERGE, none, rate);
	struct virtq_piece piece = {.len = 100};
	unsigned int got = 0;
	uint64_t began, took;
	uint8_t packet[200];

	piece.gpa = virtq_driver_alloc(&f->tx, 100);
	ck_assert_int_eq(evloop_start(&f->loop, "io"), 0);
	began = evloop_now();
	for (unsigned int sent = 0; got < 1100;) {
		while (virtq_driver_used(&f->tx, NULL, NULL))
			;
		for (; sent < 1100 && f->tx.n_free > 0; sent++)
			virtq_driver_send(&f->tx, &piece, 1);
		virtio_device_rekick(&f->net.dev, 1);
		while (recv(f->peer, packet, sizeof(packet), 0) == 100)
			got++;
		usleep(500);
	}
	took = evloop_now() - began;
	evloop_stop(&f->loop);
	ck_assert_uint_ge(took, 500 * MS);
	ck_assert_msg(took < 2 * S, "%u ms", (unsigned int)(took / MS)); /* a loaded host */
	net_close(f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_net_limit");
	TCase *tc = tcase_create("limit");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_none);
	tcase_add_test(tc, test_packets);
	tcase_add_test(tc, test_bytes);
	tcase_add_test(tc, test_tighter_of_both);
	tcase_add_test(tc, test_large);
	tcase_add_test(tc, test_default_burst);
	tcase_add_test(tc, test_exact);
	tcase_add_test(tc, test_extremes);
	tcase_add_test(tc, test_shared);
	tcase_add_test(tc, test_turns);
	tcase_add_loop_test(tc, test_receive, 0, 4);
	tcase_add_loop_test(tc, test_send, 0, 4);
	tcase_add_test(tc, test_held);
	tcase_add_test(tc, test_reset);
	tcase_add_test(tc, test_rate);
	suite_add_tcase(suite, tc);
	return net_run(suite);
}
