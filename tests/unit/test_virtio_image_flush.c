/* virtio/image_flush: one flush at a time, none that began before its caller came, and an error that the kernel tells once is for all. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/run_suite.h"
#include "virtio/image_flush.h"

static struct image_flush flush;
static atomic_int inside, calls;
static atomic_uint written, stable; /* as the storage knows them */

static void setup(void)
{
	image_flush_init(&flush);
}

static void teardown(void)
{
	image_flush_fini(&flush);
}

/* What is written when it begins is stable when it ends. */
static int store(void *arg, bool *lost)
{
	unsigned int now = written;

	ck_assert_ptr_eq(arg, &flush);
	ck_assert(!*lost);
	ck_assert_int_eq(atomic_fetch_add(&inside, 1), 0);
	calls++;
	usleep(1000);
	stable = now;
	atomic_fetch_sub(&inside, 1);
	return 0;
}

static void *writer(void *arg)
{
	for (int i = 0; i < 50; i++) {
		unsigned int mine = atomic_fetch_add(&written, 1) + 1;
		bool lost = true;

		ck_assert_int_eq(image_flush_run(&flush, store, &flush, &lost), 0);
		ck_assert(!lost);
		ck_assert_uint_ge(stable, mine);
	}
	return arg;
}

START_TEST(serves_all_by_few)
{
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, writer, NULL), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_le(calls, 8 * 50);
	ck_assert_int_ge(calls, 50);
}
END_TEST

static atomic_bool go;
static atomic_int first;

/* As fdatasync(): tells of what was lost once. */
static int lose(void *arg, bool *lost)
{
	(void)arg;
	if (calls++ > 0)
		return 0;
	while (!go)
		usleep(100);
	*lost = true;
	return -ENOSPC;
}

static void *flusher(void *arg)
{
	bool lost = false;

	int ret = image_flush_run(&flush, lose, NULL, &lost);

	/* Who was the first is told why. */
	ck_assert(ret == -EIO || ret == -ENOSPC);
	first += ret == -ENOSPC;
	ck_assert(lost);
	return arg;
}

START_TEST(tells_a_loss_to_all)
{
	pthread_t threads[4];
	bool lost;

	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, flusher, NULL), 0);
	while (calls == 0)
		usleep(100);
	usleep(20000); /* time for the others to come, though it does not matter */
	go = true;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(first, 1);
	/* and for good */
	ck_assert_int_eq(image_flush_run(&flush, lose, NULL, &lost), -EIO);
	ck_assert(lost);
	ck_assert_int_eq(calls, 1);
}
END_TEST

static int no_room(void *arg, bool *lost)
{
	(void)arg;
	(void)lost;
	return calls++ == 0 ? -ENOSPC : 0;
}

START_TEST(fails_without_a_loss)
{
	bool lost = true;

	ck_assert_int_eq(image_flush_run(&flush, no_room, NULL, &lost), -ENOSPC);
	ck_assert(!lost);
	ck_assert_int_eq(image_flush_run(&flush, no_room, NULL, &lost), 0);
	ck_assert(!lost);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/image_flush");
	TCase *tc = tcase_create("flush");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, serves_all_by_few);
	tcase_add_test(tc, tells_a_loss_to_all);
	tcase_add_test(tc, fails_without_a_loss);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
