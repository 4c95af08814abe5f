/* vmm/machine/guest_vmcoreinfo, guest_log: a page and a ring as Linux has them, made by hand, whole and broken. */
#include <check.h>
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/guest_log_x86.h"

#define MIB  UINT64_C(0x100000)
#define PAGE 0x1000u

/* Without paging addresses are what they are. */
enum {
	NOTE = 7 * PAGE,
	PRB = 0x20000, /* the pointer */
	RING = 0x21000,
	DESCS = 0x22000,
	INFOS = 0x23000,
	DATA = 0x24000,
	DATA_BITS = 9,
	COUNT_BITS = 3,
};

#define FINALIZED UINT64_C(2)

static const char layout[] = "OSRELEASE=6.1.0-test\n"
			     "SYMBOL(prb)=20000\n"
			     "OFFSET(printk_ringbuffer.desc_ring)=0\n"
			     "OFFSET(printk_ringbuffer.text_data_ring)=48\n"
			     "OFFSET(prb_desc_ring.count_bits)=0\n"
			     "OFFSET(prb_desc_ring.descs)=8\n"
			     "OFFSET(prb_desc_ring.infos)=16\n"
			     "OFFSET(prb_desc_ring.head_id)=24\n"
			     "SIZE(prb_desc)=24\n"
			     "OFFSET(prb_desc.state_var)=0\n"
			     "OFFSET(prb_desc.text_blk_lpos)=8\n"
			     "OFFSET(prb_data_blk_lpos.begin)=0\n"
			     "OFFSET(prb_data_blk_lpos.next)=8\n"
			     "SIZE(printk_info)=88\n"
			     "OFFSET(printk_info.ts_nsec)=8\n"
			     "OFFSET(printk_info.text_len)=16\n"
			     "OFFSET(prb_data_ring.size_bits)=0\n"
			     "OFFSET(prb_data_ring.data)=8\n";

static struct guest_mem mem;
static struct guest_vmcoreinfo info;
static const struct kvm_sregs sregs = {.cr0 = 1};
static uint64_t at; /* in the text ring, free running */

static void put(gpa_t gpa, const void *bytes, size_t len)
{
	ck_assert_int_eq(guest_mem_write(&mem, gpa, bytes, len), 0);
}

static void put64(gpa_t gpa, uint64_t value)
{
	put(gpa, &value, sizeof(value));
}

static void put_note(gpa_t gpa, const char *name, const char *text, size_t len)
{
	const Elf64_Nhdr note = {.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)len};

	put(gpa, &note, sizeof(note));
	put(gpa + sizeof(note), name, strlen(name) + 1);
	put(gpa + sizeof(note) + 12, text, len);
}

static void put_ring(void)
{
	const uint32_t count = COUNT_BITS, size = DATA_BITS;

	put64(PRB, RING);
	put(RING, &count, 4);
	put64(RING + 8, DESCS);
	put64(RING + 16, INFOS);
	put(RING + 48, &size, 4);
	put64(RING + 56, DATA);
}

static void put_desc(uint64_t id, uint64_t state, uint64_t begin, uint64_t next, uint64_t ns,
		     uint16_t len)
{
	gpa_t desc = DESCS + id % (1 << COUNT_BITS) * 24, inf = INFOS + id % (1 << COUNT_BITS) * 88;

	put64(desc, id | state << 62);
	put64(desc + 8, begin);
	put64(desc + 16, next);
	put64(inf + 8, ns);
	put(inf + 16, &len, 2);
	put64(RING + 24, id); /* the head */
}

/* One message more, as the kernel lays it out. */
static void say(uint64_t id, const char *text)
{
	uint64_t size = (8 + strlen(text) + 7) & ~UINT64_C(7), begin = at, next = at + size;
	uint64_t block = begin;

	if (begin >> DATA_BITS != next >> DATA_BITS) {
		block = next >> DATA_BITS << DATA_BITS;
		next = block + size;
	}
	put64(DATA + block % (1 << DATA_BITS), id);
	put(DATA + block % (1 << DATA_BITS) + 8, text, strlen(text));
	put_desc(id, FINALIZED, begin, next, id * 1500000000, (uint16_t)strlen(text));
	at = next;
}

static void setup(void)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = MIB},
						   {.base = 4 * MIB, .size = MIB}};

	ck_assert_int_eq(guest_mem_init(&mem, regions, 2), 0);
	put_note(NOTE, "VMCOREINFO", layout, strlen(layout));
	put_ring();
	at = 0;
}

static void teardown(void)
{
	guest_mem_fini(&mem);
}

static void must_say(unsigned int n, const char *want)
{
	char *text;

	ck_assert(guest_vmcoreinfo_find(&mem, &info));
	text = guest_log_read(&mem, &sregs, &info, n);
	if (want)
		ck_assert_str_eq(text, want);
	else
		ck_assert_ptr_null(text);
	free(text);
}

START_TEST(the_note)
{
	uint64_t number;

	ck_assert(guest_vmcoreinfo_find(&mem, &info));
	ck_assert_str_eq(info.text, layout);
	ck_assert_uint_eq(info.len, strlen(layout));
	ck_assert(guest_vmcoreinfo_number(&info, "SYMBOL(prb)=", 16, &number));
	ck_assert_uint_eq(number, 0x20000);
	ck_assert(!guest_vmcoreinfo_number(&info, "SYMBOL(pr)=", 16, &number));
	ck_assert(!guest_vmcoreinfo_number(&info, "prb)=", 16, &number));
}
END_TEST

START_TEST(the_note_elsewhere)
{
	static const char zeros[PAGE];

	put(NOTE, zeros, PAGE);
	ck_assert(!guest_vmcoreinfo_find(&mem, &info));
	put_note(NOTE + 8, "VMCOREINFO", layout, strlen(layout)); /* not at a page's start */
	ck_assert(!guest_vmcoreinfo_find(&mem, &info));
	put_note(5 * MIB - PAGE, "VMCOREINFO", layout, strlen(layout)); /* the last page */
	ck_assert(guest_vmcoreinfo_find(&mem, &info));
}
END_TEST

START_TEST(no_note)
{
	static char text[PAGE + 1] = "OSRELEASE=6\n";
	const Elf64_Nhdr huge = {.n_namesz = 11, .n_descsz = UINT32_MAX};

	put_note(NOTE, "VMCOREINFX", layout, strlen(layout));
	ck_assert(!guest_vmcoreinfo_find(&mem, &info));
	put_note(NOTE, "VMCOREINFO", "OSRELEASE\n", 10);
	ck_assert(!guest_vmcoreinfo_find(&mem, &info));
	put_note(NOTE, "VMCOREINFO", "OSRELEASE=\33[2J\n", 15);
	ck_assert(!guest_vmcoreinfo_find(&mem, &info));
	put(NOTE, &huge, sizeof(huge));
	ck_assert(!guest_vmcoreinfo_find(&mem, &info));
	/* as long as it may be, and longer */
	memset(text + 12, 'x', PAGE - 12);
	put_note(NOTE, "VMCOREINFO", text, PAGE);
	ck_assert(guest_vmcoreinfo_find(&mem, &info));
	ck_assert_uint_eq(strlen(info.text), PAGE);
	put_note(NOTE, "VMCOREINFO", text, PAGE + 1);
	ck_assert(!guest_vmcoreinfo_find(&mem, &info));
	/* over the end of memory */
	put_note(NOTE, "-", "", 0);
	put(MIB - PAGE, &(Elf64_Nhdr){.n_namesz = 11, .n_descsz = PAGE}, sizeof(Elf64_Nhdr));
	put(MIB - PAGE + 12, "VMCOREINFO", 11);
	ck_assert(!guest_vmcoreinfo_find(&mem, &info));
}
END_TEST

START_TEST(messages)
{
	must_say(10, NULL);
	say(100, "first");
	say(101, "");
	say(102, "Kernel panic\33[2J\nsecond line");
	must_say(10, "[  150.000000] first\n[  151.500000] \n[  153.000000] Kernel "
		     "panic\33[2J\nsecond line\n");
	must_say(1, "[  153.000000] Kernel panic\33[2J\nsecond line\n");
	must_say(0, NULL);
}
END_TEST

/* The ring of texts and that of descriptors both turn over. */
START_TEST(many_messages)
{
	char text[64], want[1024] = "";

	for (unsigned int i = 1; i <= 50; i++) {
		snprintf(text, sizeof(text), "message number %u", i);
		say(i, text);
		if (i > 42)
			sprintf(want + strlen(want), "[%5u.%06u] %s\n", i * 3 / 2, i % 2 * 500000,
				text);
	}
	must_say(1000, want);
}
END_TEST

START_TEST(not_messages)
{
	say(7, "good");
	put_desc(8, 0, 24, 48, 0, 4);		    /* being written */
	put_desc(9, 3, 24, 48, 0, 4);		    /* free again */
	put_desc(10, FINALIZED, 1, 1, 0, 4);	    /* no text */
	put64(DESCS + 3 * 24, 3 | FINALIZED << 62); /* of a turn before: 11 is expected there */
	put64(RING + 24, 12);
	must_say(20, "[   10.500000] good\n");
}
END_TEST

/* Whatever the guest writes there, nothing is read but its memory, and little of that. */
START_TEST(hostile_ring)
{
	char *longest;
	static const uint64_t evil[] = {0,	 1,	     UINT64_MAX, UINT64_C(1) << 63,
					MIB - 4, UINT32_MAX, 0x21001};

	for (unsigned int i = 0; i < sizeof(evil) / sizeof(evil[0]); i++) {
		for (gpa_t where = RING; where < RING + 64; where += 4) {
			char *text;

			put_ring();
			say(5, "good");
			put64(where, evil[i]);
			ck_assert(guest_vmcoreinfo_find(&mem, &info));
			text = guest_log_read(&mem, &sregs, &info, 40);
			ck_assert(!text || strlen(text) < 40 * 1100);
			free(text);
		}
	}
	put_ring();
	put_desc(5, FINALIZED, 0x1f8, 0x10, 0, UINT16_MAX); /* longer than the ring, over its end */
	ck_assert(guest_vmcoreinfo_find(&mem, &info));
	longest = guest_log_read(&mem, &sregs, &info, 1);
	ck_assert_uint_eq(strlen(longest), strlen("[    0.000000] \n") + 1024);
	free(longest);
}
END_TEST

START_TEST(no_layout)
{
	static const char old[] = "OSRELEASE=5.4.0\nSYMBOL(log_buf)=1000\n";

	put_note(NOTE, "VMCOREINFO", old, strlen(old));
	must_say(10, NULL);
	ck_assert(guest_vmcoreinfo_find(&mem, &info));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("machine/guest_log");
	TCase *tc = tcase_create("log");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, the_note);
	tcase_add_test(tc, the_note_elsewhere);
	tcase_add_test(tc, no_note);
	tcase_add_test(tc, messages);
	tcase_add_test(tc, many_messages);
	tcase_add_test(tc, not_messages);
	tcase_add_test(tc, hostile_ring);
	tcase_add_test(tc, no_layout);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
