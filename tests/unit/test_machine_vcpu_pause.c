/* vmm/machine/vcpu_pause: threads that are interrupted as those of vCPUs are, without a guest. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "vmm/core/evloop.h"
#include "vmm/machine/vcpu.h"

#define N 3

static struct vcpu_pause pause_;
static struct vcpu vcpus[N];
static _Atomic unsigned long steps[N];
static _Atomic int pause_itself; /* 1: it shall, 2: it did */

/* KVM_RUN, for which this is the guest: it goes on until it is interrupted. */
static void run_guest(unsigned int i)
{
	const struct timespec no_time = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, VCPU_KICK_SIGNAL);
	do
		atomic_fetch_add(&steps[i], 1);
	while (sigtimedwait(&set, NULL, &no_time) < 0);
}

static void *vcpu_run(void *arg)
{
	struct vcpu *vcpu = arg;

	vcpu_pause_enter(vcpu);
	while (!vcpu_must_stop(vcpu)) {
		run_guest(vcpu->index);
		vcpu_pause_pass(vcpu);
		if (vcpu->index == 0 && atomic_load(&pause_itself) == 1) {
			vcpu_pause_begin(&pause_);
			atomic_store(&pause_itself, 2);
		}
	}
	vcpu_pause_leave(vcpu);
	return NULL;
}

static void make(void)
{
	vcpu_pause_init(&pause_, vcpus, N);
	for (unsigned int i = 0; i < N; i++)
		vcpus[i] = (struct vcpu){.index = i, .host.pause = &pause_};
}

static void start(void)
{
	for (unsigned int i = 0; i < N; i++) {
		ck_assert_int_eq(thread_start(&vcpus[i].thread, "vcpu", vcpu_run, &vcpus[i], NULL),
				 0);
		vcpus[i].running = true;
	}
}

static void setup(void)
{
	make();
	start();
}

static void end(void)
{
	for (unsigned int i = 0; i < N; i++)
		vcpu_request_stop(&vcpus[i]);
	vcpu_pause_let_out(&pause_);
	for (unsigned int i = 0; i < N; i++)
		vcpu_join(&vcpus[i]);
}

static void teardown(void)
{
	end();
	vcpu_pause_fini(&pause_);
}

static void wait_ms(long ms)
{
	const struct timespec t = {.tv_nsec = ms * 1000000};

	nanosleep(&t, NULL);
}

static void must_run(void)
{
	for (unsigned int i = 0; i < N; i++) {
		unsigned long before = atomic_load(&steps[i]);

		while (atomic_load(&steps[i]) == before)
			wait_ms(1);
	}
}

static void must_stand(void)
{
	unsigned long before[N];

	for (unsigned int i = 0; i < N; i++)
		before[i] = atomic_load(&steps[i]);
	wait_ms(20);
	for (unsigned int i = 0; i < N; i++)
		ck_assert_uint_eq(atomic_load(&steps[i]), before[i]);
}

START_TEST(all_stop_and_go_on)
{
	for (int i = 0; i < 3; i++) {
		must_run();
		vcpu_pause_begin(&pause_);
		vcpu_pause_wait(&pause_);
		must_stand();
		vcpu_pause_end(&pause_);
	}
	must_run();
}
END_TEST

START_TEST(the_last_of_two_resumes)
{
	must_run();
	vcpu_pause_begin(&pause_);
	vcpu_pause_wait(&pause_);
	vcpu_pause_begin(&pause_);
	vcpu_pause_wait(&pause_);
	vcpu_pause_end(&pause_);
	must_stand();
	vcpu_pause_end(&pause_);
	must_run();
}
END_TEST

START_TEST(a_vcpu_stops_all_and_itself)
{
	must_run();
	atomic_store(&pause_itself, 1);
	vcpu_pause_begin(&pause_); /* has it leave the guest */
	vcpu_pause_end(&pause_);
	while (atomic_load(&pause_itself) != 2)
		wait_ms(1);
	vcpu_pause_begin(&pause_);
	vcpu_pause_wait(&pause_);
	vcpu_pause_end(&pause_);
	must_stand(); /* by its own pause */
	vcpu_pause_end(&pause_);
	must_run();
}
END_TEST

START_TEST(the_end_passes_a_pause)
{
	must_run();
	vcpu_pause_begin(&pause_);
	vcpu_pause_wait(&pause_);
	end();
	must_stand();
	vcpu_pause_wait(&pause_); /* those that ended count as stopped */
	vcpu_pause_end(&pause_);
}
END_TEST

START_TEST(a_pause_before_the_start)
{
	teardown();
	for (unsigned int i = 0; i < N; i++)
		atomic_store(&steps[i], 0);
	make();
	vcpu_pause_begin(&pause_);
	vcpu_pause_wait(&pause_);
	start();
	must_stand();
	for (unsigned int i = 0; i < N; i++)
		ck_assert_uint_eq(atomic_load(&steps[i]), 0);
	vcpu_pause_end(&pause_);
	must_run();
}
END_TEST

/* All but one run. */
static void only_stands(unsigned int held)
{
	unsigned long before = atomic_load(&steps[held]);

	for (unsigned int i = 0; i < N; i++) {
		unsigned long now = atomic_load(&steps[i]);

		while (i != held && atomic_load(&steps[i]) == now)
			wait_ms(1);
	}
	ck_assert_uint_eq(atomic_load(&steps[held]), before);
}

START_TEST(a_held_vcpu_stands_when_the_others_run)
{
	must_run();
	for (unsigned int held = 0; held < N; held++) {
		vcpu_pause_begin(&pause_);
		vcpu_pause_wait(&pause_);
		for (unsigned int i = 0; i < N; i++)
			vcpu_pause_hold(&vcpus[i], i == held);
		vcpu_pause_end(&pause_);
		only_stands(held);
		/* another's pause does not let it go */
		vcpu_pause_begin(&pause_);
		vcpu_pause_wait(&pause_);
		must_stand();
		vcpu_pause_end(&pause_);
		only_stands(held);
	}
	vcpu_pause_begin(&pause_);
	vcpu_pause_wait(&pause_);
	vcpu_pause_hold(&vcpus[N - 1], false);
	vcpu_pause_end(&pause_);
	must_run();
}
END_TEST

/* ---- a loop that is told ---- */

static struct evloop loop;
static _Atomic unsigned int told;

static void on_out(void *arg)
{
	(void)arg;
	atomic_fetch_add(&told, 1);
}

static struct evloop_task out = {.fn = on_out};

static void start_loop(void)
{
	atomic_store(&told, 0);
	ck_assert_int_eq(evloop_init(&loop), 0);
	ck_assert_int_eq(evloop_start(&loop, "loop"), 0);
}

static void end_loop(void)
{
	evloop_stop(&loop);
	evloop_fini(&loop);
}

static void must_tell(unsigned int times)
{
	for (int ms = 0; atomic_load(&told) < times; ms++) {
		ck_assert_int_lt(ms, 10000);
		wait_ms(1);
	}
	wait_ms(20);
	ck_assert_uint_eq(atomic_load(&told), times);
}

START_TEST(a_loop_is_told_when_all_stand)
{
	start_loop();
	for (unsigned int i = 1; i <= 3; i++) {
		must_run();
		ck_assert_uint_eq(atomic_load(&told), i - 1);
		vcpu_pause_begin(&pause_);
		vcpu_pause_ask(&pause_, &loop, &out);
		must_tell(i);
		must_stand();
		vcpu_pause_end(&pause_);
	}
	end_loop();
}
END_TEST

START_TEST(a_loop_is_told_at_once_when_they_stand_already)
{
	start_loop();
	must_run();
	vcpu_pause_begin(&pause_);
	vcpu_pause_wait(&pause_);
	vcpu_pause_ask(&pause_, &loop, &out);
	must_tell(1);
	vcpu_pause_end(&pause_);
	end_loop();
}
END_TEST

START_TEST(a_loop_is_told_of_the_end)
{
	start_loop();
	must_run();
	for (unsigned int i = 0; i < N; i++)
		vcpu_request_stop(&vcpus[i]);
	vcpu_pause_let_out(&pause_);
	vcpu_pause_ask(&pause_, &loop, &out);
	must_tell(1);
	for (unsigned int i = 0; i < N; i++)
		vcpu_join(&vcpus[i]);
	end_loop();
}
END_TEST

START_TEST(the_end_passes_one_that_is_held)
{
	must_run();
	vcpu_pause_begin(&pause_);
	vcpu_pause_wait(&pause_);
	vcpu_pause_hold(&vcpus[1], true);
	vcpu_pause_end(&pause_);
	only_stands(1);
	end();
}
END_TEST

static void *pause_often(void *arg)
{
	(void)arg;
	for (int i = 0; i < 1000; i++) {
		unsigned long before;

		vcpu_pause_begin(&pause_);
		vcpu_pause_wait(&pause_);
		before = atomic_load(&steps[i % N]);
		sched_yield();
		if (atomic_load(&steps[i % N]) != before)
			return &pause_;
		vcpu_pause_end(&pause_);
	}
	return NULL;
}

/* The end comes while two pause again and again; neither waits for ever. */
START_TEST(two_pausers_and_the_end)
{
	pthread_t threads[2];
	void *failed;

	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, pause_often, NULL), 0);
	wait_ms(_i);
	end();
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], &failed);
		ck_assert_ptr_null(failed);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine/vcpu_pause");
	TCase *tc = tcase_create("pause");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, all_stop_and_go_on);
	tcase_add_test(tc, the_last_of_two_resumes);
	tcase_add_test(tc, a_vcpu_stops_all_and_itself);
	tcase_add_test(tc, the_end_passes_a_pause);
	tcase_add_test(tc, a_pause_before_the_start);
	tcase_add_test(tc, a_held_vcpu_stands_when_the_others_run);
	tcase_add_test(tc, the_end_passes_one_that_is_held);
	tcase_add_test(tc, a_loop_is_told_when_all_stand);
	tcase_add_test(tc, a_loop_is_told_at_once_when_they_stand_already);
	tcase_add_test(tc, a_loop_is_told_of_the_end);
	tcase_add_loop_test(tc, two_pausers_and_the_end, 0, 8);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
