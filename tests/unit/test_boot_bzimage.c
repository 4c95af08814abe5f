/* boot/bzimage: good kernels of several ages, each header field absurd in turn, and files cut off. */
#include "boot_fixture.h"

static void setup(void)
{
	fixture_setup();
	fixture_make_bzimage();
}

static const struct boot_params *zero_page(void)
{
	return guest_mem_ptr(&mem, layout.zero_page, sizeof(struct boot_params));
}

static void expect_kernel_at(gpa_t load)
{
	const uint8_t *kernel = guest_bytes(load, BZ_SIZE);

	ck_assert_mem_eq(kernel, bz_file + BZ_OFFSET, BZ_SIZE);
	ck_assert_uint_eq(zero_page()->hdr.code32_start, load);
}

START_TEST(loads_a_64_bit_kernel)
{
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX64);
	ck_assert_uint_eq(entry.entry, BZ_PREF + 0x200);
	ck_assert_uint_eq(entry.params, layout.zero_page);
	ck_assert_uint_eq(entry.gdt, layout.gdt);
	ck_assert_uint_eq(entry.page_tables, layout.page_tables);
	expect_kernel_at(BZ_PREF);
}
END_TEST

START_TEST(fills_in_the_header)
{
	const struct setup_header *hdr;

	bz_hdr->loadflags = 0xff;
	bz_hdr->type_of_loader = 0x12;
	bz_hdr->ext_loader_type = 0x34;
	bz_hdr->ext_loader_ver = 0x56;
	bz_hdr->setup_data = 0x1234;
	bz_hdr->hardware_subarch = 3;
	bz_hdr->root_flags = 1;
	bz_hdr->handover_offset = 0x190;
	fixture_expect_booted(fixture_boot_bzimage());
	hdr = &zero_page()->hdr;
	ck_assert_uint_eq(hdr->loadflags, LOADED_HIGH);
	ck_assert_uint_eq(hdr->type_of_loader, 0xff);
	ck_assert_uint_eq(hdr->ext_loader_type, 0);
	ck_assert_uint_eq(hdr->ext_loader_ver, 0);
	ck_assert_uint_eq(hdr->setup_data, 0);
	ck_assert_uint_eq(hdr->hardware_subarch, 0);
	/* what is not the loader's business is as in the file */
	ck_assert_uint_eq(hdr->root_flags, 1);
	ck_assert_uint_eq(hdr->handover_offset, 0x190);
	ck_assert_uint_eq(hdr->kernel_alignment, 0x200000);
	ck_assert_uint_eq(hdr->init_size, BZ_INIT_SIZE);
	ck_assert_uint_eq(hdr->version, 0x20f);
}
END_TEST

/* The bytes around the header are none of the zero page's: the sentinel above all. */
START_TEST(copies_nothing_but_the_header)
{
	memset(bz_file, 0xff, 0x1f1);
	memset(bz_file + 0x202 + 0x6a, 0xff, 1024 - 0x202 - 0x6a);
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(zero_page()->sentinel, 0);
	ck_assert_uint_eq(((const uint8_t *)zero_page())[0], 0);
	ck_assert_uint_eq(((const uint8_t *)zero_page())[0x26b], 0);
	ck_assert_uint_eq(((const uint8_t *)zero_page())[0x26c], 0);
}
END_TEST

/* A header longer than the one we know is copied as far as the zero page has room for it. */
START_TEST(copies_a_longer_header)
{
	bz_file[0x201] = 0x7f;
	memset(bz_file + 0x26c, 0xab, 0x281 - 0x26c);
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(((const uint8_t *)zero_page())[0x280], 0xab);
	ck_assert_uint_eq(((const uint8_t *)zero_page())[0x281], 0);
}
END_TEST

START_TEST(loads_a_32_bit_kernel)
{
	bz_hdr->xloadflags = 0;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX32);
	ck_assert_uint_eq(entry.entry, BZ_PREF);
	ck_assert_uint_eq(entry.page_tables, 0);
}
END_TEST

/* xloadflags is no flag field before 2.12. */
START_TEST(ignores_xloadflags_of_old_kernels)
{
	bz_hdr->version = 0x20b;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX32);
}
END_TEST

START_TEST(loads_an_unrelocatable_kernel_at_1_mib)
{
	bz_hdr->relocatable_kernel = 0;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(entry.entry, 0x100200);
	expect_kernel_at(0x100000);
}
END_TEST

/* 2.06 has no pref_address; what stands behind its header is no field. */
START_TEST(loads_a_kernel_of_protocol_2_06)
{
	bz_hdr->version = 0x206;
	bz_file[0x201] = 0x23c - 0x202;
	bz_hdr->pref_address = 0xffffffffffff;
	bz_hdr->init_size = 0xffffffff;
	bz_hdr->payload_offset = 0xffffffff;
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_int_eq(entry.protocol, BOOT_LINUX32);
	ck_assert_uint_eq(entry.entry, 0x200000);
	ck_assert_uint_eq(zero_page()->hdr.pref_address, 0);

	bz_hdr->relocatable_kernel = 0;
	fixture_expect_booted(fixture_boot_bzimage());
	expect_kernel_at(0x100000);
}
END_TEST

/* Free-standing guests have no compressed payload, and take no more than their own size. */
START_TEST(loads_a_kernel_without_payload)
{
	bz_hdr->payload_offset = 0;
	bz_hdr->payload_length = 0;
	bz_hdr->init_size = 0;
	bz_hdr->pref_address = 0x100000;
	bz_hdr->kernel_alignment = 0x1000;
	fixture_expect_booted(fixture_boot_bzimage());
	expect_kernel_at(0x100000);
}
END_TEST

/* A signature behind the kernel is neither loaded nor minded. */
START_TEST(ignores_what_follows_the_kernel)
{
	static uint8_t file[BZ_FILE + 1472];

	memset(file, 0x30, sizeof(file));
	memcpy(file, bz_file, sizeof(bz_file));
	fixture_expect_booted(fixture_boot(file, sizeof(file)));
	ck_assert_uint_eq(*guest_bytes(BZ_PREF + BZ_SIZE, 1), 0);
}
END_TEST

/* setup_sects 0 is 4 (boot.rst): a kernel of exactly that works. */
START_TEST(takes_0_setup_sectors_for_4)
{
	static uint8_t file[BZ_FILE + 512];

	memcpy(file, bz_file, BZ_OFFSET);
	memcpy(file + 5 * 512, bz_file + BZ_OFFSET, BZ_SIZE);
	file[0x1f1] = 0;
	fixture_expect_booted(fixture_boot(file, sizeof(file)));
	expect_kernel_at(BZ_PREF);
}
END_TEST

START_TEST(needs_exactly_what_the_decompressor_needs)
{
	fixture_teardown();
	fixture_setup_ram(18 * MIB);
	fixture_expect_booted(fixture_boot_bzimage());

	bz_hdr->init_size = BZ_INIT_SIZE + 1;
	memset(&entry, 0xee, sizeof(entry));
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM,
			       "needs at least 19 MiB of guest memory, has 18 MiB");
}
END_TEST

struct absurd {
	size_t offset;
	size_t width;
	uint64_t value;
	int err;
	const char *words;
};

#define FIELD(name)                                                                                \
	0x1f1 + offsetof(struct setup_header, name), sizeof(((struct setup_header *)0)->name)

static const struct absurd absurds[] = {
	{FIELD(setup_sects), 0, ENOEXEC, "cut off: 10240 bytes of 10752"},
	{FIELD(setup_sects), 1, ENOEXEC, "no compressed kernel begins at setup_sects 1"},
	{FIELD(setup_sects), 4, ENOEXEC, "cut off: 10240 bytes of 10752"},
	{FIELD(setup_sects), 255, ENOEXEC, "cut off"},
	{FIELD(syssize), 0, ENOEXEC, "syssize tells of 0 bytes"},
	{FIELD(syssize), 0x20, ENOEXEC, "syssize tells of 512 bytes"},
	{FIELD(syssize), 0x30, ENOEXEC, "of payload at"},
	{FIELD(syssize), BZ_SIZE / 16 + 1, ENOEXEC, "cut off: 10240 bytes of 10256"},
	{FIELD(syssize), BZ_SIZE / 16 + 2, ENOEXEC, "cut off: 10240 bytes of 10272"},
	{FIELD(syssize), 0xffffffff, ENOEXEC, "cut off"},
	{FIELD(boot_flag), 0, ENOEXEC, "boot_flag is 0x0000"},
	{FIELD(boot_flag), 0x55aa, ENOEXEC, "boot_flag is 0x55aa"},
	{FIELD(jump), 0, ENOEXEC, "no jump"},
	{FIELD(jump), 0xffeb, ENOEXEC, "no jump"},
	{FIELD(jump), 0x00eb, ENOEXEC, "17 bytes are too few for boot protocol 2.15"},
	{FIELD(jump), 0x61eb, ENOEXEC, "too few"},
	{FIELD(header), 0, ENOEXEC, "this is a boot sector"},
	{FIELD(version), 0, ENOEXEC, "boot protocol 0.00; vmm needs 2.06"},
	{FIELD(version), 0x205, ENOEXEC, "boot protocol 2.05; vmm needs 2.06"},
	{FIELD(version), 0x300, ENOEXEC, "boot protocol 3.00; vmm knows 2.x"},
	{FIELD(version), 0xffff, ENOEXEC, "boot protocol 255.255"},
	{FIELD(loadflags), 0, ENOEXEC, "zImage"},
	{FIELD(loadflags), 0xfe, ENOEXEC, "zImage"},
	{FIELD(kernel_alignment), 0, ENOEXEC, "kernel_alignment is 0x0"},
	{FIELD(kernel_alignment), 3, ENOEXEC, "kernel_alignment is 0x3"},
	{FIELD(kernel_alignment), 0xffffffff, ENOEXEC, "kernel_alignment"},
	{FIELD(kernel_alignment), 0x80000000, ENOMEM, "needs at least 2050 MiB"},
	{FIELD(cmdline_size), 0, E2BIG, "13 characters, the kernel takes 0"},
	{FIELD(cmdline_size), 12, E2BIG, "13 characters, the kernel takes 12"},
	{FIELD(payload_offset), 0, ENOEXEC, "no compressed kernel begins"},
	{FIELD(payload_offset), BZ_PAYLOAD + 1, ENOEXEC, "no compressed kernel begins"},
	{FIELD(payload_offset), 0xffffffff, ENOEXEC, "of payload at"},
	{FIELD(payload_length), 0, ENOEXEC, "0 bytes of payload"},
	{FIELD(payload_length), BZ_SIZE, ENOEXEC, "of payload at"},
	{FIELD(payload_length), 0xffffffff, ENOEXEC, "of payload at"},
	{FIELD(pref_address), 0, ENOEXEC, "pref_address 0x0 is below 1 MiB"},
	{FIELD(pref_address), 0xfffff, ENOEXEC, "below 1 MiB"},
	{FIELD(pref_address), 62 * MIB + 1, ENOMEM,
	 "needs at least 66 MiB of guest memory, has 64 MiB"},
	{FIELD(pref_address), 1ULL << 32, ENOMEM, "needs at least 4098 MiB"},
	{FIELD(pref_address), ~0ULL, ENOEXEC, "kernel_alignment"},
	{FIELD(pref_address), ~0ULL << 21, ENOEXEC, "pref_address is 0xffffffffffe00000"},
	{FIELD(init_size), 0, ENOEXEC, "init_size is 0"},
	{FIELD(init_size), BZ_SIZE - 65, ENOEXEC, "init_size is 8127"},
	{FIELD(init_size), 0xffffffff, ENOMEM, "needs at least 4112 MiB"},
};

START_TEST(refuses_absurd_fields)
{
	const struct absurd *a = &absurds[_i];

	memcpy(bz_file + a->offset, &a->value, a->width);
	fixture_expect_refused(fixture_boot_bzimage(), a->err, a->words);
}
END_TEST

static const struct absurd ignored[] = {
	{FIELD(root_flags), 0xffff, 0, NULL},	    {FIELD(ram_size), 0xffff, 0, NULL},
	{FIELD(vid_mode), 0xffff, 0, NULL},	    {FIELD(root_dev), 0xffff, 0, NULL},
	{FIELD(realmode_swtch), ~0U, 0, NULL},	    {FIELD(start_sys_seg), 0xffff, 0, NULL},
	{FIELD(kernel_version), 0xffff, 0, NULL},   {FIELD(type_of_loader), 0xff, 0, NULL},
	{FIELD(setup_move_size), 0xffff, 0, NULL},  {FIELD(code32_start), ~0U, 0, NULL},
	{FIELD(ramdisk_image), ~0U, 0, NULL},	    {FIELD(ramdisk_size), ~0U, 0, NULL},
	{FIELD(bootsect_kludge), ~0U, 0, NULL},	    {FIELD(heap_end_ptr), 0xffff, 0, NULL},
	{FIELD(cmd_line_ptr), ~0U, 0, NULL},	    {FIELD(initrd_addr_max), 0, 0, NULL},
	{FIELD(relocatable_kernel), 0xff, 0, NULL}, {FIELD(min_alignment), 0xff, 0, NULL},
	{FIELD(xloadflags), 0xffff, 0, NULL},	    {FIELD(cmdline_size), ~0U, 0, NULL},
	{FIELD(hardware_subarch), ~0U, 0, NULL},    {FIELD(hardware_subarch_data), ~0ULL, 0, NULL},
	{FIELD(setup_data), ~0ULL, 0, NULL},	    {FIELD(handover_offset), ~0U, 0, NULL},
	{FIELD(kernel_info_offset), ~0U, 0, NULL},
};

/* Fields that vmm writes itself or has no use for cannot do harm. */
START_TEST(ignores_absurd_fields_without_meaning)
{
	const struct absurd *a = &ignored[_i];

	memcpy(bz_file + a->offset, &a->value, a->width);
	fixture_expect_booted(fixture_boot_bzimage());
	ck_assert_uint_eq(entry.entry, BZ_PREF + 0x200);
	ck_assert_uint_eq(zero_page()->hdr.ramdisk_image, 0);
	ck_assert_uint_eq(zero_page()->hdr.ramdisk_size, 0);
	ck_assert_uint_eq(zero_page()->hdr.cmd_line_ptr, layout.cmdline);
}
END_TEST

START_TEST(refuses_absurd_code32_start_of_unrelocatable_kernels)
{
	bz_hdr->relocatable_kernel = 0;
	bz_hdr->code32_start = 0x1000;
	fixture_expect_refused(fixture_boot_bzimage(), ENOEXEC, "at 0x1000, in the first MiB");
	bz_hdr->code32_start = 0xfffffff0;
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "needs at least 4097 MiB");
	bz_hdr->code32_start = 0x100000;
	bz_hdr->pref_address = 0x8000;
	fixture_expect_refused(fixture_boot_bzimage(), ENOEXEC, "at 0x8000, in the first MiB");
}
END_TEST

/* The same bytes with RAM above 4 GiB: the entry points do not reach it. */
START_TEST(keeps_below_4_gib)
{
	e820[3] = (struct boot_e820){1ULL << 32, 1ULL << 32, BOOT_E820_RAM};
	cfg.n_e820 = 4;
	bz_hdr->pref_address = 1ULL << 32;
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM, "needs at least 4098 MiB");
}
END_TEST

START_TEST(says_where_memory_is_missing)
{
	e820[2].size = 10 * MIB;
	e820[3] = (struct boot_e820){20 * MIB, 44 * MIB, BOOT_E820_RAM};
	cfg.n_e820 = 4;
	fixture_expect_refused(fixture_boot_bzimage(), ENOMEM,
			       "needs memory from 0x1000000 to 0x1200000");
}
END_TEST

/* Twenty places: in the real-mode sectors, at each border, in the kernel, and one byte before the end. */
static const size_t cuts[] = {
	0,
	1,
	2,
	64,
	0x1ef,
	0x1ff,
	0x202,
	0x205,
	0x206,
	0x23c,
	0x28f,
	0x290,
	1024,
	2047,
	2048,
	2049,
	4096,
	BZ_OFFSET + 0x200,
	BZ_FILE - 17,
	BZ_FILE - 16,
};

START_TEST(refuses_files_cut_off)
{
	const char *words = "the bzImage is cut off";

	if (cuts[_i] < 0x206)
		words = "vmm needs an x86-64 bzImage or vmlinux";
	if (cuts[_i] == 0)
		words = "the file is empty";
	if (cuts[_i] > 0x1f1 && cuts[_i] < 0x206)
		words = "the file is too short for a kernel; it may have been cut off";
	fixture_expect_refused(fixture_boot(bz_file, cuts[_i]), ENOEXEC, words);
}
END_TEST

/* syssize counts paragraphs of 16 bytes, and not all who write it fill the last one: memtest86+, iPXE. */
START_TEST(takes_a_last_paragraph_that_is_not_full)
{
	for (size_t lack = 0; lack < 16; lack++) {
		fixture_clear_ram();
		fixture_expect_booted(fixture_boot(bz_file, BZ_FILE - lack));
		ck_assert_mem_eq(guest_bytes(BZ_PREF, BZ_SIZE - lack), bz_file + BZ_OFFSET,
				 BZ_SIZE - lack);
		for (size_t i = BZ_SIZE - lack; i < BZ_SIZE; i++)
			ck_assert_uint_eq(*guest_bytes(BZ_PREF + i, 1), 0);
	}
	/* not where that takes a part of the packed kernel */
	bz_hdr->payload_length = BZ_SIZE - BZ_PAYLOAD;
	fixture_expect_booted(fixture_boot_bzimage());
	memset(&entry, 0xee, sizeof(entry));
	fixture_expect_refused(fixture_boot(bz_file, BZ_FILE - 1), ENOEXEC, "of payload at");
}
END_TEST

/* With an EFI stub the file begins with MZ, wherever it ends. */
START_TEST(refuses_efi_stub_files_cut_off)
{
	int ret;

	memcpy(bz_file, "MZ", 2);
	ret = fixture_boot(bz_file, cuts[_i]);
	if (cuts[_i] == 0)
		fixture_expect_refused(ret, ENOEXEC, "the file is empty");
	else if (cuts[_i] == 1)
		fixture_expect_refused(ret, ENOEXEC, "vmm needs an x86-64 bzImage or vmlinux");
	else
		fixture_expect_refused(ret, ENOEXEC, "cut off");
}
END_TEST

START_TEST(knows_every_payload_format)
{
	static const char *const magics[] = {
		"\x1f\x8b", "\3757zXZ", "\x28\xb5\x2f\xfd", "\x02\x21\x4c\x18", "BZh", "\x89LZO",
	};

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		memset(bz_file + BZ_OFFSET + BZ_PAYLOAD, 0, 8);
		memcpy(bz_file + BZ_OFFSET + BZ_PAYLOAD, magics[i], strlen(magics[i]));
		fixture_expect_booted(fixture_boot_bzimage());
	}
}
END_TEST

#define N(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
	Suite *suite = suite_create("boot/bzimage");
	TCase *tc = tcase_create("bzimage");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, fixture_teardown);
	tcase_add_test(tc, loads_a_64_bit_kernel);
	tcase_add_test(tc, fills_in_the_header);
	tcase_add_test(tc, copies_nothing_but_the_header);
	tcase_add_test(tc, copies_a_longer_header);
	tcase_add_test(tc, loads_a_32_bit_kernel);
	tcase_add_test(tc, ignores_xloadflags_of_old_kernels);
	tcase_add_test(tc, loads_an_unrelocatable_kernel_at_1_mib);
	tcase_add_test(tc, loads_a_kernel_of_protocol_2_06);
	tcase_add_test(tc, loads_a_kernel_without_payload);
	tcase_add_test(tc, ignores_what_follows_the_kernel);
	tcase_add_test(tc, takes_0_setup_sectors_for_4);
	tcase_add_test(tc, needs_exactly_what_the_decompressor_needs);
	tcase_add_loop_test(tc, refuses_absurd_fields, 0, N(absurds));
	tcase_add_loop_test(tc, ignores_absurd_fields_without_meaning, 0, N(ignored));
	tcase_add_test(tc, refuses_absurd_code32_start_of_unrelocatable_kernels);
	tcase_add_test(tc, keeps_below_4_gib);
	tcase_add_test(tc, says_where_memory_is_missing);
	tcase_add_loop_test(tc, refuses_files_cut_off, 0, N(cuts));
	tcase_add_loop_test(tc, refuses_efi_stub_files_cut_off, 0, N(cuts));
	tcase_add_test(tc, takes_a_last_paragraph_that_is_not_full);
	tcase_add_test(tc, knows_every_payload_format);
	return fixture_run(suite);
}
