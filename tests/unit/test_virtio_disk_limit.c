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
		uint64_t wait = disk_limit_take(&limit, now, bytes, false);

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
		ck_assert_uint_eq(disk_limit_take(&limit, 0, UINT32_MAX, false), 0);
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
	ck_assert_uint_eq(disk_limit_take(&limit, 0, 1000, false), 0);
	for (int i = 0; i < 10; i++)
		ck_assert_uint_eq(disk_limit_take(&limit, 0, 500, false), 500 * MS);
	ck_assert_uint_eq(disk_limit_take(&limit, 0, 0, false), 0);
	disk_limit_fini(&limit);
}
END_TEST

/* One who takes small ones as they come, and one whose large ones wait as told: neither is kept out, and both together keep the limit. */
START_TEST(large_requests_are_not_starved)
{
	const uint64_t small = 4096, large = _i == 0 ? 128 * 1024 : 512 * 1024, rate = 4000000;
	uint64_t asks_small = 0, asks_large = 0, n_small = 0, n_large = 0;
	bool small_waited = false, large_waited = false;

	init(0, 0, rate, 0);
	while (asks_small < 100 * S && asks_large < 100 * S) {
		bool is_small = asks_small <= asks_large;
		uint64_t *asks = is_small ? &asks_small : &asks_large;
		bool *waited = is_small ? &small_waited : &large_waited;
		uint64_t wait = disk_limit_take(&limit, *asks, is_small ? small : large, *waited);

		*waited = wait > 0;
		*asks += wait;
		if (wait == 0)
			*(is_small ? &n_small : &n_large) += 1;
	}
	ck_assert_uint_gt(n_large, 100);
	ck_assert_uint_gt(n_small, 100);
	ck_assert_uint_le(n_large * large + n_small * small,
			  100 * rate + rate / 10 + large + small);
	ck_assert_uint_ge(n_large * large + n_small * small, 99 * rate);
	disk_limit_fini(&limit);
}
END_TEST

START_TEST(large_requests_pass_in_the_end)
{
	init(0, 0, 1000, 100);
	ck_assert_uint_eq(disk_limit_take(&limit, 0, UINT32_MAX, false), 0);
	ck_assert_uint_gt(disk_limit_take(&limit, 1 * S, 1, false), 4000000 * S);
	disk_limit_fini(&limit);
}
END_TEST

START_TEST(a_tenth_of_a_second_by_default)
{
	init(1000, 0, 0, 0);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(disk_limit_take(&limit, 0, 512, false), 0);
	ck_assert_uint_eq(disk_limit_take(&limit, 0, 512, false), 1 * MS);
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
	tcase_add_loop_test(tc, large_requests_are_not_starved, 0, 2);
	tcase_add_test(tc, large_requests_pass_in_the_end);
	tcase_add_test(tc, a_tenth_of_a_second_by_default);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
