/* boot/aml and aml_resource: the bytes of ACPI 6.3 chapter 20.2 and 6.4, and a buffer that is too small. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "boot/aml.h"
#include "boot/aml_resource.h"

static uint8_t buf[0x200000];
static struct aml aml;

static void setup(void)
{
	memset(buf, 0xee, sizeof(buf));
	aml_init(&aml, buf, sizeof(buf));
}

#define expect(bytes)                                                                              \
	do {                                                                                       \
		ck_assert(!aml.failed);                                                            \
		ck_assert_uint_eq(aml.depth, 0);                                                   \
		ck_assert_uint_eq(aml.len, sizeof(bytes) - 1);                                     \
		ck_assert_mem_eq(buf, bytes, sizeof(bytes) - 1);                                   \
		setup();                                                                           \
	} while (0)

START_TEST(encodes_integers)
{
	aml_integer(&aml, 0);
	expect("\x00");
	aml_integer(&aml, 1);
	expect("\x01");
	aml_integer(&aml, 2);
	expect("\x0a\x02");
	aml_integer(&aml, 0xff);
	expect("\x0a\xff");
	aml_integer(&aml, 0x100);
	expect("\x0b\x00\x01");
	aml_integer(&aml, 0xffff);
	expect("\x0b\xff\xff");
	aml_integer(&aml, 0x10000);
	expect("\x0c\x00\x00\x01\x00");
	aml_integer(&aml, 0xffffffff);
	expect("\x0c\xff\xff\xff\xff");
	aml_integer(&aml, 0x100000000);
	expect("\x0e\x00\x00\x00\x00\x01\x00\x00\x00");
	aml_integer(&aml, UINT64_MAX);
	expect("\x0e\xff\xff\xff\xff\xff\xff\xff\xff");
}
END_TEST

START_TEST(encodes_names)
{
	aml_path(&aml, "PWRB");
	expect("PWRB");
	aml_path(&aml, "A");
	expect("A___");
	aml_path(&aml, "\\_SB");
	expect("\\_SB_");
	aml_path(&aml, "\\_SB.PCI0");
	expect("\\\x2e_SB_PCI0");
	aml_path(&aml, "\\_SB.PCI0.S00");
	expect("\\\x2f\x03_SB_PCI0S00_");
	aml_name_integer(&aml, "_UID", 3);
	expect("\x08_UID\x0a\x03");
	aml_name(&aml, "X");
	aml_string(&aml, "text");
	expect("\x08X___\x0dtext\0");
}
END_TEST

START_TEST(encodes_eisa_ids)
{
	aml_eisa_id(&aml, "PNP0501");
	expect("\x0c\x41\xd0\x05\x01");
	aml_eisa_id(&aml, "PNP0C0C");
	expect("\x0c\x41\xd0\x0c\x0c");
	aml_eisa_id(&aml, "PNP0A03");
	expect("\x0c\x41\xd0\x0a\x03");
}
END_TEST

START_TEST(encodes_packages)
{
	aml_begin_scope(&aml, "\\_SB");
	aml_begin_device(&aml, "D");
	aml_begin_method(&aml, "M", 1);
	aml_end(&aml);
	aml_end(&aml);
	aml_end(&aml);
	expect("\x10\x14\\_SB_\x5b\x82\x0c"
	       "D___\x14\x06M___\x09");

	aml_begin_package(&aml, 2);
	aml_integer(&aml, 0);
	aml_integer(&aml, 7);
	aml_end(&aml);
	expect("\x12\x05\x02\x00\x0a\x07");
}
END_TEST

START_TEST(encodes_statements)
{
	aml_load_local0(&aml, "EVTS");
	expect("\x70"
	       "EVTS\x60");
	aml_begin_if_local0(&aml, 1);
	aml_notify(&aml, "\\_SB.PWRB", 0x80);
	aml_end(&aml);
	expect("\xa0\x12\x7b\x60\x01\x00\x86\\\x2e_SB_PWRB\x0a\x80");
	aml_io_register(&aml, "EREG", 0x600, "EVTS");
	expect("\x5b\x80"
	       "EREG\x01\x0b\x00\x06\x01\x5b\x81\x0b"
	       "EREG\x01"
	       "EVTS\x08");
}
END_TEST

/* Content of len bytes behind a package operator, and the length as it must stand before it (20.2.4). */
static void expect_length(size_t len, const char *encoded, size_t n)
{
	static uint8_t content[0x100000];

	setup();
	memset(content, 'x', sizeof(content));
	aml_begin_buffer(&aml);
	aml_bytes(&aml, content, len);
	aml_end(&aml);
	ck_assert(!aml.failed);
	ck_assert_uint_eq(aml.len, 1 + n + len);
	ck_assert_mem_eq(buf + 1, encoded, n);
	ck_assert_int_eq(memcmp(buf + 1 + n, content, len), 0);
	ck_assert_uint_eq(buf[aml.len], 0xee);
}

START_TEST(encodes_package_lengths)
{
	expect_length(0, "\x01", 1);
	expect_length(62, "\x3f", 1);
	expect_length(63, "\x41\x04", 2);	/* 65 = 0x041 */
	expect_length(4093, "\x4f\xff", 2);	/* 4095 = 0xfff */
	expect_length(4094, "\x81\x00\x01", 3); /* 4097 = 0x01001 */
	expect_length(0xffffc, "\x8f\xff\xff", 3);
	expect_length(0xffffd, "\xc1\x00\x00\x01", 4); /* 0x0100001 */
}
END_TEST

/* The length of an outer package counts the bytes of the inner one's length. */
START_TEST(nests_lengths)
{
	aml_begin_scope(&aml, "\\_SB");
	aml_begin_buffer(&aml);
	for (unsigned int i = 0; i < 100; i++)
		aml_bytes(&aml, "y", 1);
	aml_end(&aml);
	aml_end(&aml);
	ck_assert_uint_eq(aml.len, 1 + 2 + 5 + 1 + 2 + 100);
	ck_assert_mem_eq(buf, "\x10\x4e\x06\\_SB_\x11\x46\x06y", 12);
}
END_TEST

START_TEST(encodes_resources)
{
	aml_resource_begin(&aml);
	aml_resource_io(&aml, 0x3f8, 8);
	aml_resource_interrupt(&aml, 4);
	aml_resource_end(&aml);
	expect("\x11\x17\x0b\x13\x00"
	       "\x47\x01\xf8\x03\xf8\x03\x01\x08"
	       "\x89\x06\x00\x03\x01\x04\x00\x00\x00"
	       "\x79\x00");

	aml_resource_begin(&aml);
	aml_resource_bus_window(&aml, 0, 0);
	aml_resource_io_window(&aml, 0x1000, 0xf000);
	aml_resource_memory_window(&aml, 0xc0000000, 0x30000000);
	aml_resource_end(&aml);
	expect("\x11\x41\x04\x0b\x3c\x00"
	       "\x88\x0d\x00\x02\x0c\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00"
	       "\x88\x0d\x00\x01\x0c\x03\x00\x00\x00\x10\xff\xff\x00\x00\x00\xf0"
	       "\x87\x17\x00\x00\x0c\x01\x00\x00\x00\x00\x00\x00\x00\xc0\xff\xff\xff\xef"
	       "\x00\x00\x00\x00\x00\x00\x00\x30"
	       "\x79\x00");
}
END_TEST

static void write_something(void)
{
	aml_begin_scope(&aml, "\\_SB");
	aml_begin_device(&aml, "DEV");
	aml_name(&aml, "_CRS");
	aml_resource_begin(&aml);
	aml_resource_interrupt(&aml, 4);
	aml_resource_end(&aml);
	aml_end(&aml);
	aml_end(&aml);
}

/* Whatever does not fit makes it fail, at each place, and no byte behind the buffer changes. */
START_TEST(fails_when_full)
{
	size_t need;

	write_something();
	need = aml.len;
	for (size_t size = 0; size <= need; size++) {
		setup();
		aml_init(&aml, buf, size);
		write_something();
		ck_assert(aml.failed == (size < need));
		ck_assert_uint_eq(buf[size], 0xee);
	}
}
END_TEST

START_TEST(fails_when_nested_too_deep)
{
	for (unsigned int i = 0; i < AML_MAX_DEPTH; i++)
		aml_begin_scope(&aml, "S");
	ck_assert(!aml.failed);
	aml_begin_scope(&aml, "S");
	ck_assert(aml.failed);
	for (unsigned int i = 0; i < AML_MAX_DEPTH + 1; i++)
		aml_end(&aml);
	ck_assert(aml.failed);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/aml");
	TCase *tc = tcase_create("aml");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, encodes_integers);
	tcase_add_test(tc, encodes_names);
	tcase_add_test(tc, encodes_eisa_ids);
	tcase_add_test(tc, encodes_packages);
	tcase_add_test(tc, encodes_statements);
	tcase_add_test(tc, encodes_package_lengths);
	tcase_add_test(tc, nests_lengths);
	tcase_add_test(tc, encodes_resources);
	tcase_add_test(tc, fails_when_full);
	tcase_add_test(tc, fails_when_nested_too_deep);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
