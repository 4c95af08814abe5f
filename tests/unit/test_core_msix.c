/* vmm/core/msix: the table, the masks, pending vectors. */
#include "tests/unit/msix_fixture.h"

static uint32_t entry_read(unsigned int vector, unsigned int word)
{
	return (uint32_t)msix_table_read(&msix, vector * PCI_MSIX_ENTRY_SIZE + word, 4);
}

static bool pending(unsigned int vector)
{
	return msix_pba_read(&msix, 0, 8) >> vector & 1;
}

/* ---- registers ---- */

START_TEST(test_after_reset)
{
	for (unsigned int v = 0; v < N; v++) {
		ck_assert_uint_eq(entry_read(v, PCI_MSIX_ENTRY_LOWER_ADDR), 0);
		ck_assert_uint_eq(entry_read(v, PCI_MSIX_ENTRY_UPPER_ADDR), 0);
		ck_assert_uint_eq(entry_read(v, PCI_MSIX_ENTRY_DATA), 0);
		ck_assert_uint_eq(entry_read(v, PCI_MSIX_ENTRY_VECTOR_CTRL), MASKED);
		ck_assert(!pending(v));
	}
}
END_TEST

START_TEST(test_table)
{
	for (unsigned int v = 0; v < N; v++)
		entry_set(v, UINT64_C(0x123456780fee0000) + v * 4, 0x4000 + v, v % 2);
	for (unsigned int v = 0; v < N; v++) {
		ck_assert_uint_eq(entry_read(v, PCI_MSIX_ENTRY_LOWER_ADDR), 0x0fee0000 + v * 4);
		ck_assert_uint_eq(entry_read(v, PCI_MSIX_ENTRY_UPPER_ADDR), 0x12345678);
		ck_assert_uint_eq(entry_read(v, PCI_MSIX_ENTRY_DATA), 0x4000 + v);
		ck_assert_uint_eq(entry_read(v, PCI_MSIX_ENTRY_VECTOR_CTRL), v % 2);
		ck_assert_uint_eq(msix_table_read(&msix, v * 16, 8),
				  UINT64_C(0x123456780fee0000) + v * 4);
		ck_assert_uint_eq(msix_table_read(&msix, v * 16 + 8, 8),
				  UINT64_C(0x4000) + v + ((uint64_t)(v % 2) << 32));
	}
	/* Half an entry at a time. */
	msix_table_write(&msix, 16, 8, UINT64_C(0xabcdef0187654324));
	msix_table_write(&msix, 24, 8, UINT64_C(0x00000001deadbeef));
	ck_assert_uint_eq(entry_read(1, PCI_MSIX_ENTRY_LOWER_ADDR), 0x87654324);
	ck_assert_uint_eq(entry_read(1, PCI_MSIX_ENTRY_UPPER_ADDR), 0xabcdef01);
	ck_assert_uint_eq(entry_read(1, PCI_MSIX_ENTRY_DATA), 0xdeadbeef);
	ck_assert_uint_eq(entry_read(1, PCI_MSIX_ENTRY_VECTOR_CTRL), MASKED);
	/* The function was never enabled. */
	for (unsigned int v = 0; v < N; v++)
		ck_assert_uint_eq(host.routes[v], 0);
}
END_TEST

START_TEST(test_reserved_bits)
{
	entry_set(0, UINT64_MAX, UINT32_MAX, UINT32_MAX);
	/* 6.8.2.6: the two low bits of the address are 0. */
	ck_assert_uint_eq(entry_read(0, PCI_MSIX_ENTRY_LOWER_ADDR), 0xfffffffc);
	ck_assert_uint_eq(entry_read(0, PCI_MSIX_ENTRY_UPPER_ADDR), UINT32_MAX);
	ck_assert_uint_eq(entry_read(0, PCI_MSIX_ENTRY_DATA), UINT32_MAX);
	ck_assert_uint_eq(entry_read(0, PCI_MSIX_ENTRY_VECTOR_CTRL), MASKED);
}
END_TEST

/* Every offset and width around the table: what is not defined reads all ones and writes nothing. */
START_TEST(test_access_widths)
{
	static const unsigned int widths[] = {1, 2, 4, 8};
	struct msix_entry before[N];

	memcpy(before, msix.table, sizeof(before));
	for (uint64_t offset = 0; offset < 4096; offset++) {
		for (int w = 0; w < 4; w++) {
			unsigned int width = widths[w];
			bool valid = width >= 4 && offset % width == 0 && offset < N * 16;

			if (valid)
				continue;
			if (msix_table_read(&msix, offset, width) != bus_ones(width))
				ck_abort_msg("read of %u at %#lx", width, offset);
			msix_table_write(&msix, offset, width, UINT64_C(0x1111111111111111));
		}
	}
	ck_assert_mem_eq(msix.table, before, sizeof(before));
}
END_TEST

START_TEST(test_pba)
{
	static const unsigned int widths[] = {1, 2, 4, 8};
	uint64_t bits = 0x15;

	for (unsigned int v = 0; v < N; v += 2)
		msix_raise(&msix, v);
	for (uint64_t offset = 0; offset < 64; offset++) {
		for (int w = 0; w < 4; w++) {
			uint64_t want = offset < 8 ? bits >> 8 * offset & bus_ones(widths[w]) : 0;

			ck_assert_uint_eq(msix_pba_read(&msix, offset, widths[w]), want);
		}
	}
}
END_TEST

START_TEST(test_most_vectors)
{
	struct msix most;

	msix_init(&most, MSIX_MAX_VECTORS, &ops);
	msix_raise(&most, MSIX_MAX_VECTORS - 1);
	ck_assert_uint_eq(msix_pba_read(&most, 0, 8), UINT64_C(1) << (MSIX_MAX_VECTORS - 1));
	ck_assert_uint_eq(msix_pba_read(&most, (MSIX_MAX_VECTORS - 1) / 8, 1),
			  1u << (MSIX_MAX_VECTORS - 1) % 8);
	msix_raise(&most, MSIX_MAX_VECTORS);
	msix_raise(&most, UINT32_MAX);
	ck_assert_uint_eq(msix_pba_read(&most, 0, 8), UINT64_C(1) << (MSIX_MAX_VECTORS - 1));
	msix_fini(&most);
}
END_TEST

/* ---- delivery ---- */

START_TEST(test_deliver)
{
	msix_set_control(&msix, true, false);
	entry_set(2, 0xfee01000, 0x4021, 0);
	ck_assert_uint_eq(host.address[2], 0xfee01000);
	ck_assert_uint_eq(host.data[2], 0x4021);
	ck_assert_uint_eq(host.routes[2], 1);
	for (unsigned int i = 1; i <= 3; i++) {
		msix_raise(&msix, 2);
		ck_assert_uint_eq(host.signals[2], i);
	}
	ck_assert(!pending(2));
	/* Nobody else heard of it. */
	for (unsigned int v = 0; v < N; v++) {
		if (v != 2)
			ck_assert_uint_eq(host.signals[v] + host.routes[v], 0);
	}
}
END_TEST

START_TEST(test_no_vector)
{
	msix_set_control(&msix, true, false);
	for (unsigned int v = 0; v < N; v++)
		entry_set(v, 0xfee00000, v, 0);
	msix_raise(&msix, MSIX_NO_VECTOR);
	msix_raise(&msix, N);
	for (unsigned int v = 0; v < N; v++)
		ck_assert_uint_eq(host.signals[v], 0);
	ck_assert_uint_eq(msix_pba_read(&msix, 0, 8), 0);
}
END_TEST

START_TEST(test_pending)
{
	enum deafness how = (enum deafness)_i;

	msix_set_control(&msix, true, false);
	entry_set(1, 0xfee00000, 0x31, 0);
	for (unsigned int round = 1; round <= 3; round++) {
		set_deaf(how, true);
		ck_assert(!pending(1));
		/* Many raises are one interrupt. */
		for (int i = 0; i < 5; i++)
			msix_raise(&msix, 1);
		ck_assert_uint_eq(host.signals[1], round - 1);
		ck_assert(pending(1));
		set_deaf(how, false);
		ck_assert_uint_eq(host.signals[1], round);
		ck_assert(!pending(1));
		/* It does not come again. */
		set_deaf(how, false);
		set_deaf(how, true);
		set_deaf(how, false);
		ck_assert_uint_eq(host.signals[1], round);
	}
}
END_TEST

/* Deaf in two ways: it stays pending until both have ended. */
START_TEST(test_pending_twice_deaf)
{
	enum deafness first = (enum deafness)(_i / N_DEAFNESSES);
	enum deafness second = (enum deafness)(_i % N_DEAFNESSES);

	if (first == second || (first != DEAF_MASKED && second != DEAF_MASKED))
		return; /* both in one register */
	msix_set_control(&msix, true, false);
	entry_set(1, 0xfee00000, 0x31, 0);
	set_deaf(first, true);
	msix_raise(&msix, 1);
	set_deaf(second, true);
	set_deaf(first, false);
	ck_assert(pending(1));
	ck_assert_uint_eq(host.signals[1], 0);
	set_deaf(second, false);
	ck_assert(!pending(1));
	ck_assert_uint_eq(host.signals[1], 1);
}
END_TEST

/* As Linux enables it: all masked first, entries filled in, then the function unmasked. */
START_TEST(test_enable_masked)
{
	msix_set_control(&msix, true, true);
	for (unsigned int v = 0; v < N; v++)
		entry_set(v, 0xfee00000 + v * 0x1000, 0x40 + v, 0);
	msix_raise(&msix, 0);
	msix_raise(&msix, 3);
	for (unsigned int v = 0; v < N; v++)
		ck_assert_uint_eq(host.signals[v], 0);
	msix_set_control(&msix, true, false);
	for (unsigned int v = 0; v < N; v++) {
		ck_assert_uint_eq(host.signals[v], v == 0 || v == 3);
		ck_assert_uint_eq(host.data[v], 0x40 + v);
	}
}
END_TEST

/* A pending vector goes where the entry points when it is unmasked, not where it pointed before. */
START_TEST(test_message_changes_while_masked)
{
	msix_set_control(&msix, true, false);
	entry_set(1, 0xfee00000, 0x31, 0);
	entry_write(1, PCI_MSIX_ENTRY_VECTOR_CTRL, MASKED);
	msix_raise(&msix, 1);
	entry_set(1, 0xfee02000, 0x55, MASKED);
	ck_assert_uint_eq(host.data[1], 0x31);
	entry_write(1, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
	ck_assert_uint_eq(host.address[1], 0xfee02000);
	ck_assert_uint_eq(host.data[1], 0x55);
	ck_assert_uint_eq(host.signals[1], 1);
}
END_TEST

/* Changed while unmasked the new message counts from then on; the same message again is no change. */
START_TEST(test_message_changes_while_live)
{
	msix_set_control(&msix, true, false);
	entry_set(1, 0xfee00000, 0x31, 0);
	entry_write(1, PCI_MSIX_ENTRY_DATA, 0x32);
	ck_assert_uint_eq(host.data[1], 0x32);
	ck_assert_uint_eq(host.routes[1], 2);
	entry_write(1, PCI_MSIX_ENTRY_DATA, 0x32);
	entry_write(1, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
	msix_set_control(&msix, true, false);
	ck_assert_uint_eq(host.routes[1], 2);
	msix_raise(&msix, 1);
	ck_assert_uint_eq(host.signals[1], 1);
}
END_TEST

/* The host cannot make the route: the vector waits, pending, and comes when the guest tries again. */
START_TEST(test_route_fails)
{
	msix_set_control(&msix, true, false);
	host.route_error = -ENOSPC;
	entry_set(1, 0xfee00000, 0x31, 0);
	msix_raise(&msix, 1);
	ck_assert_uint_eq(host.signals[1], 0);
	ck_assert(pending(1));
	host.route_error = 0;
	entry_write(1, PCI_MSIX_ENTRY_VECTOR_CTRL, MASKED);
	entry_write(1, PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
	ck_assert_uint_eq(host.signals[1], 1);
	ck_assert(!pending(1));
	/* The same for a message that changes while live: nothing goes to the old one. */
	host.route_error = -ENOSPC;
	entry_write(1, PCI_MSIX_ENTRY_DATA, 0x32);
	msix_raise(&msix, 1);
	ck_assert_uint_eq(host.signals[1], 1);
	ck_assert(pending(1));
	host.route_error = 0;
	entry_write(1, PCI_MSIX_ENTRY_DATA, 0x33);
	ck_assert_uint_eq(host.signals[1], 2);
	ck_assert_uint_eq(host.data[1], 0x33);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/msix");
	TCase *tc = tcase_create("msix");

	tcase_set_timeout(tc, 30);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_after_reset);
	tcase_add_test(tc, test_table);
	tcase_add_test(tc, test_reserved_bits);
	tcase_add_test(tc, test_access_widths);
	tcase_add_test(tc, test_pba);
	tcase_add_test(tc, test_most_vectors);
	tcase_add_test(tc, test_deliver);
	tcase_add_test(tc, test_no_vector);
	tcase_add_loop_test(tc, test_pending, 0, N_DEAFNESSES);
	tcase_add_loop_test(tc, test_pending_twice_deaf, 0, N_DEAFNESSES * N_DEAFNESSES);
	tcase_add_test(tc, test_enable_masked);
	tcase_add_test(tc, test_message_changes_while_masked);
	tcase_add_test(tc, test_message_changes_while_live);
	tcase_add_test(tc, test_route_fails);
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
