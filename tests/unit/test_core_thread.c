/* Threads with a name and without rights, and the thread that starts others. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "vmm/core/thread.h"

#define MANY 16

struct seen {
	struct thread_rights rights;
	bool refuse;
	_Atomic int dropped;
	_Atomic int ran;
	char name[16]; /* of the thread, when it gave its rights up */
	pthread_t dropped_by;
	sigset_t blocked;
};

static bool drop(const struct thread_rights *rights)
{
	struct seen *seen = (struct seen *)(uintptr_t)rights;

	prctl(PR_GET_NAME, seen->name);
	seen->dropped_by = pthread_self();
	seen->dropped++;
	return !seen->refuse;
}

static void *run(void *arg)
{
	struct seen *seen = arg;

	pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
	seen->ran++;
	return NULL;
}

START_TEST(test_name_first_then_rights_then_work)
{
	struct seen seen = {.rights.drop = drop};
	pthread_t thread;

	ck_assert_int_eq(
		thread_start(&thread, "fifteen-letters-and-more", run, &seen, &seen.rights), 0);
	pthread_join(thread, NULL);
	ck_assert_str_eq(seen.name, "fifteen-letters");
	ck_assert_int_eq(seen.dropped, 1);
	ck_assert_int_eq(seen.ran, 1);
}
END_TEST

START_TEST(test_refused_rights_mean_no_work)
{
	struct seen seen = {.rights.drop = drop, .refuse = true};
	pthread_t thread;

	ck_assert_int_eq(thread_start(&thread, "refused", run, &seen, &seen.rights), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(seen.dropped, 1);
	ck_assert_int_eq(seen.ran, 0);
}
END_TEST

/* A refused system call must reach the program's handler. */
START_TEST(test_signals_of_a_crash_are_open)
{
	struct seen seen = {.refuse = false};
	pthread_t thread;

	ck_assert_int_eq(thread_start(&thread, "signals", run, &seen, NULL), 0);
	pthread_join(thread, NULL);
	ck_assert(!sigismember(&seen.blocked, SIGSYS));
	ck_assert(!sigismember(&seen.blocked, SIGSEGV));
	ck_assert(sigismember(&seen.blocked, SIGTERM));
	ck_assert(sigismember(&seen.blocked, SIGURG));
}
END_TEST

START_TEST(test_without_a_starter)
{
	struct thread_starter stopped = {.running = false};
	struct seen seen = {.refuse = false};
	pthread_t thread;

	ck_assert_int_eq(thread_starter_run(NULL, &thread, "here", run, &seen, NULL), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(thread_starter_run(&stopped, &thread, "here", run, &seen, NULL), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(seen.ran, 2);
	thread_starter_stop(&stopped);
}
END_TEST

/* The starter gives its rights up first; those that it starts have their own. */
START_TEST(test_starter)
{
	struct seen own = {.rights.drop = drop}, started = {.rights.drop = drop};
	struct thread_starter starter;
	pthread_t thread;

	ck_assert_int_eq(thread_starter_start(&starter, &own.rights), 0);
	ck_assert_int_eq(
		thread_starter_run(&starter, &thread, "one", run, &started, &started.rights), 0);
	pthread_join(thread, NULL);
	ck_assert_int_eq(own.dropped, 1);
	ck_assert_str_eq(own.name, "vmm-starter");
	ck_assert_int_eq(started.dropped, 1);
	ck_assert_int_eq(started.ran, 1);
	ck_assert_str_eq(started.name, "one");
	ck_assert(!pthread_equal(started.dropped_by, own.dropped_by));
	thread_starter_stop(&starter);
	thread_starter_stop(&starter);
}
END_TEST

struct asker {
	struct thread_starter *starter;
	struct seen *seen;
	pthread_t thread;
};

static void *ask(void *arg)
{
	struct asker *asker = arg;
	pthread_t thread;

	for (unsigned int i = 0; i < MANY; i++) {
		if (thread_starter_run(asker->starter, &thread, "many", run, asker->seen, NULL) < 0)
			abort();
		pthread_join(thread, NULL);
	}
	return NULL;
}

START_TEST(test_many_ask_at_once)
{
	struct seen own = {.rights.drop = drop}, started = {.rights.drop = drop};
	struct asker askers[MANY];
	struct thread_starter starter;

	ck_assert_int_eq(thread_starter_start(&starter, &own.rights), 0);
	for (unsigned int i = 0; i < MANY; i++) {
		askers[i] = (struct asker){.starter = &starter, .seen = &started};
		ck_assert_int_eq(thread_start(&askers[i].thread, "asker", ask, &askers[i], NULL),
				 0);
	}
	for (unsigned int i = 0; i < MANY; i++)
		pthread_join(askers[i].thread, NULL);
	ck_assert_int_eq(started.ran, MANY * MANY);
	thread_starter_stop(&starter);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("thread");
	TCase *tc = tcase_create("thread");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_name_first_then_rights_then_work);
	tcase_add_test(tc, test_refused_rights_mean_no_work);
	tcase_add_test(tc, test_signals_of_a_crash_are_open);
	tcase_add_test(tc, test_without_a_starter);
	tcase_add_test(tc, test_starter);
	tcase_add_test(tc, test_many_ask_at_once);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
