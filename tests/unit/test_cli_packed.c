/* vmm/cli/packed: bytes as they are, and what was there before, near and far. What pack makes of the real ones it unpacks itself. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli/packed.h"

static struct {
	uint32_t size;
	uint8_t bytes[512];
} from;

static uint8_t to[512];

static void unpack(uint32_t size)
{
	from.size = size;
	memset(to, 0xaa, sizeof(to));
	packed_unpack((const struct packed *)(const void *)&from, to);
	ck_assert_uint_eq(to[size], 0xaa);
}

START_TEST(test_nothing)
{
	unpack(0);
}
END_TEST

START_TEST(test_bytes)
{
	/* 0 0 0 */
	memcpy(from.bytes,
	       "\x00"
	       "abc",
	       4);
	unpack(3);
	ck_assert_mem_eq(to, "abc", 3);
}
END_TEST

/* What is repeated may overlap with what it becomes. */
START_TEST(test_near)
{
	/* 0; 1, 0: distance 1; 10100: 4, which is a length of 5 */
	memcpy(from.bytes,
	       "\x54"
	       "a\x00",
	       3);
	unpack(6);
	ck_assert_mem_eq(to, "aaaaaa", 6);
}
END_TEST

START_TEST(test_far)
{
	size_t at = 0;

	for (size_t i = 0; i < 304; i++) {
		if (i % 8 == 0)
			from.bytes[at++] = 0;
		from.bytes[at++] = (uint8_t)(i ^ i >> 8);
	}
	/* 1; 100: 2, so that a distance of 1 + 256 + 43 begins; 0: length 2 */
	from.bytes[at++] = 0xc0;
	from.bytes[at++] = 43;
	unpack(306);
	ck_assert_mem_eq(&to[304], &to[4], 2);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("cli/packed");
	TCase *tc = tcase_create("packed");

	tcase_add_test(tc, test_nothing);
	tcase_add_test(tc, test_bytes);
	tcase_add_test(tc, test_near);
	tcase_add_test(tc, test_far);
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
