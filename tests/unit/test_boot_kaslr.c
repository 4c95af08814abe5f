/* boot/kaslr: where kernels may be put, and where they must not. */
#include "unpack_fixture.h"

#include "boot/kaslr.h"
#include "boot/relocs.h"

#define ALIGN (2 * MIB)
#define LINK  (16 * MIB)

static struct vmlinux_place place;

static void setup(void)
{
	fixture_setup_ram(256 * MIB);
	place = (struct vmlinux_place){.link = LINK, .load = LINK, .size = 50 * MIB + 1};
}

static gpa_t choose(uint64_t initrd_size, uint64_t random)
{
	return kaslr_choose_physical(&cfg, &place, ALIGN, initrd_size, UINT64_MAX, random);
}

START_TEST(knows_nokaslr_as_a_word)
{
	static const char *const off[] = {"nokaslr",	       "nokaslr quiet", "quiet nokaslr",
					  "a nokaslr b",       "a\tnokaslr\nb", "nokaslrs nokaslr",
					  "x=nokaslr nokaslr", "-- nokaslr"};
	static const char *const on[] = {"",	     "kaslr",	     "nokaslr=1",   "nokaslrs",
					 "xnokaslr", "init=nokaslr", "nokasl",	    "NOKASLR",
					 "nokaslr,", "\"nokaslr\"",  "a.nokaslr b", "no kaslr"};

	for (size_t i = 0; i < sizeof(off) / sizeof(off[0]); i++)
		ck_assert_msg(!kaslr_is_wanted(off[i]), "%s", off[i]);
	for (size_t i = 0; i < sizeof(on) / sizeof(on[0]); i++)
		ck_assert_msg(kaslr_is_wanted(on[i]), "%s", on[i]);
}
END_TEST

/* Every place between the linked address and the end of the kernel's range, and no other. */
START_TEST(chooses_virtual_offsets_in_the_whole_range)
{
	const uint64_t end = LINK + 45 * MIB, n = (RELOCS_KERNEL_SPAN - end - MIB) / ALIGN + 1;

	for (uint64_t i = 0; i < n; i++)
		ck_assert_uint_eq(kaslr_choose_virtual(end, ALIGN, i), i * ALIGN);
	ck_assert_uint_eq(kaslr_choose_virtual(end, ALIGN, n), 0);
	ck_assert_uint_eq(kaslr_choose_virtual(end, ALIGN, 5 * n + 7), 7 * ALIGN);
	ck_assert_uint_lt(kaslr_choose_virtual(end, ALIGN, UINT64_MAX), n * ALIGN);
	ck_assert_uint_eq(kaslr_choose_virtual(end, 16 * MIB, 3), 48 * MIB);
	ck_assert_uint_eq(kaslr_choose_virtual(end, 1ULL << 63, 3), 0);
}
END_TEST

START_TEST(stays_where_the_range_is_full)
{
	ck_assert_uint_eq(kaslr_choose_virtual(RELOCS_KERNEL_SPAN - ALIGN, ALIGN, 12345), ALIGN);
	ck_assert_uint_eq(kaslr_choose_virtual(RELOCS_KERNEL_SPAN - ALIGN + 1, ALIGN, 12345), 0);
	ck_assert_uint_eq(kaslr_choose_virtual(RELOCS_KERNEL_SPAN, ALIGN, 12345), 0);
	ck_assert_uint_eq(kaslr_choose_virtual(RELOCS_KERNEL_SPAN + 1, ALIGN, 12345), 0);
	ck_assert_uint_eq(kaslr_choose_virtual(UINT64_MAX, ALIGN, 12345), 0);
}
END_TEST

/* The last place is the last one whose init_size bytes, in pages, fit. */
START_TEST(chooses_every_place_in_ram)
{
	const uint64_t n = (256 - 16 - 51) / 2 + 1;

	for (uint64_t i = 0; i < n; i++)
		ck_assert_uint_eq(choose(0, i), LINK + i * ALIGN);
	ck_assert_uint_eq(choose(0, n), LINK);
	ck_assert_uint_lt(choose(0, UINT64_MAX), LINK + n * ALIGN);
	place.size = 50 * MIB;
	ck_assert_uint_eq(choose(0, n), LINK + n * ALIGN);
}
END_TEST

START_TEST(keeps_room_for_the_initrd_behind)
{
	place.size = 50 * MIB - 1;
	ck_assert_uint_eq(choose(189 * MIB, 0), LINK);
	ck_assert_uint_eq(choose(188 * MIB, 1), LINK + ALIGN);
	ck_assert_uint_eq(choose(188 * MIB + 1, 1), LINK);
	ck_assert_uint_eq(choose(190 * MIB, 1), LINK);
	ck_assert_uint_eq(choose(191 * MIB, 1), LINK); /* it goes before the kernel, or nowhere */
	ck_assert_uint_eq(choose(UINT64_MAX, 1), LINK);
	/* where initrds must not lie */
	ck_assert_uint_eq(kaslr_choose_physical(&cfg, &place, ALIGN, MIB, 69 * MIB, 1),
			  LINK + ALIGN);
	ck_assert_uint_eq(kaslr_choose_physical(&cfg, &place, ALIGN, MIB, 69 * MIB - 1, 1), LINK);
}
END_TEST

START_TEST(chooses_among_all_pieces_below_4_gib)
{
	place.size = 4 * MIB;
	e820[2] = (struct boot_e820){MIB, 20 * MIB, BOOT_E820_RAM};	/* one place: 16 to 20 */
	e820[3] = (struct boot_e820){31 * MIB, 7 * MIB, BOOT_E820_RAM}; /* two: 32 and 34 */
	e820[4] = (struct boot_e820){40 * MIB, 100 * MIB, BOOT_E820_RESERVED};
	e820[5] = (struct boot_e820){4090 * MIB, 10 * MIB, BOOT_E820_RAM}; /* two below 4 GiB */
	e820[6] = (struct boot_e820){1ULL << 33, 1ULL << 33, BOOT_E820_RAM};
	cfg.n_e820 = 7;
	for (unsigned int i = 0; i < 5; i++) {
		static const gpa_t places[] = {16 * MIB, 32 * MIB, 34 * MIB, 4090 * MIB,
					       4092 * MIB};

		ck_assert_uint_eq(choose(0, 10 + i), places[i]);
	}
}
END_TEST

/* A guest as small as can be, and one that is too small: as without random addresses. */
START_TEST(stays_where_memory_is_short)
{
	fixture_teardown();
	fixture_setup_ram(67 * MIB);
	for (uint64_t i = 0; i < 8; i++)
		ck_assert_uint_eq(choose(0, i), LINK);
	place.size = UINT64_MAX;
	ck_assert_uint_eq(choose(0, 1), LINK);
	place.size = 1ULL << 40;
	ck_assert_uint_eq(choose(0, 1), LINK);
	place.load = UINT64_MAX & ~(ALIGN - 1);
	ck_assert_uint_eq(choose(0, 1), place.load);
}
END_TEST

START_TEST(stays_where_the_command_line_tells_of_memory)
{
	static const char *const told[] = {"mem=128M", "quiet memmap=1G$4G",
					   "hugepagesz=1G hugepages=1"};
	static const char *const not [] = {"quiet", "xmem=1", "mem", "crashkernel=64M"};

	for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
		cfg.cmdline = told[i];
		ck_assert_uint_eq(choose(0, 1), LINK);
	}
	for (size_t i = 0; i < sizeof(not ) / sizeof(not [0]); i++) {
		cfg.cmdline = not [i];
		ck_assert_uint_eq(choose(0, 1), LINK + ALIGN);
	}
}
END_TEST

/* ---- moving ---- */

#define AT(offset) ((uint32_t)(RELOCS_KERNEL_MAP + LINK + (offset)))

static bool relocate(uint32_t *table, size_t size, uint64_t random)
{
	const struct vmlinux vmlinux = {
		.n_segments = 2,
		.segments = {{.gpa = place.load, .size = 4096, .room = 4096},
			     {.gpa = place.load + 8192, .size = 10, .room = 4096}},
		.tail = (uint8_t *)table,
		.tail_len = size,
	};
	struct steps steps;
	bool moved;

	steps_init(&steps);
	moved = kaslr_relocate(&mem, &place, &vmlinux, ALIGN, random, &steps);
	steps_fini(&steps);
	return moved;
}

/* By its own place, in its memory, wherever it was put. */
START_TEST(moves_a_kernel)
{
	uint32_t table[] = {0, AT(8), 0, AT(12280)};
	uint64_t *kernel;

	place.load = LINK + 4 * ALIGN;
	kernel = guest_mem_ptr(&mem, place.load, 12288);
	kernel[1] = RELOCS_KERNEL_MAP + LINK + 100;
	kernel[1535] = 0x8100000000000000;
	ck_assert(relocate(table, sizeof(table), 3));
	ck_assert_uint_eq(kernel[1], RELOCS_KERNEL_MAP + LINK + 100 + 3 * ALIGN);
	ck_assert_uint_eq(kernel[1535], 0x8100000000000000 + 3 * ALIGN);
	/* chance may leave it where it was */
	ck_assert(relocate(table, sizeof(table), 0));
	ck_assert_uint_eq(kernel[1], RELOCS_KERNEL_MAP + LINK + 100 + 3 * ALIGN);
}
END_TEST

START_TEST(leaves_a_kernel_without_a_sound_table)
{
	uint32_t table[] = {0, AT(8), 0, AT(12281)};
	uint64_t *kernel = guest_mem_ptr(&mem, place.load, 12288);

	ck_assert(!relocate(table, sizeof(table), 3));
	ck_assert(!relocate(table, 4, 3));
	ck_assert(!relocate(NULL, 0, 3));
	ck_assert_uint_eq(kernel[1], 0);
}
END_TEST

/* ---- booting ---- */

#define N_WORDS	 (VM_TAIL_LEN / 4)
#define FIRST32	 130
#define PLACE(i) (8 * (uint32_t)(i)) /* in the first segment */

/* A kernel with a table as Linux 6.15 and later have them. */
static void setup_vmlinux(void)
{
	uint32_t words[N_WORDS];

	fixture_setup();
	fixture_make_vmlinux();
	for (unsigned int i = 0; i < N_WORDS; i++)
		words[i] = i == 0 || i == FIRST32 - 1 ? 0 : AT(PLACE(i));
	memcpy(vm_file + VM_TAIL, words, sizeof(words));
	cfg.kaslr = true;
}

static void teardown_vmlinux(void)
{
	free(bzi);
	bzi = NULL;
	fixture_teardown();
}

static const struct setup_header *booted_header(void)
{
	return &((const struct boot_params *)guest_bytes(layout.zero_page, 4096))->hdr;
}

static uint64_t word64(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

/* Applies the table to vm_file, so that it is what is to be found in guest memory. */
static void move_file(uint64_t delta)
{
	uint8_t *segment = vm_file + segs[0].offset;

	for (unsigned int i = 1; i < N_WORDS; i++) {
		uint64_t word = word64(segment + PLACE(i));

		if (i == FIRST32 - 1)
			continue;
		if (i < FIRST32)
			word += delta;
		else
			word = (word & ~UINT64_C(0xffffffff)) | (uint32_t)(word + delta);
		memcpy(segment + PLACE(i), &word, sizeof(word));
	}
}

START_TEST(boots_at_random_addresses)
{
	gpa_t places[16], deltas[16];
	unsigned int n_places = 0, n_deltas = 0;

	for (unsigned int i = 0; i < 16; i++) {
		uint64_t delta;

		setup_vmlinux();
		fixture_pack(&packers[0]);
		fixture_expect_booted(fixture_boot_unpacked());
		places[i] = entry.entry - VM_ENTRY;
		ck_assert_uint_eq(places[i] % ALIGN, 0);
		ck_assert_uint_le(places[i] + LINK + VM_INIT, 64 * MIB);
		delta = word64(guest_bytes(LINK + places[i] + PLACE(1), 8)) -
			word64(vm_file + segs[0].offset + PLACE(1));
		ck_assert_uint_eq(delta % ALIGN, 0);
		ck_assert_uint_le(delta, RELOCS_KERNEL_SPAN - LINK - 2 * MIB);
		move_file(delta);
		fixture_expect_segments(places[i]);
		ck_assert_uint_eq(booted_header()->loadflags, LOADED_HIGH | KASLR_FLAG);
		deltas[i] = delta;
		n_places += i > 0 && places[i] != places[0];
		n_deltas += i > 0 && deltas[i] != deltas[0];
		if (i < 15)
			teardown_vmlinux();
	}
	ck_assert_uint_gt(n_places, 8);
	ck_assert_uint_gt(n_deltas, 8);
}
END_TEST

START_TEST(boots_where_it_was_linked_if_told_so)
{
	fixture_pack(&packers[0]);
	cfg.cmdline = "quiet nokaslr";
	fixture_expect_unpacked(fixture_boot_unpacked());
	ck_assert_uint_eq(booted_header()->loadflags, LOADED_HIGH);
	cfg.cmdline = "quiet";
	cfg.kaslr = false;
	fixture_expect_unpacked(fixture_boot_unpacked());
	ck_assert_uint_eq(booted_header()->loadflags, LOADED_HIGH);
	cfg.kaslr = true;
	bzi_hdr()->relocatable_kernel = 0;
	fixture_expect_unpacked(fixture_boot_unpacked());
	ck_assert_uint_eq(booted_header()->loadflags, LOADED_HIGH);
}
END_TEST

/* CONFIG_RELOCATABLE alone: position-independent as far as physical addresses go. */
START_TEST(moves_no_virtual_address_without_a_table)
{
	memset(vm_file + VM_TAIL, 0x5a, VM_TAIL_LEN);
	fixture_pack(&packers[0]);
	fixture_expect_booted(fixture_boot_unpacked());
	fixture_expect_segments(entry.entry - VM_ENTRY);
	ck_assert_uint_eq(booted_header()->loadflags, LOADED_HIGH);
}
END_TEST

/* An initrd leaves one place. */
START_TEST(leaves_room_for_the_initrd)
{
	cfg.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
	ck_assert_int_eq(ftruncate(cfg.initrd_fd, (off_t)(64 * MIB - LINK - VM_INIT)), 0);
	for (unsigned int i = 0; i < 4; i++) {
		fixture_pack(&packers[0]);
		fixture_expect_booted(fixture_boot_unpacked());
		ck_assert_uint_eq(entry.entry, VM_ENTRY);
		ck_assert_uint_eq(entry.initrd, LINK + VM_INIT);
		ck_assert_uint_eq(booted_header()->loadflags, LOADED_HIGH | KASLR_FLAG);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/kaslr");
	TCase *tc = tcase_create("kaslr");

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, fixture_teardown);
	tcase_add_test(tc, knows_nokaslr_as_a_word);
	tcase_add_test(tc, chooses_virtual_offsets_in_the_whole_range);
	tcase_add_test(tc, stays_where_the_range_is_full);
	tcase_add_test(tc, chooses_every_place_in_ram);
	tcase_add_test(tc, keeps_room_for_the_initrd_behind);
	tcase_add_test(tc, chooses_among_all_pieces_below_4_gib);
	tcase_add_test(tc, stays_where_memory_is_short);
	tcase_add_test(tc, stays_where_the_command_line_tells_of_memory);
	tcase_add_test(tc, moves_a_kernel);
	tcase_add_test(tc, leaves_a_kernel_without_a_sound_table);
	tc = tcase_create("booting");
	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, setup_vmlinux, teardown_vmlinux);
	tcase_add_test(tc, boots_where_it_was_linked_if_told_so);
	tcase_add_test(tc, moves_no_virtual_address_without_a_table);
	tcase_add_test(tc, leaves_room_for_the_initrd);
	tc = tcase_create("booting often");
	suite_add_tcase(suite, tc);
	tcase_set_timeout(tc, 60);
	tcase_add_checked_fixture(tc, NULL, teardown_vmlinux);
	tcase_add_test(tc, boots_at_random_addresses);
	return fixture_run(suite);
}
