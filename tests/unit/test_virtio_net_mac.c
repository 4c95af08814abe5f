/* The default Ethernet address. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/mac.c"

/* The vectors of the paper: key 00 01 .. 0f, message 00 01 .. of that length. */
START_TEST(test_hash)
{
	static const struct {
		unsigned int len;
		uint64_t hash;
	} vectors[] = {
		{0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
		{2, UINT64_C(0x0d6c8009d9a94f5a)},  {7, UINT64_C(0xab0200f58b01d137)},
		{8, UINT64_C(0x93f5f5799a932462)},  {15, UINT64_C(0xa129ca6149be45e5)},
		{16, UINT64_C(0x3f2acc7f57c29bdb)}, {63, UINT64_C(0x958a324ceb064572)},
	};
	const uint64_t key0 = UINT64_C(0x0706050403020100), key1 = UINT64_C(0x0f0e0d0c0b0a0908);
	uint8_t message[64];

	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)i;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		ck_assert_uint_eq(mac_hash(key0, key1, message, vectors[i].len), vectors[i].hash);
}
END_TEST

START_TEST(test_derive)
{
	/* fixed for good: a guest's address must not change with a new version */
	static const uint8_t want[ETH_ALEN] = {0x02, 0xd2, 0x6a, 0x46, 0x14, 0xf8};
	static const uint8_t without[ETH_ALEN] = {0x02, 0x10, 0x68, 0xf0, 0x16, 0x74};
	static const char *const no_ids[] = {
		"",
		"uninitialized\n",
		"0123456789abcdef0123456789abcde",
		"0123456789abcdef0123456789abcdef0",
		"0123456789abcdef0123456789abcdeF",
		"01234567-89ab-cdef-0123-456789abcdef",
	};
	uint8_t a[ETH_ALEN], b[ETH_ALEN];

	mac_derive(a, "0123456789abcdef0123456789abcdef", "tap0");
	ck_assert_mem_eq(a, want, ETH_ALEN);
	mac_derive(a, "0123456789abcdef0123456789abcdef\n", "tap0");
	ck_assert_mem_eq(a, want, ETH_ALEN);
	mac_derive(b, "0123456789abcdef0123456789abcdef", "tap1");
	ck_assert_mem_ne(a + 1, b + 1, ETH_ALEN - 1);
	mac_derive(b, "0123456789abcdef0123456789abcdee", "tap0");
	ck_assert_mem_ne(a, b, ETH_ALEN);
	for (size_t i = 0; i < sizeof(no_ids) / sizeof(no_ids[0]); i++) {
		mac_derive(a, no_ids[i], "tap0");
		ck_assert_mem_eq(a, without, ETH_ALEN);
	}
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

	tcase_add_test(tc, test_hash);
	tcase_add_test(tc, test_derive);
	tcase_add_test(tc, test_derive_distinct);
	tcase_add_test(tc, test_default);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
