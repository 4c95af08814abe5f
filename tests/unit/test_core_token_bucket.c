/* Token buckets on a clock that the test turns. */
#include <check.h>
#include <stdlib.h>

#include "vmm/core/token_bucket.h"

#define MS UINT64_C(1000000)
#define S  UINT64_C(1000000000)

static struct token_bucket b;

/* Takes as often as it is allowed at this moment, up to max times. */
static unsigned int take_all(uint64_t now, uint64_t amount, unsigned int max)
{
	unsigned int n = 0;

	while (n < max && token_bucket_take(&b, now, amount) == 0)
		n++;
	return n;
}

START_TEST(without_a_rate_nothing_waits)
{
	token_bucket_init(&b, 0, 0);
	ck_assert_uint_eq(token_bucket_take(&b, 0, UINT64_MAX), 0);
	ck_assert_uint_eq(token_bucket_take(&b, 0, UINT64_MAX), 0);
	ck_assert_uint_eq(token_bucket_wait(&b, 0, 1), 0);
}
END_TEST

START_TEST(a_full_bucket_gives_its_burst_at_once)
{
	token_bucket_init(&b, 1000, 50);
	ck_assert_uint_eq(take_all(7 * S, 1, 1000), 50);
	ck_assert_uint_eq(token_bucket_take(&b, 7 * S, 1), 1 * MS);
	ck_assert_uint_eq(token_bucket_wait(&b, 7 * S, 3), 3 * MS);
	ck_assert_uint_eq(take_all(7 * S + 3 * MS, 1, 1000), 3);
}
END_TEST

START_TEST(after_the_wait_it_told_the_amount_passes)
{
	static const uint64_t rates[] = {1, 3, 7, 1000, 999999937, UINT64_C(3000000019)};
	uint64_t now = 12345, seed = 1;

	for (unsigned int i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		token_bucket_init(&b, rates[i], 10);
		for (unsigned int n = 0; n < 2000; n++) {
			uint64_t amount = (seed = seed * 25214903917u + 11) >> 20 & 15;
			uint64_t wait = token_bucket_take(&b, now, amount);

			if (wait == 0)
				continue;
			ck_assert_uint_gt(token_bucket_wait(&b, now + wait - 1, amount), 0);
			now += wait;
			ck_assert_uint_eq(token_bucket_take(&b, now, amount), 0);
		}
	}
}
END_TEST

START_TEST(waiting_and_refusing_take_nothing)
{
	token_bucket_init(&b, 100, 10);
	ck_assert_uint_eq(token_bucket_take(&b, 0, 8), 0);
	for (int i = 0; i < 100; i++) {
		ck_assert_uint_eq(token_bucket_wait(&b, 0, 2), 0);
		ck_assert_uint_eq(token_bucket_take(&b, 0, 3), 10 * MS);
	}
	ck_assert_uint_eq(token_bucket_take(&b, 0, 2), 0);
}
END_TEST

START_TEST(a_rest_fills_no_more_than_the_burst)
{
	token_bucket_init(&b, 1000, 50);
	ck_assert_uint_eq(take_all(0, 1, 1000), 50);
	ck_assert_uint_eq(take_all(10 * MS, 1, 1000), 10);
	ck_assert_uint_eq(take_all(3600 * S, 1, 1000), 50);
}
END_TEST

/* In the long run the rate is exact, also when a token takes no whole number of ns and comes in pieces. */
START_TEST(the_rate_is_exact)
{
	static const uint64_t rates[] = {3, 7, 1000, 700001, UINT64_C(3000000019)};

	for (unsigned int i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t amount = rates[i] / 5000 + 1, taken = 0, now = 0;

		token_bucket_init(&b, rates[i], 2 * amount);
		while (now < 10 * S) {
			uint64_t wait = token_bucket_take(&b, now, amount);

			taken += wait == 0 ? amount : 0;
			now += wait;
		}
		ck_assert_uint_le(taken, 10 * rates[i] + 2 * amount);
		ck_assert_uint_ge(taken, 10 * rates[i]);
	}
}
END_TEST

START_TEST(more_than_the_burst_passes_when_it_is_full)
{
	token_bucket_init(&b, 1000, 10);
	ck_assert_uint_eq(token_bucket_take(&b, 0, 1), 0);
	ck_assert_uint_eq(token_bucket_take(&b, 0, 5000), 1 * MS);
	ck_assert_uint_eq(token_bucket_take(&b, 1 * MS, 5000), 0);
	/* and has to be paid for: 5000 tokens are owed, of which the bucket held 10 */
	ck_assert_uint_eq(token_bucket_wait(&b, 1 * MS, 1), 4991 * MS);
	ck_assert_uint_eq(token_bucket_take(&b, 4992 * MS, 1), 0);
}
END_TEST

START_TEST(no_burst_is_a_burst_of_one)
{
	token_bucket_init(&b, 10, 0);
	ck_assert_uint_eq(take_all(0, 1, 1000), 1);
	ck_assert_uint_eq(token_bucket_take(&b, 0, 1), 100 * MS);
}
END_TEST

START_TEST(nothing_costs_nothing)
{
	token_bucket_init(&b, 1, 1);
	ck_assert_uint_eq(take_all(0, 0, 1000), 1000);
	ck_assert_uint_eq(token_bucket_take(&b, 0, 1), 0);
	ck_assert_uint_eq(take_all(0, 0, 1000), 1000);
}
END_TEST

START_TEST(the_largest_numbers_do_not_wrap)
{
	token_bucket_init(&b, 1, UINT64_MAX);
	ck_assert_uint_eq(token_bucket_take(&b, 5, UINT64_MAX), 0);
	ck_assert_uint_gt(token_bucket_take(&b, 5, UINT64_MAX), 1000 * S);
	ck_assert_uint_gt(token_bucket_wait(&b, UINT64_MAX - 1, UINT64_MAX), 0);

	token_bucket_init(&b, UINT64_MAX, UINT64_MAX);
	ck_assert_uint_eq(token_bucket_take(&b, 5, UINT64_MAX), 0);
	ck_assert_uint_eq(token_bucket_take(&b, 5, UINT64_MAX), 1 * S);
	ck_assert_uint_eq(token_bucket_take(&b, 5 + S, UINT64_MAX), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core/token_bucket");
	TCase *tc = tcase_create("buckets");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, without_a_rate_nothing_waits);
	tcase_add_test(tc, a_full_bucket_gives_its_burst_at_once);
	tcase_add_test(tc, after_the_wait_it_told_the_amount_passes);
	tcase_add_test(tc, waiting_and_refusing_take_nothing);
	tcase_add_test(tc, a_rest_fills_no_more_than_the_burst);
	tcase_add_test(tc, the_rate_is_exact);
	tcase_add_test(tc, more_than_the_burst_passes_when_it_is_full);
	tcase_add_test(tc, no_burst_is_a_burst_of_one);
	tcase_add_test(tc, nothing_costs_nothing);
	tcase_add_test(tc, the_largest_numbers_do_not_wrap);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
