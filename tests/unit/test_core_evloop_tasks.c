/* vmm/core/evloop: tasks, calls, and the loop's life. */
#include "tests/unit/evloop_fixture.h"

/* ---- tasks ---- */

#define N_THREADS 4
#define N_TASKS	  500

static struct job {
	struct evloop_task task;
	unsigned int runs;
	unsigned int place;
} jobs[N_THREADS][N_TASKS];

static unsigned int n_ran;

static void on_job(void *arg)
{
	struct job *job = arg;

	job->runs++;
	job->place = ++n_ran;
}

static void setup_jobs(void)
{
	setup();
	n_ran = 0;
	for (int t = 0; t < N_THREADS; t++)
		for (int i = 0; i < N_TASKS; i++)
			jobs[t][i] = (struct job){.task = {.fn = on_job, .arg = &jobs[t][i]}};
}

static void *post_jobs(void *arg)
{
	struct job *mine = arg;

	for (int i = 0; i < N_TASKS; i++)
		evloop_post(&loop, &mine[i].task);
	return NULL;
}

/* From many threads: every task runs once, each thread's in its order. */
START_TEST(test_post)
{
	pthread_t threads[N_THREADS];

	start();
	for (int t = 0; t < N_THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, post_jobs, jobs[t]), 0);
	for (int t = 0; t < N_THREADS; t++)
		pthread_join(threads[t], NULL);
	evloop_settle(&loop);
	evloop_stop(&loop);
	ck_assert_uint_eq(n_ran, N_THREADS * N_TASKS);
	for (int t = 0; t < N_THREADS; t++) {
		for (int i = 0; i < N_TASKS; i++) {
			ck_assert_uint_eq(jobs[t][i].runs, 1);
			if (i > 0)
				ck_assert_uint_gt(jobs[t][i].place, jobs[t][i - 1].place);
		}
	}
}
END_TEST

static void *post_one(void *arg)
{
	for (int i = 0; i < N_TASKS; i++)
		evloop_post(&loop, arg);
	return NULL;
}

/* One task from many threads: at least once after the last post, never twice for one. */
START_TEST(test_post_same)
{
	pthread_t threads[N_THREADS];

	start();
	for (int t = 0; t < N_THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, post_one, &jobs[0][0].task), 0);
	for (int t = 0; t < N_THREADS; t++)
		pthread_join(threads[t], NULL);
	evloop_settle(&loop);
	n_ran = 0;
	evloop_post(&loop, &jobs[0][0].task);
	evloop_stop(&loop);
	ck_assert_uint_eq(n_ran, 1);
	ck_assert_uint_ge(jobs[0][0].runs, 2);
	ck_assert_uint_le(jobs[0][0].runs, N_THREADS * N_TASKS + 1);
}
END_TEST

/* Queued while queued does nothing, at the head, in the middle and at the tail. */
START_TEST(test_post_twice)
{
	static const unsigned int order[] = {0, 1, 2, 2, 1, 0, 1};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		evloop_post(&loop, &jobs[0][order[i]].task);
	start();
	evloop_settle(&loop);
	evloop_stop(&loop);
	for (unsigned int i = 0; i < 3; i++) {
		ck_assert_uint_eq(jobs[0][i].runs, 1);
		ck_assert_uint_eq(jobs[0][i].place, i + 1);
	}
}
END_TEST

static void on_repeat(void *arg)
{
	struct job *job = arg;

	if (++job->runs < 5)
		evloop_post(&loop, &job->task);
}

START_TEST(test_post_from_itself)
{
	jobs[0][0].task.fn = on_repeat;
	start();
	evloop_post(&loop, &jobs[0][0].task);
	evloop_stop(&loop);
	ck_assert_uint_eq(jobs[0][0].runs, 5);
}
END_TEST

/* What is posted to a loop that has stopped may be freed at once, and what was posted too late before too. */
START_TEST(test_post_after_stop)
{
	start();
	evloop_stop(&loop);
	for (unsigned int i = 0; i < 3; i++) {
		struct job *freed = calloc(1, sizeof(*freed));

		freed->task = (struct evloop_task){.fn = on_job, .arg = freed};
		evloop_post(&loop, &freed->task);
		ck_assert(!freed->task.queued);
		free(freed);
	}
	start();
	evloop_post(&loop, &jobs[0][0].task);
	evloop_stop(&loop);
	ck_assert_uint_eq(n_ran, 1);
}
END_TEST

/* ---- calls ---- */

static void on_call(void *arg)
{
	*(pthread_t *)arg = pthread_self();
}

START_TEST(test_call)
{
	pthread_t who = 0;

	evloop_call(&loop, on_call, &who);
	ck_assert(pthread_equal(who, pthread_self()));
	start();
	evloop_call(&loop, on_call, &who);
	ck_assert(pthread_equal(who, loop.thread));
	ck_assert(!pthread_equal(who, pthread_self()));
	evloop_stop(&loop);
	evloop_call(&loop, on_call, &who);
	ck_assert(pthread_equal(who, pthread_self()));
}
END_TEST

/* A task of before the start may run before evloop_start() has returned. */
static void on_call_again(void *arg)
{
	evloop_call(&loop, on_call, arg);
}

START_TEST(test_call_at_the_start)
{
	for (int i = 0; i < 100; i++) {
		pthread_t who = pthread_self();
		struct evloop_task task = {.fn = on_call_again, .arg = &who};

		evloop_post(&loop, &task);
		ck_assert_int_eq(evloop_start(&loop, "test-loop"), 0);
		evloop_stop(&loop);
		ck_assert(!pthread_equal(who, pthread_self()));
		evloop_fini(&loop);
		ck_assert_int_eq(evloop_init(&loop), 0); /* one that has stopped takes no tasks */
	}
}
END_TEST

static void on_count(void *arg)
{
	++*(unsigned int *)arg;
}

static void *call_many(void *arg)
{
	for (int i = 0; i < N_TASKS; i++)
		evloop_call(&loop, on_count, arg);
	return NULL;
}

START_TEST(test_call_many_threads)
{
	pthread_t threads[N_THREADS];
	unsigned int count = 0;

	start();
	for (int t = 0; t < N_THREADS; t++)
		ck_assert_int_eq(pthread_create(&threads[t], NULL, call_many, &count), 0);
	for (int t = 0; t < N_THREADS; t++)
		pthread_join(threads[t], NULL);
	ck_assert_uint_eq(count, N_THREADS * N_TASKS);
}
END_TEST

/* ---- life ---- */

static void on_slow(void *arg)
{
	usleep(20000);
	on_job(arg);
}

/* What was queued before the stop runs before the join, although the loop was busy meanwhile. */
START_TEST(test_stop_runs_queued)
{
	jobs[0][0].task.fn = on_slow;
	start();
	for (int i = 0; i < N_TASKS; i++)
		evloop_post(&loop, &jobs[0][i].task);
	evloop_stop(&loop);
	ck_assert_uint_eq(n_ran, N_TASKS);
	evloop_stop(&loop); /* idempotent */
	/* Too late: it stays queued, and its owner may free the loop. */
	evloop_post(&loop, &jobs[1][0].task);
	ck_assert_uint_eq(n_ran, N_TASKS);
}
END_TEST

START_TEST(test_restart)
{
	add(&sources[0]);
	for (unsigned int round = 1; round <= 20; round++) {
		start();
		source_signal(&sources[0]);
		evloop_post(&loop, &jobs[0][0].task);
		evloop_settle(&loop);
		ck_assert_uint_eq(sources[0].calls, round);
		evloop_stop(&loop);
		ck_assert_uint_eq(jobs[0][0].runs, round);
	}
}
END_TEST

START_TEST(test_stop_at_once)
{
	evloop_stop(&loop);
	for (int i = 0; i < 50; i++) {
		start();
		evloop_stop(&loop);
	}
}
END_TEST

static void on_signals(void *arg)
{
	pthread_sigmask(SIG_BLOCK, NULL, arg);
}

static void on_name(void *arg)
{
	pthread_getname_np(pthread_self(), arg, 16);
}

/* The thread blocks every signal, its creator none that it did not block before; it bears its name. */
START_TEST(test_thread)
{
	sigset_t mine, its;
	char name[16] = "";

	ck_assert_int_eq(evloop_start(&loop, "vmm-disk12"), 0);
	evloop_call(&loop, on_name, name);
	ck_assert_str_eq(name, "vmm-disk12");
	evloop_call(&loop, on_signals, &its);
	pthread_sigmask(SIG_BLOCK, NULL, &mine);
	ck_assert_int_eq(sigismember(&its, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&its, SIGINT), 1);
	ck_assert_int_eq(sigismember(&its, SIGRTMAX), 1);
	ck_assert_int_eq(sigismember(&mine, SIGTERM), 0);
}
END_TEST

/* No descriptors left in the process: an error, and nothing is leaked. */
START_TEST(test_init_without_descriptors)
{
	struct rlimit limit = {0};
	struct evloop other;
	int lowest = dup(0);

	close(lowest);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = (rlim_t)lowest + (rlim_t)_i;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(evloop_init(&other), -EMFILE);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(dup(0), lowest);
	close(lowest);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/evloop, tasks and life");
	TCase *tasks = tcase_create("tasks");

	tcase_add_checked_fixture(tasks, setup_jobs, teardown);
	tcase_add_test(tasks, test_post);
	tcase_add_test(tasks, test_post_same);
	tcase_add_test(tasks, test_post_twice);
	tcase_add_test(tasks, test_post_from_itself);
	tcase_add_test(tasks, test_post_after_stop);
	tcase_add_test(tasks, test_call);
	tcase_add_test(tasks, test_call_at_the_start);
	tcase_add_test(tasks, test_call_many_threads);
	tcase_add_test(tasks, test_stop_runs_queued);
	tcase_add_test(tasks, test_restart);
	tcase_add_test(tasks, test_stop_at_once);
	tcase_add_test(tasks, test_thread);
	tcase_add_loop_test(tasks, test_init_without_descriptors, 0, 2);
	suite_add_tcase(s, tasks);
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
