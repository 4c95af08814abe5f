/* virtio/disk_limit: two limits at once, on a clock that the test turns. */
#include <check.h>
#include <stdlib.h>

#include "virtio/disk_limit.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static struct disk_limit limit;

static void init(uint64_t iops, uint64_t iops_burst, uint64_t bps, uint64_t bps_burst)
{
	disk_limit_init(&limit, &(struct disk_limit_config){iops, iops_burst, bps, bps_burst});
}

/* Requests of that size let through up to that moment, by somebody who waits as told. */
static unsigned int pass(uint64_t end, uint64_t bytes)
{
	unsigned int n = 0;

	for (uint64_t now = 0; now <= end;) {
		uint64_t wait = disk_limit_take(&limit, now, bytes);

		n += wait == 0;
		now += wait;
	}
	return n;
}

START_TEST(without_limits)
{
	disk_limit_init(&limit, NULL);
	ck_assert(!limit.limited);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(disk_limit_take(&limit, 0, UINT32_MAX), 0);
	disk_limit_fini(&limit);
}
END_TEST

START_TEST(requests_a_second)
{
	init(100, 5, 0, 0);
	ck_assert_uint_eq(pass(10 * S, 1 << 20), 1005);
	disk_limit_fini(&limit);
}
END_TEST

START_TEST(bytes_a_second)
{
	init(0, 0, 1 << 20, 65536);
	ck_assert_uint_eq(pass(10 * S, 4096), 2560 + 16);
	disk_limit_fini(&limit);
}
END_TEST

START_TEST(the_tighter_of_both_counts)
{
	init(100, 1, 1 << 20, 65536);
	ck_assert_uint_eq(pass(10 * S, 512), 1001);
	disk_limit_fini(&limit);
	init(100, 1, 1 << 20, 65536);
	ck_assert_uint_eq(pass(10 * S, 65536), 161);
	disk_limit_fini(&limit);
}
END_TEST

/* What one limit refuses is not taken from the other. */
START_TEST(refusal_takes_nothing)
{
	init(10, 2, 1000, 1000);
	ck_assert_uint_eq(disk_limit_take(&limit, 0, 1000), 0);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(disk_limit_take(&limit, 0, 500), 500 * MS);
	ck_assert_uint_eq(disk_limit_take(&limit, 0, 0), 0);
	disk_limit_fini(&limit);
}
END_TEST

START_TEST(large_requests_pass_in_the_end)
{
	init(0, 0, 1000, 100);
	ck_assert_uint_eq(disk_limit_take(&limit, 0, UINT32_MAX), 0);
	ck_assert_uint_gt(disk_limit_take(&limit, 1 * S, 1), 4000000 * S);
	disk_limit_fini(&limit);
}
END_TEST

START_TEST(a_tenth_of_a_second_by_default)
{
	init(1000, 0, 0, 0);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(disk_limit_take(&limit, 0, 512), 0);
	ck_assert_uint_eq(disk_limit_take(&limit, 0, 512), 1 * MS);
	disk_limit_fini(&limit);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_disk_limit");
	TCase *tc = tcase_create("limits");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, without_limits);
	tcase_add_test(tc, requests_a_second);
	tcase_add_test(tc, bytes_a_second);
	tcase_add_test(tc, the_tighter_of_both_counts);
	tcase_add_test(tc, refusal_takes_nothing);
	tcase_add_test(tc, large_requests_pass_in_the_end);
	tcase_add_test(tc, a_tenth_of_a_second_by_default);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
