/* virtio/disk_queue with each engine: the loop that does not wait, and requests that are in flight at the end. */
#include "tests/unit/disk_queue_fixture.h"

/* ---- tests ---- */

/* Storage that does not answer keeps neither the loop nor a reset from going on. */
START_TEST(the_loop_does_not_wait)
{
	setup_queue(engines[_i], false);
	fill_all(REQUESTS, DISK_WRITE);
	gated = true;
	submit(REQUESTS);
	while (at_gate == 0)
		usleep(100);
	evloop_call(&loop, find_thread, NULL); /* is answered */
	ck_assert_uint_eq(n_done, 0);
	gated = false;
	for (unsigned int i = 0; i < DISK_POOL_THREADS; i++)
		sem_post(&gate);
	await_all();
	assert_all(REQUESTS, 0);
	teardown_queue();
}
END_TEST

static void cancel(void *arg)
{
	(void)arg;
	disk_queue_cancel(&queue);
}

static void submit_and_cancel(void *arg)
{
	submit_all(arg);
	disk_queue_cancel(&queue);
}

START_TEST(cancelling_drops_what_has_not_begun)
{
	unsigned int canceled = 0;

	setup_queue(engines[_i], false);
	fill_all(REQUESTS, DISK_WRITE);
	gated = true;
	submit(REQUESTS);
	while (at_gate == 0)
		usleep(100);
	evloop_call(&loop, cancel, NULL);
	ck_assert_int_eq(sem_trywait(&idle), -1); /* one has begun */
	gated = false;
	for (unsigned int i = 0; i < DISK_POOL_THREADS; i++)
		sem_post(&gate);
	await(&idle);
	await_all();
	for (unsigned int i = 0; i < REQUESTS; i++) {
		ck_assert(slots[i].err == 0 || slots[i].err == -ECANCELED);
		canceled += slots[i].err == -ECANCELED;
	}
	ck_assert_uint_ge(canceled, REQUESTS - at_gate);
	evloop_call(&loop, cancel, NULL); /* nothing in flight: at once */
	ck_assert_int_eq(sem_trywait(&idle), 0);
	run_all(REQUESTS); /* and it works again */
	assert_all(REQUESTS, 0);
	teardown_queue();
}
END_TEST

START_TEST(cancelling_at_any_moment)
{
	setup_queue(engines[_i], false);
	for (unsigned int round = 0; round < 200; round++) {
		fill_all(REQUESTS, round % 2 ? DISK_READ : DISK_WRITE);
		n_submit = round;
		for (unsigned int i = 0; i < n_submit; i++)
			slots[i].done = 0;
		evloop_call(&loop, submit_and_cancel, NULL);
		await(&idle);
		ck_assert_uint_eq(n_done, n_submit);
		while (sem_trywait(&all_done) == 0)
			;
	}
	teardown_queue();
}
END_TEST

/* Work that nobody waits for any more when the machine ends. */
START_TEST(ends_with_requests_in_flight)
{
	for (unsigned int n = 0; n < REQUESTS; n += 37) {
		setup_queue(engines[_i], false);
		fill_all(n, n % 2 ? DISK_WRITE : DISK_READ);
		submit(n);
		teardown_queue();
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_disk_queue, cancelling");
	TCase *tc = tcase_create("engines");

	tcase_set_timeout(tc, 30);
	tcase_add_loop_test(tc, the_loop_does_not_wait, 0, FIRST_BLOCKING);
	tcase_add_loop_test(tc, cancelling_drops_what_has_not_begun, 0, FIRST_BLOCKING);
	tcase_add_loop_test(tc, cancelling_at_any_moment, 0, N_ENGINES);
	tcase_add_loop_test(tc, ends_with_requests_in_flight, 0, N_ENGINES);
	suite_add_tcase(s, tc);
	return run(s);
}
