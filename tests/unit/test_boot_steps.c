/* boot/steps: each step is done once, whoever helps; errors; and nobody goes while another is at work. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "boot/steps.h"
#include "tests/unit/run_suite.h"

#define N 200

static struct steps steps;
static atomic_uint done[N];
static atomic_uint working;
static unsigned int fails_at; /* N: never */
static pthread_t owner;
static atomic_uint by_others;

static void setup(void)
{
	steps_init(&steps);
	fails_at = N;
	owner = pthread_self();
}

static void teardown(void)
{
	steps_fini(&steps);
}

static int work(void *arg, unsigned int step)
{
	ck_assert_ptr_eq(arg, done);
	ck_assert_uint_lt(step, N);
	atomic_fetch_add(&working, 1);
	atomic_fetch_add(&done[step], 1);
	if (!pthread_equal(pthread_self(), owner))
		atomic_fetch_add(&by_others, 1);
	sched_yield();
	atomic_fetch_sub(&working, 1);
	return step == fails_at ? -EIO : 0;
}

static void *help(void *arg)
{
	steps_help(&steps);
	return arg;
}

START_TEST(test_alone)
{
	ck_assert_int_eq(steps_run(&steps, work, done, N), 0);
	for (unsigned int i = 0; i < N; i++)
		ck_assert_uint_eq(done[i], 1);
	ck_assert_int_eq(steps_run(&steps, work, done, 0), 0);
	ck_assert_uint_eq(done[0], 1);
	/* Who comes after the end need not wait. */
	steps_end(&steps);
	steps_help(&steps);
}
END_TEST

/* With as many helpers as the loop has, none too. */
START_TEST(test_helpers)
{
	pthread_t helpers[3];

	for (int i = 0; i < _i; i++)
		ck_assert_int_eq(pthread_create(&helpers[i], NULL, help, NULL), 0);
	/* until they have had a CPU, however long that takes */
	for (unsigned int round = 1; round <= 10 || (_i > 0 && by_others == 0); round++) {
		ck_assert_int_eq(steps_run(&steps, work, done, N), 0);
		/* What helpers had begun is done, too. */
		ck_assert_uint_eq(working, 0);
		for (unsigned int i = 0; i < N; i++)
			ck_assert_uint_eq(done[i], round);
	}
	steps_end(&steps);
	for (int i = 0; i < _i; i++)
		pthread_join(helpers[i], NULL);
	ck_assert(_i > 0 || by_others == 0);
}
END_TEST

static int nothing(void *arg, unsigned int step)
{
	(void)arg;
	(void)step;
	return 0;
}

/* So short that helpers come when all is done: a crash in one of a million times, a report by ThreadSanitizer in each. */
START_TEST(test_short_runs)
{
	pthread_t helpers[3];

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&helpers[i], NULL, help, NULL), 0);
	for (unsigned int run = 0; run < 20000; run++)
		ck_assert_int_eq(steps_run(&steps, nothing, NULL, 1 + run % 64), 0);
	steps_end(&steps);
	for (int i = 0; i < 3; i++)
		pthread_join(helpers[i], NULL);
}
END_TEST

/* The first error ends it; what others were at is waited for. Alone it is known how far it got. */
START_TEST(test_error)
{
	pthread_t helper;
	unsigned int all = 0;

	fails_at = 10;
	if (_i == 1)
		ck_assert_int_eq(pthread_create(&helper, NULL, help, NULL), 0);
	ck_assert_int_eq(steps_run(&steps, work, done, N), -EIO);
	ck_assert_uint_eq(working, 0);
	for (unsigned int i = 0; i < N; i++) {
		ck_assert_uint_le(done[i], 1);
		all += done[i];
	}
	ck_assert_uint_ge(all, 11);
	if (_i == 0)
		ck_assert_uint_eq(all, 11);
	/* and the next run knows nothing of it */
	fails_at = N;
	ck_assert_int_eq(steps_run(&steps, work, done, 5), 0);
	steps_end(&steps);
	if (_i == 1)
		pthread_join(helper, NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot/steps");
	TCase *tc = tcase_create("steps");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_alone);
	tcase_add_loop_test(tc, test_helpers, 0, 4);
	tcase_add_test(tc, test_short_runs);
	tcase_add_loop_test(tc, test_error, 0, 2);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
