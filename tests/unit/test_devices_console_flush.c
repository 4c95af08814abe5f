/* The console's output at the machine's end: how long it waits for who reads it. */
#include "tests/unit/console_fixture.h"

#define FLOOD (2 * 1024 * 1024) /* more than ring, pipe and socket buffers together */

START_TEST(test_flush_is_bounded)
{
	uint64_t begin;
	int p[2];

	make_pipe(p);
	rig_start(-1, p[1], false);
	guest_sends(FLOOD, 300);
	begin = evloop_now();
	console_flush(&rig.console, 100);
	ck_assert_uint_ge(evloop_now() - begin, 100 * MS);
	ck_assert_uint_lt(evloop_now() - begin, 2000 * MS);
	ck_assert_int_eq(atomic_load(&rig.logs), 1);
	rig_stop();
}
END_TEST

#define TAKEN	     8192 /* at a time, while the ring is drained */
#define TAKE_PAUSE   250  /* ms */
#define TAKE_PAUSES  (CONSOLE_OUTPUT_SIZE / TAKEN)
#define TAKE_TIMEOUT (6 * TAKE_PAUSE)

static void *slow_reader(void *arg)
{
	static size_t got;

	for (int i = 0; i < TAKE_PAUSES; i++) {
		nap(TAKE_PAUSE);
		got += host_reads(*(int *)arg, rig.got + got, TAKEN, 0);
	}
	got += host_reads(*(int *)arg, rig.got + got, sizeof(rig.got) - got, 5000);
	return &got;
}

/* Who takes some within each timeout gets all, though it takes longer than that. */
START_TEST(test_flush_waits_for_a_slow_reader)
{
	pthread_t thread;
	uint64_t begin;
	size_t sent;
	void *got;
	int p[2];

	make_pipe(p);
	fcntl(p[0], F_SETPIPE_SZ, 65536);
	rig_start(-1, p[1], false);
	sent = guest_sends(FLOOD, 300);
	ck_assert_int_eq(pthread_create(&thread, NULL, slow_reader, &p[0]), 0);
	begin = evloop_now();
	console_flush(&rig.console, TAKE_TIMEOUT);
	ck_assert_uint_gt(evloop_now() - begin, TAKE_TIMEOUT * MS);
	ck_assert_int_eq(atomic_load(&rig.logs), 0);
	rig_stop();
	close(p[1]);
	pthread_join(thread, &got);
	ck_assert_uint_eq(*(size_t *)got, sent);
	ck_assert(memcmp(rig.got, rig.data, sent) == 0);
}
END_TEST

static void *slower_reader(void *arg)
{
	for (int i = 0; i < 30; i++) {
		nap(100);
		host_reads(*(int *)arg, rig.got, 4096, 0);
	}
	return NULL;
}

/* But not for ever. */
START_TEST(test_flush_ends_with_a_slow_reader)
{
	pthread_t thread;
	uint64_t begin;
	int p[2];

	make_pipe(p);
	fcntl(p[0], F_SETPIPE_SZ, 65536);
	rig_start(-1, p[1], false);
	guest_sends(FLOOD, 300);
	ck_assert_int_eq(pthread_create(&thread, NULL, slower_reader, &p[0]), 0);
	begin = evloop_now();
	console_flush(&rig.console, 200);
	ck_assert_uint_ge(evloop_now() - begin, 400 * MS);
	ck_assert_uint_lt(evloop_now() - begin, 1200 * MS);
	ck_assert_int_eq(atomic_load(&rig.logs), 1);
	pthread_join(thread, NULL);
	rig_stop();
}
END_TEST

static void *hurrying(void *arg)
{
	nap(100);
	console_hurry(arg);
	return NULL;
}

START_TEST(test_flush_in_a_hurry)
{
	pthread_t thread;
	uint64_t begin;
	int p[2];

	make_pipe(p);
	rig_start(-1, p[1], false);
	guest_sends(FLOOD, 300);
	ck_assert_int_eq(pthread_create(&thread, NULL, hurrying, &rig.console), 0);
	begin = evloop_now();
	console_flush(&rig.console, 10000);
	ck_assert_uint_lt(evloop_now() - begin, 2000 * MS);
	ck_assert_int_eq(atomic_load(&rig.logs), 1);
	pthread_join(thread, NULL);
	rig_stop();
}
END_TEST

/* Without a running loop, on this thread, whose SIGPIPE would kill us. */
START_TEST(test_flush_without_loop)
{
	sigset_t pending;
	int p[2];

	make_pipe(p);
	ck_assert_int_eq(rig_init(-1, p[1], false), 0);
	rig.console.serial = &rig.serial;
	guest_sends(1000, 100);
	console_flush(&rig.console, 100);
	ck_assert_uint_eq(host_reads(p[0], rig.got, 1000, 100), 1000);
	ck_assert_mem_eq(rig.got, rig.data, 1000);
	close(p[0]);
	signal(SIGPIPE, SIG_DFL);
	out(UART_TX, 'x');
	console_flush(&rig.console, 100);
	ck_assert_int_eq(atomic_load(&rig.logs), 1);
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
	rig_stop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("devices/console_flush");
	TCase *tc = add_case(suite, "flush");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_flush_is_bounded);
	tcase_add_test(tc, test_flush_waits_for_a_slow_reader);
	tcase_add_test(tc, test_flush_ends_with_a_slow_reader);
	tcase_add_test(tc, test_flush_in_a_hurry);
	tcase_add_test(tc, test_flush_without_loop);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
