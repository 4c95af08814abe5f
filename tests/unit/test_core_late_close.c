/* Closing what takes the kernel long: it is closed for us at once, and really closed soon, with io_uring and without. */
#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/resource.h>

#include "vmm/core/late_close.h"

#define SOON_MS 10000

static int ends[2];

static void setup(void)
{
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
}

static void teardown(void)
{
	close(ends[0]);
}

/* As whoever ends a machine: holds it early, and closes both later. */
static void end_late(int fd)
{
	int held_by = late_close_hold(fd, -1);

	close(fd);
	if (held_by >= 0)
		close(held_by);
}

static void expect_closed(void)
{
	struct pollfd reader = {.fd = ends[0], .events = POLLIN};

	ck_assert_int_lt(fcntl(ends[1], F_GETFD), 0);
	ck_assert_int_eq(poll(&reader, 1, SOON_MS), 1);
	ck_assert_int_eq(reader.revents, POLLHUP);
}

START_TEST(test_closed)
{
	end_late(ends[1]);
	expect_closed();
}
END_TEST

START_TEST(test_held)
{
	struct pollfd reader = {.fd = ends[0], .events = POLLIN};
	int held_by = late_close_hold(ends[1], -1);

	close(ends[1]);
	ck_assert_int_eq(poll(&reader, 1, 100), held_by < 0 ? 1 : 0);
	if (held_by >= 0)
		close(held_by);
	expect_closed();
}
END_TEST

START_TEST(test_other_descriptors_keep_it)
{
	struct pollfd reader = {.fd = ends[0], .events = POLLIN};
	int other = dup(ends[1]);

	end_late(ends[1]);
	ck_assert_int_eq(poll(&reader, 1, 100), 0);
	close(other);
	expect_closed();
}
END_TEST

START_TEST(test_held_beside_another)
{
	struct pollfd reader = {.fd = ends[0], .events = POLLIN};
	int first[2], held_by;

	ck_assert_int_eq(pipe(first), 0);
	held_by = late_close_hold(first[1], ends[1]);
	close(ends[1]);
	ck_assert_int_eq(poll(&reader, 1, 100), held_by < 0 ? 1 : 0);
	if (held_by >= 0)
		close(held_by);
	expect_closed();
	close(first[0]);
	close(first[1]);
}
END_TEST

START_TEST(test_no_descriptor_for_a_ring)
{
	struct rlimit limit;
	rlim_t before;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	before = limit.rlim_cur;
	limit.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	end_late(ends[1]);
	limit.rlim_cur = before;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect_closed();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("late_close");
	TCase *tc = tcase_create("late_close");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_closed);
	tcase_add_test(tc, test_held);
	tcase_add_test(tc, test_held_beside_another);
	tcase_add_test(tc, test_other_descriptors_keep_it);
	tcase_add_test(tc, test_no_descriptor_for_a_ring);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
