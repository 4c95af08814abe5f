/* core/crc32: as everybody else's. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/core/crc32.h"

START_TEST(known_sums)
{
	static const struct {
		const char *text;
		uint32_t crc;
	} cases[] = {{"", 0},
		     {"a", 0xe8b7be43},
		     {"123456789", 0xcbf43926},
		     {"The quick brown fox jumps over the lazy dog", 0x414fa339}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len = strlen(cases[i].text);

		ck_assert_uint_eq(crc32_add(0, cases[i].text, len), cases[i].crc);
		for (size_t cut = 0; cut <= len; cut++)
			ck_assert_uint_eq(crc32_add(crc32_add(0, cases[i].text, cut),
						    cases[i].text + cut, len - cut),
					  cases[i].crc);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core/crc32");
	TCase *tc = tcase_create("sums");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, known_sums);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
