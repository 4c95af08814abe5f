/* The default Ethernet address. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/mac.h"

START_TEST(test_derive)
{
	/* fixed for good: a guest's address must not change with a new version */
	static const uint8_t want[ETH_ALEN] = {0x02, 0x61, 0x7f, 0x39, 0x17, 0xe2};
	uint8_t a[ETH_ALEN], b[ETH_ALEN];

	mac_derive(a, "0123456789abcdef0123456789abcdef", "tap0");
	ck_assert_mem_eq(a, want, ETH_ALEN);
	mac_derive(b, "0123456789abcdef0123456789abcdef", "tap1");
	ck_assert_mem_ne(a + 1, b + 1, ETH_ALEN - 1);
	mac_derive(b, "0123456789abcdef0123456789abcdee", "tap0");
	ck_assert_mem_ne(a, b, ETH_ALEN);
	mac_derive(a, "a", "bc");
	mac_derive(b, "ab", "c");
	ck_assert_mem_ne(a, b, ETH_ALEN);
	mac_derive(a, "", "tap0");
	ck_assert_uint_eq(a[0], 2);
}
END_TEST

/* A thousand interfaces of one host get a thousand addresses. */
START_TEST(test_derive_distinct)
{
	static uint8_t macs[1000][ETH_ALEN];
	char name[16];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "tap%d", i);
		mac_derive(macs[i], "", name);
		for (int j = 0; j < i; j++)
			if (memcmp(macs[i], macs[j], ETH_ALEN) == 0)
				ck_abort_msg("tap%d and tap%d have the same address", i, j);
	}
}
END_TEST

START_TEST(test_default)
{
	uint8_t a[ETH_ALEN], b[ETH_ALEN];

	mac_default(a, "tap0");
	mac_default(b, "tap0");
	ck_assert_mem_eq(a, b, ETH_ALEN);
	ck_assert_uint_eq(a[0], 2);
	mac_default(b, "tap1");
	ck_assert_mem_ne(a, b, ETH_ALEN);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_net_mac");
	TCase *tc = tcase_create("mac");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, test_derive);
	tcase_add_test(tc, test_derive_distinct);
	tcase_add_test(tc, test_default);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
