/* boot/relocs: tables with and without distances to per-CPU data, and tables that are none. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/relocs.h"

#define LINK  UINT64_C(0x1000000)
#define LEN   UINT64_C(4096)
#define DELTA UINT64_C(0x1e00000)

/* The word for a place in the image. */
#define AT(offset) ((uint32_t)(0x80000000 + LINK + (offset)))

static uint8_t *image;
static struct relocs relocs;

/* Not a byte more than the image, and neither its nor the table's addresses are aligned: sanitizers see what is touched. */
static void setup(void)
{
	image = malloc(LEN);
	ck_assert_ptr_nonnull(image);
	memset(image, 0x11, LEN);
}

static void teardown(void)
{
	free(image);
}

static int parse_for(const uint32_t *words, size_t size, uint64_t link, uint64_t len)
{
	static uint8_t *copy;

	free(copy);
	copy = malloc(size + 1);
	ck_assert_ptr_nonnull(copy);
	if (size > 0)
		memcpy(copy + 1, words, size);
	return relocs_parse(copy + 1, size, link, len, &relocs);
}

#define PARSE(...)                                                                                 \
	parse_for((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}), LINK,  \
		  LEN)

/* In parts, and those in any order. */
static void apply(uint64_t delta)
{
	relocs_apply_part(&relocs, image, delta, 2, 3);
	relocs_apply_part(&relocs, image, delta, 0, 3);
	relocs_apply_part(&relocs, image, delta, 1, 3);
}

static void expect_list(struct relocs_list list, size_t first, size_t end)
{
	ck_assert_uint_eq(list.first, first);
	ck_assert_uint_eq(list.end, end);
}

static uint64_t get64(size_t offset)
{
	uint64_t value;

	memcpy(&value, image + offset, sizeof(value));
	return value;
}

static uint32_t get32(size_t offset)
{
	uint32_t value;

	memcpy(&value, image + offset, sizeof(value));
	return value;
}

static void put64(size_t offset, uint64_t value)
{
	memcpy(image + offset, &value, sizeof(value));
}

static void put32(size_t offset, uint32_t value)
{
	memcpy(image + offset, &value, sizeof(value));
}

START_TEST(finds_three_lists)
{
	ck_assert_int_eq(PARSE(0, AT(0), AT(8), AT(9), 0, AT(100), 0, AT(50), AT(40)), 0);
	expect_list(relocs.list64, 1, 4);
	expect_list(relocs.inverse32, 5, 6);
	expect_list(relocs.list32, 7, 9);
}
END_TEST

START_TEST(finds_two_lists)
{
	ck_assert_int_eq(PARSE(0, AT(0), 0, AT(50), AT(40)), 0);
	expect_list(relocs.list64, 1, 2);
	ck_assert_uint_eq(relocs.inverse32.first, relocs.inverse32.end);
	expect_list(relocs.list32, 3, 5);
}
END_TEST

START_TEST(takes_empty_lists)
{
	ck_assert_int_eq(PARSE(0, 0), 0);
	ck_assert_int_eq(PARSE(0, 0, 0), 0);
	ck_assert_int_eq(PARSE(0, AT(1), 0, 0), 0);
	expect_list(relocs.list64, 1, 2);
	ck_assert_int_eq(PARSE(0, 0, 0, AT(1)), 0);
	expect_list(relocs.list32, 3, 4);
	ck_assert_int_eq(PARSE(0, 0, AT(1), 0), 0);
	expect_list(relocs.inverse32, 2, 3);
	apply(0);
}
END_TEST

/* Kernel addresses of 64 and 32 bits move up, distances from the kernel to what stays shrink. */
START_TEST(moves_what_the_lists_name)
{
	put64(3, 0xffffffff81234567);
	put32(101, 0x81fffff0);
	put32(LEN - 8, 0x1000);
	ck_assert_int_eq(PARSE(0, AT(3), 0, AT(LEN - 8), 0, AT(101)), 0);
	apply(DELTA);
	ck_assert_uint_eq(get64(3), 0xffffffff81234567 + DELTA);
	ck_assert_uint_eq(get32(101), 0x81fffff0 + (uint32_t)DELTA);
	ck_assert_uint_eq(get32(LEN - 8), 0x1000 - (uint32_t)DELTA);
	for (size_t i = 0; i < LEN; i++) {
		if ((i >= 3 && i < 11) || (i >= 101 && i < 105) || (i >= LEN - 8 && i < LEN - 4))
			continue;
		ck_assert_uint_eq(image[i], 0x11);
	}
}
END_TEST

START_TEST(moves_in_two_lists)
{
	put64(0, 0xffffffff81000000);
	put32(8, 0x81000000);
	ck_assert_int_eq(PARSE(0, AT(0), 0, AT(8)), 0);
	apply(DELTA);
	ck_assert_uint_eq(get64(0), 0xffffffff82e00000);
	ck_assert_uint_eq(get32(8), 0x82e00000);
}
END_TEST

START_TEST(reaches_the_last_bytes_and_no_further)
{
	put64(LEN - 8, 1);
	ck_assert_int_eq(PARSE(0, AT(LEN - 8), 0, AT(0)), 0);
	apply(DELTA);
	ck_assert_uint_eq(get64(LEN - 8), 1 + DELTA);
	for (uint64_t offset = LEN - 7; offset < LEN + 9; offset++) {
		ck_assert_int_eq(PARSE(0, AT(offset), 0, AT(0)), -ENOEXEC);
		ck_assert_int_eq(PARSE(0, AT(0), 0, AT(offset)), -ENOEXEC);
		ck_assert_int_eq(PARSE(0, AT(0), 0, AT(offset), 0, AT(0)), -ENOEXEC);
	}
}
END_TEST

START_TEST(refuses_places_outside)
{
	static const uint32_t outside[] = {1,	       AT(-1),	   AT(-8),     AT(LEN),
					   0x7fffffff, 0x80000000, 0xc0000000, 0xffffffff};

	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		ck_assert_int_eq(PARSE(0, outside[i], 0, 0), -ENOEXEC);
		ck_assert_int_eq(PARSE(0, AT(0), 0, outside[i], 0, AT(0)), -ENOEXEC);
		ck_assert_int_eq(PARSE(0, AT(0), 0, AT(0), 0, AT(0), outside[i]), -ENOEXEC);
		ck_assert_int_eq(PARSE(outside[i], AT(0), 0, AT(0)), -ENOEXEC);
	}
}
END_TEST

/* Each of the sizes that a good table has when it is cut: at its beginning or end, in words or bytes. */
START_TEST(refuses_tables_cut_off)
{
	static const uint32_t words[] = {0, AT(0), AT(8), 0, AT(100), 0, AT(50), AT(40)};

	ck_assert_int_eq(parse_for(words, sizeof(words), LINK, LEN), 0);
	for (size_t size = 0; size < sizeof(words); size++) {
		if (size % 4 != 0 || size < 4 * 4)
			ck_assert_int_eq(parse_for(words, size, LINK, LEN), -ENOEXEC);
	}
	for (size_t i = 1; i < 8; i++) {
		if (words[i] != 0 || i == 5)
			ck_assert_int_eq(parse_for(words + i, sizeof(words) - i * 4, LINK, LEN),
					 -ENOEXEC);
	}
	ck_assert_int_eq(PARSE(0), -ENOEXEC);
	ck_assert_int_eq(PARSE(0, AT(0)), -ENOEXEC);
	ck_assert_int_eq(PARSE(AT(0)), -ENOEXEC);
}
END_TEST

START_TEST(refuses_more_than_three_lists)
{
	ck_assert_int_eq(PARSE(0, AT(0), 0, AT(0), 0, AT(0), 0, AT(0)), -ENOEXEC);
	ck_assert_int_eq(PARSE(0, 0, 0, 0), -ENOEXEC);
}
END_TEST

/* Lists of any length, and an absurd word or another list at any place in them. */
START_TEST(reads_long_lists)
{
	uint32_t words[100];

	for (size_t n = 3; n <= 100; n++) {
		for (size_t i = 0; i < n; i++)
			words[i] = i == 0 || i == n / 3 ? 0 : AT(i * 8);
		ck_assert_int_eq(parse_for(words, n * 4, LINK, LEN), 0);
		expect_list(relocs.list64, 1, n / 3);
		expect_list(relocs.list32, n / 3 + 1, n);
	}
	for (size_t i = 1; i < 100; i++) {
		uint32_t good = words[i];

		words[i] = i % 2 ? AT(LEN - 7) : AT(-1);
		ck_assert_int_eq(parse_for(words, sizeof(words), LINK, LEN), -ENOEXEC);
		words[i] = 0;
		ck_assert_int_eq(parse_for(words, sizeof(words), LINK, LEN), 0);
		words[i] = good;
	}
}
END_TEST

/* Whatever the kernel's file says of where it is linked and how large it is. */
START_TEST(refuses_images_outside_of_the_span)
{
	static const uint32_t words[] = {0, 0};
	static const struct {
		uint64_t link, len;
		int ret;
	} images[] = {
		{0, RELOCS_KERNEL_SPAN, 0},
		{RELOCS_KERNEL_SPAN - 8, 8, 0},
		{0, RELOCS_KERNEL_SPAN + 1, -ENOEXEC},
		{RELOCS_KERNEL_SPAN - 8, 9, -ENOEXEC},
		{RELOCS_KERNEL_SPAN, 8, -ENOEXEC},
		{RELOCS_KERNEL_SPAN + 1, 8, -ENOEXEC},
		{0, 7, -ENOEXEC},
		{0, 0, -ENOEXEC},
		{8, UINT64_MAX, -ENOEXEC},
		{UINT64_MAX, 8, -ENOEXEC},
		{UINT64_C(1) << 32, 8, -ENOEXEC},
		{0, UINT64_C(1) << 32, -ENOEXEC},
	};

	for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++)
		ck_assert_int_eq(parse_for(words, sizeof(words), images[i].link, images[i].len),
				 images[i].ret);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/relocs");
	TCase *tc = tcase_create("relocs");
	SRunner *runner = srunner_create(suite);
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, finds_three_lists);
	tcase_add_test(tc, finds_two_lists);
	tcase_add_test(tc, takes_empty_lists);
	tcase_add_test(tc, moves_what_the_lists_name);
	tcase_add_test(tc, moves_in_two_lists);
	tcase_add_test(tc, reaches_the_last_bytes_and_no_further);
	tcase_add_test(tc, refuses_places_outside);
	tcase_add_test(tc, refuses_tables_cut_off);
	tcase_add_test(tc, reads_long_lists);
	tcase_add_test(tc, refuses_more_than_three_lists);
	tcase_add_test(tc, refuses_images_outside_of_the_span);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
