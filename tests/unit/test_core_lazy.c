/* vmm/core/lazy: zeros that take no memory until they are touched, and then no more than a page. */
#include <check.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/core/lazy.h"

#define MIB ((size_t)1 << 20)

/* The flags of the mapping that holds the byte, in the letters of /proc/PID/smaps. */
static void flags_of(const void *byte, char *flags, size_t size)
{
	unsigned long start, end;
	bool here = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");

	ck_assert_ptr_nonnull(f);
	flags[0] = '\0';
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = (uintptr_t)byte >= start && (uintptr_t)byte < end;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			snprintf(flags, size, "%s", line);
	}
	fclose(f);
}

START_TEST(test_no_huge_pages)
{
	uint8_t *array = lazy_calloc(8, MIB);
	char flags[512];

	ck_assert_ptr_nonnull(array);
	for (size_t i = 0; i < 8 * MIB; i += 4096)
		ck_assert_uint_eq(array[i], 0);
	flags_of(array + 4 * MIB, flags, sizeof(flags));
	/* Kernels without huge pages have no such flag. */
	ck_assert_msg(strstr(flags, " nh") ||
			      access("/sys/kernel/mm/transparent_hugepage", F_OK) < 0,
		      "%s", flags);
	free(array);
}
END_TEST

START_TEST(test_sizes)
{
	static const size_t sizes[] = {1, 4095, 4096, 4097, 12288};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint8_t *array = lazy_calloc(1, sizes[i]);

		ck_assert_ptr_nonnull(array);
		memset(array, 1, sizes[i]);
		free(array);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core/lazy");
	TCase *tc = tcase_create("lazy");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_no_huge_pages);
	tcase_add_test(tc, test_sizes);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
