/* vmm/core/msix: descriptors instead of raises, and raises that race with masks. */
#include "tests/unit/msix_fixture.h"

/* One who holds descriptors, as they were when it was told last. */
static int watched[N];

static void watch_moved(void *arg, unsigned int vector)
{
	watched[vector] = msix_fd(arg, vector);
}

static void watch(void)
{
	const struct msix_watch watch = {.moved = watch_moved, .arg = &msix};

	msix_set_watch(&msix, &watch);
	for (unsigned int v = 0; v < N; v++)
		watched[v] = msix_fd(&msix, v);
}

/* ---- descriptors instead of raises ---- */

/* Whatever makes the vector deaf takes the descriptor away from who holds it, and gives it back afterwards. */
START_TEST(test_fd)
{
	enum deafness how = (enum deafness)_i;

	watch();
	ck_assert_int_eq(watched[1], -1);
	msix_set_control(&msix, true, false);
	entry_set(1, 0xfee00000, 0x31, 0);
	ck_assert_int_eq(watched[1], 101);
	for (unsigned int round = 0; round < 3; round++) {
		set_deaf(how, true);
		ck_assert_int_eq(watched[1], -1);
		ck_assert_int_eq(msix_fd(&msix, 1), -1);
		set_deaf(how, false);
		ck_assert_int_eq(watched[1], 101);
	}
	for (unsigned int v = 0; v < N; v++)
		ck_assert_int_eq(msix_fd(&msix, v), v == 1 ? 101 : -1);
	ck_assert_int_eq(msix_fd(&msix, N), -1);
	ck_assert_int_eq(msix_fd(&msix, MSIX_NO_VECTOR), -1);
}
END_TEST

START_TEST(test_fd_route_fails)
{
	watch();
	msix_set_control(&msix, true, false);
	entry_set(1, 0xfee00000, 0x31, 0);
	host.route_error = -ENOSPC;
	entry_write(1, PCI_MSIX_ENTRY_DATA, 0x32);
	ck_assert_int_eq(watched[1], -1);
	host.route_error = 0;
	entry_write(1, PCI_MSIX_ENTRY_DATA, 0x33);
	ck_assert_int_eq(watched[1], 101);
}
END_TEST

START_TEST(test_fd_none)
{
	static const struct msix_ops without = {.route = host_route, .signal = host_signal};

	msix_fini(&msix);
	msix_init(&msix, N, &without);
	msix_set_control(&msix, true, false);
	entry_set(1, 0xfee00000, 0x31, 0);
	ck_assert_int_eq(msix_fd(&msix, 1), -1);
}
END_TEST

/* ---- races ---- */

#define N_RAISES  20000
#define N_AWAITED 3000

/* For each vector: raises that have begun, and how many had when its last signal came. */
static _Atomic unsigned int begun[N], seen[N];
static _Atomic bool racing, lost;

/* What an interrupt means to a driver: everything that had begun before it was raised can be seen now. */
static void race_signal(void *arg, unsigned int vector)
{
	unsigned int now = atomic_load(&begun[vector]), old = atomic_load(&seen[vector]);

	host_signal(arg, vector);
	while (old < now && !atomic_compare_exchange_weak(&seen[vector], &old, now))
		;
}

/* A device whose driver answers each interrupt before there is another. */
static void *raise_and_wait(void *arg)
{
	(void)arg;
	for (unsigned int i = 1; i <= N_AWAITED; i++) {
		uint64_t end = evloop_now() + 10000000000;

		atomic_store(&begun[1], i);
		msix_raise(&msix, 1);
		while (atomic_load(&seen[1]) < i && !atomic_load(&lost)) {
			sched_yield();
			if (evloop_now() > end)
				atomic_store(&lost, true);
		}
	}
	return NULL;
}

/* A device that raises as fast as it can. */
static void *raise_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < N_RAISES; i++) {
		atomic_fetch_add(&begun[2], 1);
		msix_raise(&msix, 2);
	}
	return NULL;
}

static void *mask_many(void *arg)
{
	(void)arg;
	for (uint32_t data = 0; atomic_load(&racing); data++) {
		unsigned int vector = 1 + data % 2;

		entry_write(vector, PCI_MSIX_ENTRY_VECTOR_CTRL, MASKED);
		entry_write(vector, PCI_MSIX_ENTRY_DATA, data);
		entry_write(vector, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
		msix_pba_read(&msix, 0, 8);
	}
	return NULL;
}

static void *mask_all_many(void *arg)
{
	(void)arg;
	while (atomic_load(&racing)) {
		msix_set_control(&msix, true, true);
		msix_set_control(&msix, true, false);
		msix_set_control(&msix, false, false);
		msix_set_control(&msix, true, false);
	}
	return NULL;
}

/* Devices raise while one vCPU masks and unmasks the vectors and another the function: no raise is lost, none doubled. */
START_TEST(test_race)
{
	static void *(*const fns[])(void *) = {mask_many, mask_all_many, raise_and_wait,
					       raise_many};
	const struct msix_ops race_ops = {.route = host_route, .signal = race_signal, .arg = &host};
	pthread_t threads[4];

	msix_fini(&msix);
	msix_init(&msix, N, &race_ops);
	msix_set_control(&msix, true, false);
	entry_set(1, 0xfee00000, 0x31, 0);
	entry_set(2, 0xfee00000, 0x32, 0);
	atomic_store(&racing, true);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, fns[i], NULL), 0);
	pthread_join(threads[2], NULL);
	pthread_join(threads[3], NULL);
	atomic_store(&racing, false);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	ck_assert(!atomic_load(&lost));
	ck_assert_uint_eq(host.signals[1], N_AWAITED);
	ck_assert_uint_eq(seen[2], N_RAISES);
	ck_assert_uint_le(host.signals[2], N_RAISES);
	ck_assert_uint_eq(msix_pba_read(&msix, 0, 8), 0);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/msix, descriptors and races");
	TCase *tc = tcase_create("msix");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_fd, 0, N_DEAFNESSES);
	tcase_add_test(tc, test_fd_route_fails);
	tcase_add_test(tc, test_fd_none);
	tcase_add_test(tc, test_race);
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
