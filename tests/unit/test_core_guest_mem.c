/* vmm/core/guest_mem: layouts, addresses that are RAM and those that are not, laziness. */
#include "tests/unit/guest_mem_fixture.h"
#include "tests/unit/run_suite.h"

/* ---- layouts ---- */

static const struct layout {
	unsigned int n;
	int want;
	struct guest_mem_region regions[GUEST_MEM_MAX_REGIONS + 1];
} layouts[] = {
	{1, 0, {{0, 4096, NULL}}},
	{1, 0, {{4096, 4096, NULL}}},
	{1, 0, {{4 * GIB, MIB, NULL}}},
	{2, 0, {{0, MIB, NULL}, {MIB, MIB, NULL}}},
	{2, 0, {{0, 3 * GIB, NULL}, {4 * GIB, GIB, NULL}}},
	{4, 0, {{0, 4096, NULL}, {8192, 4096, NULL}, {16384, 4096, NULL}, {24576, 4096, NULL}}},
	{1, 0, {{UINT64_MAX - 8191, 4096, NULL}}},
	/* none, too many */
	{0, -EINVAL, {{0, 4096, NULL}}},
	{5,
	 -EINVAL,
	 {{0, 4096, NULL},
	  {8192, 4096, NULL},
	  {16384, 4096, NULL},
	  {24576, 4096, NULL},
	  {32768, 4096, NULL}}},
	/* empty */
	{1, -EINVAL, {{0, 0, NULL}}},
	{2, -EINVAL, {{0, 4096, NULL}, {8192, 0, NULL}}},
	/* not whole pages */
	{1, -EINVAL, {{0, 4097, NULL}}},
	{1, -EINVAL, {{0, 1, NULL}}},
	{1, -EINVAL, {{2048, 4096, NULL}}},
	{2, -EINVAL, {{0, 4096, NULL}, {4097, 4096, NULL}}},
	/* overlapping, twice, descending */
	{2, -EINVAL, {{0, 8192, NULL}, {4096, 8192, NULL}}},
	{2, -EINVAL, {{0, 4096, NULL}, {0, 4096, NULL}}},
	{2, -EINVAL, {{4096, 4096, NULL}, {0, 4096, NULL}}},
	{3, -EINVAL, {{0, 4096, NULL}, {16384, 4096, NULL}, {8192, 4096, NULL}}},
	{2, -EINVAL, {{0, 4 * MIB, NULL}, {MIB, 4096, NULL}}},
	/* behind the last address */
	{1, -EINVAL, {{UINT64_MAX - 4095, 4096, NULL}}},
	{1, -EINVAL, {{UINT64_MAX - 4095, 8192, NULL}}},
	{2, -EINVAL, {{4096, UINT64_MAX - 4095, NULL}, {8192, 4096, NULL}}},
	/* more than any host has, the sum past 64 bits too */
	{1, -ENOMEM, {{0, UINT64_MAX - 4095, NULL}}},
	{1, -ENOMEM, {{0, UINT64_MAX - 4 * MIB + 1, NULL}}},
	{1, -ENOMEM, {{0, UINT64_C(1) << 62, NULL}}},
	{2, -ENOMEM, {{0, UINT64_C(1) << 63, NULL}, {UINT64_C(1) << 63, UINT64_C(1) << 62, NULL}}},
};

START_TEST(test_layout)
{
	const struct layout *l = &layouts[_i];
	struct guest_mem m;
	uint64_t size = 0;

	ck_assert_int_eq(guest_mem_init(&m, l->regions, l->n), l->want);
	if (l->want < 0) {
		/* Nothing is left behind, and nothing can be reached. */
		ck_assert_ptr_null(m.map);
		ck_assert_uint_eq(guest_mem_size(&m), 0);
		ck_assert_ptr_null(guest_mem_ptr(&m, 0, 1));
		guest_mem_fini(&m);
		return;
	}
	for (unsigned int i = 0; i < l->n; i++) {
		const struct guest_mem_region *r = &l->regions[i];
		uint8_t *first = guest_mem_ptr(&m, r->base, r->size);

		ck_assert_ptr_nonnull(first);
		ck_assert_ptr_eq(guest_mem_ptr(&m, r->base + r->size - 1, 1), first + r->size - 1);
		ck_assert_ptr_null(guest_mem_ptr(&m, r->base, r->size + 1));
		ck_assert(first >= (uint8_t *)m.map);
		ck_assert(first + r->size <= (uint8_t *)m.map + m.map_size);
		/* Huge pages can back it only when both addresses agree modulo their size. */
		ck_assert_uint_eq(((uintptr_t)first ^ r->base) % (2 * MIB), 0);
		size += r->size;
	}
	ck_assert_uint_eq(guest_mem_size(&m), size);
	guest_mem_fini(&m);
	ck_assert_uint_eq(guest_mem_size(&m), 0);
}
END_TEST

/* Odd bases and sizes in every combination: congruent, and no two regions share a host byte. */
START_TEST(test_congruence)
{
	static const uint64_t odd[] = {4096, MIB, 2 * MIB - 4096, 2 * MIB, 2 * MIB + 4096, 5 * MIB};
	const size_t n = sizeof(odd) / sizeof(odd[0]);

	for (size_t a = 0; a < n * n * n; a++) {
		struct guest_mem_region r[3] = {
			{.base = odd[a % n], .size = odd[a / n % n]},
		};
		struct guest_mem m;

		r[1] = (struct guest_mem_region){.base = r[0].base + r[0].size + odd[a / n / n],
						 .size = odd[(a + 1) % n]};
		r[2] = (struct guest_mem_region){.base = r[1].base + r[1].size + odd[(a + 2) % n],
						 .size = 4096};
		ck_assert_int_eq(guest_mem_init(&m, r, 3), 0);
		for (unsigned int i = 0; i < 3; i++) {
			const uint8_t *host = m.regions[i].host;

			ck_assert_uint_eq(((uintptr_t)host ^ r[i].base) % (2 * MIB), 0);
			ck_assert(host >=
				  (i ? m.regions[i - 1].host + r[i - 1].size : (uint8_t *)m.map));
			ck_assert(host + r[i].size <= (uint8_t *)m.map + m.map_size);
		}
		guest_mem_fini(&m);
	}
}
END_TEST

/* ---- ranges ---- */

static const struct range {
	gpa_t gpa;
	size_t len;
	bool ram;
} ranges[] = {
	{0, 1, true},
	{0, LOW_SIZE, true},
	{LOW_SIZE - 1, 1, true},
	{LOW_SIZE - 8, 8, true},
	{HIGH_BASE, HIGH_SIZE, true},
	{HIGH_BASE + HIGH_SIZE - 1, 1, true},
	{HIGH_BASE + 1, HIGH_SIZE - 1, true},
	/* nothing */
	{0, 0, false},
	{LOW_SIZE, 0, false},
	{HIGH_BASE, 0, false},
	/* into the hole, in it, out of it, over it */
	{0, LOW_SIZE + 1, false},
	{LOW_SIZE - 1, 2, false},
	{LOW_SIZE, 1, false},
	{HIGH_BASE - 1, 1, false},
	{HIGH_BASE - 1, 2, false},
	{LOW_SIZE - 1, HIGH_BASE - LOW_SIZE + 2, false},
	{0, HIGH_BASE + HIGH_SIZE, false},
	/* past the end */
	{HIGH_BASE + HIGH_SIZE, 1, false},
	{HIGH_BASE + HIGH_SIZE - 1, 2, false},
	{HIGH_BASE, HIGH_SIZE + 1, false},
	/* gpa + len wraps */
	{0, SIZE_MAX, false},
	{1, SIZE_MAX, false},
	{HIGH_BASE, SIZE_MAX, false},
	{HIGH_BASE, SIZE_MAX - HIGH_BASE + 1, false},
	{HIGH_BASE + 4096, SIZE_MAX - 4095, false},
	{UINT64_MAX, 1, false},
	{UINT64_MAX, 2, false},
	{UINT64_MAX - 7, 16, false},
	{UINT64_MAX, SIZE_MAX, false},
	{UINT64_C(1) << 32, 1, false},
	{UINT64_C(1) << 63, 1, false},
};

START_TEST(test_range)
{
	const struct range *r = &ranges[_i];
	uint8_t byte = 0;

	ck_assert_int_eq(guest_mem_ptr(&mem, r->gpa, r->len) != NULL, r->ram);
	if (r->ram || r->len == 0)
		return;
	/* A refused range is refused before the first byte is touched: one byte of room is enough. */
	ck_assert_int_eq(guest_mem_read(&mem, r->gpa, &byte, r->len), -EFAULT);
	ck_assert_int_eq(guest_mem_write(&mem, r->gpa, &byte, r->len), -EFAULT);
}
END_TEST

/* Regions without a hole are still two: whoever crosses asks twice. */
START_TEST(test_adjacent_regions)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = 8192},
						   {.base = 8192, .size = 4096}};
	struct guest_mem m;

	ck_assert_int_eq(guest_mem_init(&m, regions, 2), 0);
	ck_assert_ptr_nonnull(guest_mem_ptr(&m, 8191, 1));
	ck_assert_ptr_nonnull(guest_mem_ptr(&m, 8192, 4096));
	ck_assert_ptr_null(guest_mem_ptr(&m, 8191, 2));
	guest_mem_fini(&m);
}
END_TEST

START_TEST(test_read_write)
{
	static const gpa_t at[] = {
		0, 1, 4095, LOW_SIZE - 16, HIGH_BASE, HIGH_BASE + HIGH_SIZE - 16};
	char text[16] = "fifteen letters", back[16];

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		memset(back, 0, sizeof(back));
		text[0] = (char)('a' + i);
		ck_assert_int_eq(guest_mem_write(&mem, at[i], text, 16), 0);
		ck_assert_int_eq(guest_mem_read(&mem, at[i], back, 16), 0);
		ck_assert_mem_eq(text, back, 16);
		ck_assert_mem_eq(guest_mem_ptr(&mem, at[i], 16), text, 16);
	}
	/* Fresh memory is zero, and what was written is there and nowhere else. */
	ck_assert_int_eq(guest_mem_read(&mem, 8192, back, 16), 0);
	ck_assert_mem_eq(back, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	ck_assert_int_eq(guest_mem_read(&mem, HIGH_BASE + 16, back, 1), 0);
	ck_assert_int_eq(back[0], 0);
	/* Nothing at all is fine anywhere. */
	ck_assert_int_eq(guest_mem_read(&mem, UINT64_MAX, NULL, 0), 0);
	ck_assert_int_eq(guest_mem_write(&mem, LOW_SIZE, NULL, 0), 0);
}
END_TEST

/* ---- laziness ---- */

static uint64_t resident_bytes(void)
{
	unsigned long long total, resident;
	FILE *f = fopen("/proc/self/statm", "re");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%llu %llu", &total, &resident), 2);
	fclose(f);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

START_TEST(test_lazy)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = 3 * GIB},
						   {.base = 4 * GIB, .size = 61 * GIB}};
	uint64_t before = resident_bytes();
	struct guest_mem m;

	ck_assert_int_eq(guest_mem_init_as(&m, &kinds[_i], regions, 2), 0);
	ck_assert_uint_eq(guest_mem_size(&m), 64 * GIB);
	/* One byte at each end of each region costs at most a huge page. */
	for (unsigned int i = 0; i < 2; i++) {
		m.regions[i].host[0] = 1;
		m.regions[i].host[m.regions[i].size - 1] = 1;
	}
	ck_assert_uint_lt(resident_bytes() - before, 4 * 2 * MIB + MIB);
	guest_mem_fini(&m);
	/* All of it comes back. */
	ck_assert_uint_lt(resident_bytes() - before + 1, MIB);
	guest_mem_fini(&m);
}
END_TEST

/* ---- discarding ---- */

START_TEST(test_discard)
{
	static const struct {
		uint64_t offset, len;
		unsigned int first, n; /* pages that go */
	} cases[] = {
		{4096, 4096, 1, 1},	{0, 4 * 4096, 0, 4}, {1, 3 * 4096, 1, 2},
		{4095, 4098, 1, 1},	{4096, 4095, 0, 0},  {4097, 4096, 0, 0},
		{8192, 0, 0, 0},	{5000, 100, 0, 0},   {2 * 4096 - 1, 4097, 2, 1},
		{3 * 4096, 4096, 3, 1},
	};
	uint8_t *ram;

	/* Single pages, so that what is resident is what was touched. */
	guest_mem_fini(&mem);
	setup_as(&kinds[_i / 2 ? 3 : 1]);
	ram = mem.regions[_i % 2].host;
	for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
		memset(ram, 0x5a, 5 * 4096);
		ck_assert_int_eq(guest_mem_discard(&mem, ram + cases[c].offset, cases[c].len), 0);
		for (unsigned int i = 0; i < 5; i++) {
			bool gone = i >= cases[c].first && i < cases[c].first + cases[c].n;

			ck_assert_int_eq(is_resident(ram + i * 4096), !gone);
			ck_assert_uint_eq(ram[i * 4096], gone ? 0 : 0x5a);
			ck_assert_uint_eq(ram[i * 4096 + 4095], gone ? 0 : 0x5a);
		}
	}
}
END_TEST

START_TEST(test_discard_outside)
{
	uint8_t *low = mem.regions[0].host, *high = mem.regions[1].host;

	ck_assert_int_eq(guest_mem_discard(&mem, low + LOW_SIZE - 4096, 4096), 0);
	ck_assert_int_eq(guest_mem_discard(&mem, low + LOW_SIZE - 4096, 8192), -EFAULT);
	ck_assert_int_eq(guest_mem_discard(&mem, low + LOW_SIZE, 4096), -EFAULT);
	ck_assert_int_eq(guest_mem_discard(&mem, low, (size_t)(high - low) + 4096), -EFAULT);
	ck_assert_int_eq(guest_mem_discard(&mem, high, HIGH_SIZE), 0);
	ck_assert_int_eq(guest_mem_discard(&mem, high, HIGH_SIZE + 1), -EFAULT);
	ck_assert_int_eq(guest_mem_discard(&mem, high, SIZE_MAX), -EFAULT);
	ck_assert_int_eq(guest_mem_discard(&mem, &low, 8), -EFAULT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core/guest_mem");
	TCase *layout = tcase_create("layout"), *access = tcase_create("access");

	tcase_add_loop_test(layout, test_layout, 0, sizeof(layouts) / sizeof(layouts[0]));
	tcase_add_test(layout, test_congruence);
	tcase_add_test(layout, test_adjacent_regions);
	tcase_add_loop_test(layout, test_lazy, 0, N_KINDS);
	tcase_add_checked_fixture(access, setup, teardown);
	tcase_add_loop_test(access, test_range, 0, sizeof(ranges) / sizeof(ranges[0]));
	tcase_add_test(access, test_read_write);
	tcase_add_loop_test(access, test_discard, 0, 4);
	tcase_add_test(access, test_discard_outside);
	suite_add_tcase(s, layout);
	suite_add_tcase(s, access);
	return run_suite(s);
}
