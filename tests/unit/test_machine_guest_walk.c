/* vmm/machine/guest_walk: tables of every mode, made by hand. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/guest_walk_x86.h"

#define MIB  UINT64_C(0x100000)
#define PAGE UINT64_C(0x1000)

#define PRESENT 1u
#define LARGE	0x80u
#define NO_EXEC (UINT64_C(1) << 63)

#define CR0_PAGING 0x80000001u
#define CR4_PSE	   0x10u
#define CR4_PAE	   0x20u
#define CR4_LA57   0x1000u
#define LONG_MODE  0x500u

/* Where tables and data are. */
enum {
	PML5 = 0x1000,
	PML4 = 0x2000,
	PDPT = 0x3000,
	PD = 0x4000,
	PT = 0x5000,
	DATA = 0x8000,
	DATA2 = 0x6000,
	ROOTS = 0xa000, /* two of them */
};

static struct guest_mem mem;
static struct kvm_sregs sregs;

static void setup(void)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = 4 * MIB}};

	ck_assert_int_eq(guest_mem_init(&mem, regions, 1), 0);
	sregs = (struct kvm_sregs){.cr0 = 1};
}

static void teardown(void)
{
	guest_mem_fini(&mem);
}

static void entry64(gpa_t table, unsigned int index, uint64_t value)
{
	ck_assert_int_eq(guest_mem_write(&mem, table + index * 8, &value, 8), 0);
}

static void entry32(gpa_t table, unsigned int index, uint32_t value)
{
	ck_assert_int_eq(guest_mem_write(&mem, table + index * 4, &value, 4), 0);
}

static void must_be(uint64_t address, gpa_t want, uint64_t want_left)
{
	uint64_t left = 0;
	gpa_t gpa = 0;

	ck_assert_int_eq(guest_walk(&mem, &sregs, address, &gpa, &left), 0);
	ck_assert_uint_eq(gpa, want);
	ck_assert_uint_eq(left, want_left);
}

static void must_fail(uint64_t address)
{
	uint64_t left;
	gpa_t gpa;

	ck_assert_int_eq(guest_walk(&mem, &sregs, address, &gpa, &left), -EFAULT);
}

static void long_mode(void)
{
	sregs = (struct kvm_sregs){
		.cr0 = CR0_PAGING, .cr3 = PML4 | 0x18, .cr4 = CR4_PAE, .efer = LONG_MODE};
	entry64(PML4, 511, PDPT | PRESENT);
	entry64(PDPT, 510, PD | PRESENT);
	entry64(PDPT, 511, (UINT64_C(3) << 30) | PRESENT | LARGE);
	entry64(PD, 8, (6 * MIB) | PRESENT | LARGE | NO_EXEC);
	entry64(PD, 9, PT | PRESENT);
	entry64(PT, 0, DATA | PRESENT | NO_EXEC);
	entry64(PT, 1, DATA2 | PRESENT | LARGE); /* there it is another bit */
	entry64(PT, 2, DATA);
}

/* ... nor in left bytes from there on. */
static void must_miss(uint64_t address, uint64_t want_left)
{
	uint64_t left = 0;
	gpa_t gpa;

	ck_assert_int_eq(guest_walk(&mem, &sregs, address, &gpa, &left), -EFAULT);
	ck_assert_uint_eq(left, want_left);
}

/* Two root tables: the program's has little of the kernel. */
START_TEST(isolated_tables)
{
	const uint64_t text = 0xffffffff81000123, user = 0x400010;

	long_mode();
	entry64(ROOTS, 511, PDPT | PRESENT);
	sregs.cr3 = ROOTS | 0x1000 | 0x80;
	entry64(ROOTS, 0, DATA2 | PRESENT | NO_EXEC);
	entry64(ROOTS + PAGE, 0, DATA2 | PRESENT);
	entry64(DATA2, 0, (UINT64_C(1) << 30) | PRESENT | LARGE);
	must_be(user, (UINT64_C(1) << 30) + user, (1 << 30) - user);
	must_be(text, 6 * MIB + 0x123, 2 * MIB - 0x123);
	must_miss(0xffffffff81400000, 2 * MIB);
	/* what a program has not is not looked for elsewhere */
	entry64(ROOTS, 1, PT | PRESENT);
	must_fail(text);
	entry64(ROOTS, 1, 0);
	must_be(text, 6 * MIB + 0x123, 2 * MIB - 0x123);
	/* a page before it that is no root table, and tables without a program */
	entry64(ROOTS, 0, DATA | PRESENT);
	must_fail(text);
	entry64(ROOTS, 0, 0);
	entry64(ROOTS + PAGE, 0, 0);
	must_fail(text);
}
END_TEST

START_TEST(no_paging)
{
	must_be(0x12345, 0x12345, PAGE - 0x345);
	must_be(0xffffffff, 0xffffffff, 1);
	must_fail(UINT64_C(0x100000000));
}
END_TEST

START_TEST(four_levels)
{
	long_mode();
	must_be(0xffffffff81000123, 6 * MIB + 0x123, 2 * MIB - 0x123);
	must_be(0xffffffff81200010, DATA + 0x10, PAGE - 0x10);
	must_be(0xffffffff81201fff, DATA2 + 0xfff, 1);
	must_be(0xffffffffc0000001, (UINT64_C(3) << 30) + 1, (1 << 30) - 1);
	/* an entry that is not there, at each level */
	must_miss(0xffffffff81202010, PAGE - 0x10);
	must_miss(0xffffffff81400000, 2 * MIB);
	must_miss(0xffffffff40000001, (1 << 30) - 1);
	must_miss(0xffff800000000000, UINT64_C(1) << 39);
	must_fail(0x0000ffff81200010); /* not canonical */
}
END_TEST

START_TEST(five_levels)
{
	long_mode();
	sregs.cr3 = PML5;
	sregs.cr4 |= CR4_LA57;
	entry64(PML5, 0x1fe, PML4 | PRESENT);
	must_be(0xfffeffff81200010, DATA + 0x10, PAGE - 0x10);
	must_fail(0xffffffff81200010);
	must_fail(0x00feffff81200010 | (UINT64_C(1) << 63));
}
END_TEST

/* A page cannot be that large. */
START_TEST(no_page_of_512_gib)
{
	long_mode();
	entry64(PML4, 511, PDPT | PRESENT | LARGE);
	must_be(0xffffffff81200010, DATA + 0x10, PAGE - 0x10);
}
END_TEST

START_TEST(pae)
{
	sregs = (struct kvm_sregs){.cr0 = CR0_PAGING, .cr3 = PDPT | 0x20, .cr4 = CR4_PAE};
	entry64(PDPT | 0x20, 3, PD | PRESENT | LARGE); /* no page of 1 GiB either */
	entry64(PD, 0, (UINT64_C(1) << 33) | PRESENT | LARGE);
	entry64(PD, 1, PT | PRESENT);
	entry64(PT, 5, DATA | PRESENT | NO_EXEC);
	must_be(0xc0000001, (UINT64_C(1) << 33) + 1, 2 * MIB - 1);
	must_be(0xc0205123, DATA + 0x123, PAGE - 0x123);
	must_fail(0xc0206000);
	must_fail(0x80000000);
	must_fail(0xffffffffc0205123);
}
END_TEST

START_TEST(two_levels)
{
	sregs = (struct kvm_sregs){.cr0 = CR0_PAGING, .cr3 = PD | 8, .cr4 = CR4_PSE};
	entry32(PD, 768, 0x00800000 | (0x05 << 13) | PRESENT | LARGE);
	entry32(PD, 769, PT | PRESENT);
	entry32(PT, 7, DATA | PRESENT);
	must_be(0xc0000010, UINT64_C(0x500800010), 4 * MIB - 0x10);
	must_be(0xc0407ffe, DATA + 0xffe, 2);
	must_fail(0xc0408000);
	must_fail(0xb0000000);
	/* Without PSE it is a table, whose entry is nothing. */
	sregs.cr4 = 0;
	must_fail(0xc0000010);
}
END_TEST

/* Tables that lie outside memory, or that contain themselves. */
START_TEST(hostile_tables)
{
	long_mode();
	entry64(PML4, 0, (UINT64_C(1) << 40) | PRESENT);
	must_fail(0x1000);
	sregs.cr3 = UINT64_MAX;
	must_fail(0x1000);
	sregs.cr3 = PML4;
	entry64(PML4, 1, PML4 | PRESENT);
	must_be((UINT64_C(1) << 39) | (UINT64_C(1) << 30) | (UINT64_C(1) << 21) | (1 << 12), PML4,
		PAGE);
}
END_TEST

START_TEST(copies_over_pages)
{
	char buf[0x40] = {0};

	long_mode();
	ck_assert_int_eq(guest_mem_write(&mem, DATA + PAGE - 6, "Hello,", 6), 0);
	ck_assert_int_eq(guest_mem_write(&mem, DATA2, " world", 6), 0);
	ck_assert_uint_eq(guest_walk_read(&mem, &sregs, 0xffffffff81200ffa, buf, 12), 12);
	ck_assert_str_eq(buf, "Hello, world");
	/* up to the page that is not there */
	ck_assert_uint_eq(guest_walk_read(&mem, &sregs, 0xffffffff81201ff0, buf, 0x40), 0x10);
	ck_assert_uint_eq(guest_walk_read(&mem, &sregs, 0xffffffff81202000, buf, 1), 0);
	/* mapped, but not memory */
	ck_assert_uint_eq(guest_walk_read(&mem, &sregs, 0xffffffff81000000, buf, 1), 0);
	/* the address space's end */
	ck_assert_uint_eq(guest_walk_read(&mem, &sregs, UINT64_MAX, buf, 2), 0);
	ck_assert_uint_eq(guest_walk_write(&mem, &sregs, 0xffffffff81200fff, "ab", 2), 2);
	ck_assert_int_eq(guest_mem_read(&mem, DATA + PAGE - 1, buf, 1), 0);
	ck_assert_int_eq(guest_mem_read(&mem, DATA2, buf + 1, 1), 0);
	ck_assert_int_eq(memcmp(buf, "ab", 2), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine/guest_walk");
	TCase *tc = tcase_create("walk");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, no_paging);
	tcase_add_test(tc, isolated_tables);
	tcase_add_test(tc, four_levels);
	tcase_add_test(tc, five_levels);
	tcase_add_test(tc, no_page_of_512_gib);
	tcase_add_test(tc, pae);
	tcase_add_test(tc, two_levels);
	tcase_add_test(tc, hostile_tables);
	tcase_add_test(tc, copies_over_pages);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
