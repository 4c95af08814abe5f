/* virtio/virtq: the used ring, interrupts and kicks, and indices that wrap around. */
#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "tests/unit/virtq_fixture.h"

/* used ring, interrupts, kicks */

START_TEST(pushed_is_hidden_until_published)
{
	const struct virtq_piece piece = {fix.buf, 8, true};
	uint16_t heads[3];
	uint32_t head, len;

	for (unsigned int i = 0; i < 3; i++) {
		heads[i] = virtq_driver_send(&fix.drv, &piece, 1);
		ck_assert_int_eq(fix_pop(), 1);
	}
	virtq_push(&fix.vq, heads[2], 7); /* in another order than taken */
	virtq_push(&fix.vq, heads[0], 0);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 0);
	ck_assert(virtq_publish(&fix.vq));
	ck_assert(!virtq_publish(&fix.vq)); /* nothing new */
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 2);
	ck_assert(virtq_driver_used(&fix.drv, &head, &len));
	ck_assert_uint_eq(head, heads[2]);
	ck_assert_uint_eq(len, 7);
	ck_assert(virtq_driver_used(&fix.drv, &head, &len));
	ck_assert_uint_eq(head, heads[0]);
	ck_assert_uint_eq(len, 0);
	ck_assert(!virtq_driver_used(&fix.drv, &head, &len));
	virtq_push(&fix.vq, heads[1], UINT32_MAX);
	ck_assert(virtq_publish(&fix.vq));
	ck_assert(virtq_driver_used(&fix.drv, &head, &len));
	ck_assert_uint_eq(len, UINT32_MAX);
}
END_TEST

START_TEST(driver_turns_interrupts_off)
{
	virtq_driver_set_avail_flags(&fix.drv, VRING_AVAIL_F_NO_INTERRUPT);
	virtq_push(&fix.vq, 0, 0);
	ck_assert(!virtq_publish(&fix.vq));
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 1); /* shown all the same */
	virtq_driver_set_avail_flags(&fix.drv, (uint16_t)~VRING_AVAIL_F_NO_INTERRUPT);
	virtq_push(&fix.vq, 0, 0);
	ck_assert(virtq_publish(&fix.vq));
}
END_TEST

START_TEST(event_idx_ignores_the_flag)
{
	fix_make_queue(SIZE, EVENT_IDX);
	virtq_driver_set_avail_flags(&fix.drv, VRING_AVAIL_F_NO_INTERRUPT);
	virtq_driver_set_used_event(&fix.drv, 0);
	virtq_push(&fix.vq, 0, 0);
	ck_assert(virtq_publish(&fix.vq));
}
END_TEST

/* 2.7.7.2: an interrupt exactly when the batch steps over used_event, at every position of the index. */
START_TEST(event_idx_decides_by_crossing)
{
	unsigned int rounds = 0, seed = 1;
	uint16_t index = 0;

	fix_make_queue(SIZE, EVENT_IDX);
	while (rounds < 70000) {
		uint16_t batch = 1 + rounds % SIZE;
		int off = rand_r(&seed) % 48 - 16; /* from well before to well behind */
		bool expected = off >= 0 && off < batch;

		virtq_driver_set_used_event(&fix.drv, (uint16_t)(index + off));
		for (unsigned int i = 0; i < batch; i++)
			virtq_push(&fix.vq, 0, 0);
		FIX_CHECK(virtq_publish(&fix.vq) == expected);
		index += batch;
		rounds++;
	}
}
END_TEST

START_TEST(kicks_by_flag)
{
	const struct virtq_piece piece = {fix.buf, 8, false};

	virtq_disable_kick(&fix.vq);
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv), VRING_USED_F_NO_NOTIFY);
	ck_assert(!virtq_enable_kick(&fix.vq));
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv), 0);
	virtq_disable_kick(&fix.vq);
	virtq_driver_send(&fix.drv, &piece, 1);
	ck_assert(!virtq_driver_needs_kick(&fix.drv, false));
	ck_assert(virtq_enable_kick(&fix.vq)); /* came meanwhile: nobody kicks for it */
	ck_assert_int_eq(fix_pop(), 1);
	ck_assert(!virtq_enable_kick(&fix.vq));
	virtq_driver_send(&fix.drv, &piece, 1);
	ck_assert(virtq_driver_needs_kick(&fix.drv, false));
}
END_TEST

START_TEST(kicks_by_event)
{
	const struct virtq_piece piece = {fix.buf, 8, false};

	fix_make_queue(SIZE, EVENT_IDX);
	for (unsigned int i = 0; i < 70000; i++) {
		FIX_CHECK(!virtq_enable_kick(&fix.vq));
		virtq_driver_send(&fix.drv, &piece, 1);
		FIX_CHECK(virtq_driver_needs_kick(&fix.drv, true));
		virtq_disable_kick(&fix.vq);
		virtq_driver_send(&fix.drv, &piece, 1);
		FIX_CHECK(!virtq_driver_needs_kick(&fix.drv, true));
		for (unsigned int k = 0; k < 2; k++) {
			FIX_CHECK(fix_pop() == 1);
			virtq_push(&fix.vq, fix.chain.head, 0);
		}
		virtq_publish(&fix.vq);
		while (virtq_driver_used(&fix.drv, NULL, NULL))
			;
	}
	virtq_driver_send(&fix.drv, &piece, 1);
	FIX_CHECK(virtq_enable_kick(&fix.vq));
}
END_TEST

struct wrap_case {
	uint16_t size;
	uint64_t features;
};

static const struct wrap_case wrap_cases[] = {
	{1, 0}, {2, EVENT_IDX}, {SIZE, INDIRECT}, {256, EVENT_IDX | INDIRECT}, {1024, EVENT_IDX},
};

/* Indices run through 65536 with batches of changing size; every head and length arrives. */
START_TEST(indices_wrap)
{
	const struct wrap_case *c = &wrap_cases[_i];
	unsigned int done = 0;
	gpa_t heap;

	fix_make_queue(c->size, c->features);
	heap = fix.drv.heap;
	while (done < 70000) {
		unsigned int batch = 1 + done % (c->size < 7 ? c->size : 7);
		uint16_t heads[7];
		uint32_t head, len;

		fix.drv.heap = heap;
		for (unsigned int i = 0; i < batch; i++) {
			struct virtq_piece piece = {fix.buf + (done + i) % 4096, 1 + i, true};

			heads[i] = c->features & INDIRECT
					   ? virtq_driver_chain_indirect(&fix.drv, &piece, 1)
					   : virtq_driver_chain(&fix.drv, &piece, 1);
			virtq_driver_put(&fix.drv, heads[i]);
		}
		virtq_driver_publish(&fix.drv);
		for (unsigned int i = 0; i < batch; i++) {
			FIX_CHECK(fix_pop() == 1);
			FIX_CHECK(fix.chain.head == heads[i]);
			FIX_CHECK(fix.chain.writable_bytes == 1 + i);
			virtq_push(&fix.vq, fix.chain.head, done + i);
		}
		FIX_CHECK(fix_pop() == 0);
		virtq_publish(&fix.vq);
		FIX_CHECK(virtq_driver_n_used(&fix.drv) == batch);
		for (unsigned int i = 0; i < batch; i++) {
			FIX_CHECK(virtq_driver_used(&fix.drv, &head, &len));
			FIX_CHECK(head == heads[i]);
			FIX_CHECK(len == done + i);
		}
		done += batch;
	}
}
END_TEST

/* A driver and a device on two threads that both sleep when they may: no kick and no interrupt gets lost. */

#define RACE_REQUESTS 30000

struct race {
	sem_t kick;
	sem_t interrupt;
	unsigned int lost;
};

static bool race_wait(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	while (sem_timedwait(sem, &until) < 0) {
		if (errno != EINTR)
			return false;
	}
	return true;
}

static unsigned int race_serve(struct race *race)
{
	struct virtq_chain c;
	struct iovec v[SIZE];
	unsigned int n = 0;

	while (virtq_pop(&fix.vq, &c, v, SIZE) > 0) {
		virtq_push(&fix.vq, c.head, (uint32_t)c.writable_bytes);
		n++;
		if (n % 3 == 0 && virtq_publish(&fix.vq))
			sem_post(&race->interrupt);
	}
	if (virtq_publish(&fix.vq))
		sem_post(&race->interrupt);
	return n;
}

static void *race_device(void *arg)
{
	struct race *race = arg;
	unsigned int done = 0;

	while (done < RACE_REQUESTS) {
		do {
			virtq_disable_kick(&fix.vq);
			done += race_serve(race);
		} while (virtq_enable_kick(&fix.vq));
		if (done < RACE_REQUESTS && !race_wait(&race->kick)) {
			race->lost++;
			break;
		}
	}
	return NULL;
}

/* Asks for an interrupt for the next used entry; false when one is there already. */
static bool race_want_interrupt(void)
{
	virtq_driver_set_used_event(&fix.drv, fix.drv.next_used);
	virtq_driver_set_avail_flags(&fix.drv, 0);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return virtq_driver_n_used(&fix.drv) == 0;
}

static unsigned int race_reap(struct race *race)
{
	unsigned int n = 0;

	virtq_driver_set_avail_flags(&fix.drv, VRING_AVAIL_F_NO_INTERRUPT);
	while (virtq_driver_used(&fix.drv, NULL, NULL))
		n++;
	if (n == 0 && race_want_interrupt() && !race_wait(&race->interrupt))
		race->lost++;
	return n;
}

START_TEST(no_kick_or_interrupt_is_lost)
{
	struct race race = {.lost = 0};
	struct virtq_piece piece = {0, 8, true};
	unsigned int sent = 0, done = 0;
	pthread_t thread;

	fix_make_queue(SIZE, _i ? EVENT_IDX : 0);
	piece.gpa = fix.buf;
	sem_init(&race.kick, 0, 0);
	sem_init(&race.interrupt, 0, 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, race_device, &race), 0);
	while (done < RACE_REQUESTS && race.lost == 0) {
		while (sent < RACE_REQUESTS && fix.drv.n_free > sent % 5) {
			virtq_driver_send(&fix.drv, &piece, 1);
			sent++;
			if (virtq_driver_needs_kick(&fix.drv, _i))
				sem_post(&race.kick);
		}
		done += race_reap(&race);
	}
	pthread_join(thread, NULL);
	ck_assert_uint_eq(race.lost, 0);
	ck_assert_uint_eq(done, RACE_REQUESTS);
	sem_destroy(&race.kick);
	sem_destroy(&race.interrupt);
}
END_TEST

/* Others have served the ring up to an index: what they left is taken, and the driver gets its used entries behind theirs. */
START_TEST(resumed_after_others)
{
	const struct virtq_piece piece = {fix.buf, 64, true};
	struct virtq others = fix.vq;
	uint16_t head;

	for (unsigned int i = 0; i < 5; i++) {
		virtq_driver_send(&fix.drv, &piece, 1);
		ck_assert_int_eq(virtq_pop(&others, &fix.chain, fix.iov, SIZE), 1);
		virtq_push(&others, fix.chain.head, 1);
		ck_assert(virtq_publish(&others));
		ck_assert(virtq_driver_used(&fix.drv, NULL, NULL));
	}
	head = virtq_driver_send(&fix.drv, &piece, 1);
	virtq_resume(&fix.vq, others.state.next_avail);
	ck_assert_int_eq(virtq_pop(&fix.vq, &fix.chain, fix.iov, SIZE), 1);
	ck_assert_uint_eq(fix.chain.head, head);
	ck_assert(!virtq_publish(&fix.vq));
	virtq_push(&fix.vq, head, 1);
	ck_assert(virtq_publish(&fix.vq));
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 1);
	ck_assert_int_eq(virtq_pop(&fix.vq, &fix.chain, fix.iov, SIZE), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_virtq_ring");
	TCase *tc = tcase_create("ring");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, pushed_is_hidden_until_published);
	tcase_add_test(tc, driver_turns_interrupts_off);
	tcase_add_test(tc, event_idx_ignores_the_flag);
	tcase_add_test(tc, event_idx_decides_by_crossing);
	tcase_add_test(tc, kicks_by_flag);
	tcase_add_test(tc, kicks_by_event);
	tcase_add_test(tc, resumed_after_others);
	tcase_add_loop_test(tc, indices_wrap, 0, (int)(sizeof(wrap_cases) / sizeof(wrap_cases[0])));
	tcase_add_loop_test(tc, no_kick_or_interrupt_is_lost, 0, 2);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
