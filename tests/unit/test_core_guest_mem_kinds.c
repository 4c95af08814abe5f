/* vmm/core/guest_mem: what is behind it: pages of each kind, private and shared. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/guest_mem_fixture.h"
#include "tests/unit/run_suite.h"

/* Whether the kernel can read there; no signal is raised. */
static bool is_readable(const void *byte)
{
	int pipe_fds[2];
	ssize_t n;

	ck_assert_int_eq(pipe2(pipe_fds, O_CLOEXEC), 0);
	n = write(pipe_fds[1], byte, 1);
	ck_assert(n == 1 || errno == EFAULT);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return n == 1;
}

/* Whether touched memory that is so advised becomes a huge page here; asked of memory of the test's own. */
static bool host_has_huge_pages(void)
{
	uint8_t *map = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);
	uint8_t *page;
	bool has;

	ck_assert_ptr_ne(map, MAP_FAILED);
	page = map + (-(uintptr_t)map & (2 * MIB - 1));
	madvise(map, 4 * MIB, MADV_HUGEPAGE);
	page[0] = 1;
	has = is_resident(page + 4096);
	munmap(map, 4 * MIB);
	return has;
}

START_TEST(test_kind)
{
	char text[16] = "fifteen letters", back[16];
	uint8_t *low, *high;

	setup_as(&kinds[_i]);
	low = mem.regions[0].host;
	high = mem.regions[1].host;
	ck_assert_int_eq(mem.fd >= 0, kinds[_i].shared);
	ck_assert(guest_mem_can_discard(&mem));
	ck_assert_int_eq(guest_mem_write(&mem, HIGH_BASE, text, 16), 0);
	ck_assert_int_eq(guest_mem_read(&mem, 0, back, 16), 0);
	ck_assert_mem_eq(back, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16);
	ck_assert_int_eq(guest_mem_read(&mem, HIGH_BASE, back, 16), 0);
	ck_assert_mem_eq(back, text, 16);
	/* Nothing is there before, between and behind the regions. */
	ck_assert(is_readable(low) && is_readable(low + LOW_SIZE - 1));
	ck_assert(is_readable(high) && is_readable(high + HIGH_SIZE - 1));
	ck_assert(!is_readable(low + LOW_SIZE));
	ck_assert(!is_readable(high - 1));
	ck_assert(!is_readable(high + HIGH_SIZE));
}
END_TEST

START_TEST(test_prefault)
{
	/* Enough for several threads, and an end that is no multiple of anything. */
	const struct guest_mem_region regions[] = {
		{.base = 0, .size = 130 * MIB},
		{.base = 4 * GIB, .size = 66 * MIB + 12 * KIB},
	};

	ck_assert_int_eq(guest_mem_init_as(&mem, &kinds[_i], regions, 2), 0);
	mem.regions[0].host[7] = 42;
	ck_assert_int_eq(guest_mem_prefault(&mem), 0);
	for (unsigned int i = 0; i < 2; i++) {
		for (uint64_t at = 0; at < regions[i].size; at += 4096)
			ck_assert(is_resident(mem.regions[i].host + at));
	}
	ck_assert_uint_eq(mem.regions[0].host[7], 42);
	ck_assert_uint_eq(mem.regions[1].host[7], 0);
}
END_TEST

/* The small page behind it alone exists, whatever the host does elsewhere; the hint reaches as far as huge pages would, and no further. */
START_TEST(test_prefer_small)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = 8 * MIB},
						   {.base = GIB, .size = 3 * MIB}};
	uint8_t *low, *high;

	ck_assert_int_eq(guest_mem_init_as(&mem, &kinds[_i], regions, 2), 0);
	low = mem.regions[0].host;
	high = mem.regions[1].host;
	guest_mem_prefer_small(&mem, 2 * MIB + 5, 4096);
	guest_mem_prefer_small(&mem, GIB + MIB, UINT64_MAX);
	/* nothing to advise */
	guest_mem_prefer_small(&mem, 512 * MIB, MIB);
	guest_mem_prefer_small(&mem, UINT64_MAX, 1);
	guest_mem_prefer_small(&mem, 0, 0);
	low[3 * MIB] = 1;
	low[4 * MIB] = 2;
	high[0] = 3;
	ck_assert(is_resident(low + 3 * MIB) && is_resident(low + 4 * MIB) && is_resident(high));
	ck_assert(!is_resident(low + 3 * MIB + 4096) && !is_resident(low + 3 * MIB - 4096));
	ck_assert(!is_resident(high + 4096) && !is_resident(low + 2 * MIB - 4096));
	ck_assert_int_eq(low[3 * MIB] + low[4 * MIB] + high[0], 6);
	if (kinds[_i].pages != GUEST_MEM_THP || kinds[_i].shared)
		return;
	if (host_has_huge_pages())
		ck_assert(is_resident(low + 4 * MIB + 4096));
	else
		skip_note("small pages where huge ones are: this host has none");
}
END_TEST

/* An error of any thread is told. */
START_TEST(test_prefault_fails)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = 256 * MIB}};

	ck_assert_int_eq(guest_mem_init(&mem, regions, 1), 0);
	ck_assert_int_eq(munmap(mem.regions[0].host + 190 * MIB, 4096), 0);
	ck_assert_int_eq(guest_mem_prefault(&mem), -ENOMEM);
}
END_TEST

/* A child has none of the guest's memory, and what is done in it is done to nothing of ours. */
START_TEST(test_fork)
{
	pid_t child;
	int status;

	setup_as(&kinds[_i]);
	memset(mem.regions[1].host, 0x55, HIGH_SIZE);
	child = fork();
	if (child == 0)
		_exit(is_readable(mem.regions[0].host) || is_readable(mem.regions[1].host));
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
	ck_assert_uint_eq(mem.regions[1].host[5], 0x55);
}
END_TEST

/* Another mapping of the file sees the same bytes, and cannot take them away. */
START_TEST(test_shared)
{
	struct guest_mem_options options = {.shared = true};
	uint8_t *other;

	setup_as(&options);
	ck_assert_int_eq(lseek(mem.fd, 0, SEEK_END), LOW_SIZE + HIGH_SIZE);
	ck_assert_int_eq(fcntl(mem.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	other = mmap(NULL, LOW_SIZE + HIGH_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, mem.fd, 0);
	ck_assert_ptr_ne(other, MAP_FAILED);
	mem.regions[0].host[5] = 1;
	mem.regions[1].host[6] = 2;
	other[LOW_SIZE + HIGH_SIZE - 1] = 3;
	ck_assert_uint_eq(other[5], 1);
	ck_assert_uint_eq(other[LOW_SIZE + 6], 2);
	ck_assert_uint_eq(mem.regions[1].host[HIGH_SIZE - 1], 3);
	ck_assert_int_eq(guest_mem_discard(&mem, mem.regions[0].host, 4096), 0);
	ck_assert_uint_eq(other[5], 0);
	ck_assert_int_eq(ftruncate(mem.fd, 4096), -1);
	ck_assert_int_eq(errno, EPERM);
	ck_assert_int_eq(munmap(other, LOW_SIZE + HIGH_SIZE), 0);
}
END_TEST

/* Where files may not become as large, the process is told and lives. */
START_TEST(test_shared_too_large)
{
	const struct guest_mem_region region = {.base = 0, .size = LOW_SIZE};
	const struct guest_mem_options options = {.shared = true};
	struct rlimit old, limit;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){.rlim_cur = LOW_SIZE - 1, .rlim_max = old.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(guest_mem_init_as(&mem, &options, &region, 1), -EFBIG);
	ck_assert_ptr_null(mem.map);
	ck_assert_int_eq(mem.fd, -1);
	limit.rlim_cur = LOW_SIZE;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(guest_mem_init_as(&mem, &options, &region, 1), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
}
END_TEST

/* Who looks at all of a region sees what was written, also between parts, and makes nothing exist. */
START_TEST(test_next_part)
{
	const struct guest_mem_region *high;
	uint64_t at = 0, end, seen = 0;

	setup_as(&kinds[_i]);
	high = &mem.regions[1];
	mem.regions[0].host[LOW_SIZE - 1] = 1;
	high->host[3 * 4096 + 5] = 1;
	high->host[7 * 4096] = 1;
	high->host[8 * 4096] = 1;
	for (; (end = guest_mem_next_part(&mem, high, &at)) > 0; at = end) {
		ck_assert_uint_lt(at, end);
		ck_assert_uint_le(end, HIGH_SIZE);
		ck_assert_uint_eq(at % 4096 | end % 4096, 0);
		for (; at < end; at += 4096)
			seen |= UINT64_C(1) << (at / 4096);
	}
	ck_assert_uint_eq(guest_mem_next_part(&mem, high, &(uint64_t){HIGH_SIZE}), 0);
	ck_assert_uint_eq(seen & 0x188, 0x188);
	/* Huge pages of a file exist as a whole. */
	if (kinds[_i].shared && kinds[_i].pages == GUEST_MEM_SMALL)
		ck_assert_uint_eq(seen, 0x188);
}
END_TEST

static uint64_t page_tables(void)
{
	char line[256];
	unsigned long kib = 0;
	FILE *file = fopen("/proc/self/status", "re");

	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		sscanf(line, "VmPTE: %lu", &kib);
	fclose(file);
	return kib * KIB;
}

/* What nobody has touched is not looked at, nor made by that; what is there is seen to its last page. */
START_TEST(test_next_part_absent)
{
	const struct guest_mem_region regions[] = {{.base = 0, .size = 3 * MIB + 4 * KIB},
						   {.base = 4 * GIB - 12 * KIB, .size = GIB}};
	const uint64_t touched[] = {0, 8 * KIB, 12 * KIB, 600 * MIB, GIB - 4 * KIB};
	const unsigned int n = sizeof(touched) / sizeof(touched[0]);
	const struct guest_mem_region *r;
	uint64_t at = 0, end, looked_at = 0, before;
	unsigned int seen = 0;

	ck_assert_int_eq(guest_mem_init_as(&mem, &kinds[_i], regions, 2), 0);
	r = &mem.regions[0];
	ck_assert_uint_eq(guest_mem_next_part(&mem, r, &at), 0);
	mem.regions[0].host[3 * MIB] = 1;
	at = 0;
	ck_assert_uint_eq(guest_mem_next_part(&mem, r, &at), r->size);
	/* one huge page, perhaps */
	ck_assert_uint_ge(at, 2 * MIB);
	r = &mem.regions[1];
	for (unsigned int i = 0; i < n; i++)
		r->host[touched[i]] = 1;
	/* Where there is swap, that is where it goes. */
	madvise(r->host + touched[3], 4096, MADV_PAGEOUT);
	before = page_tables();
	for (at = 0; (end = guest_mem_next_part(&mem, r, &at)) > 0;
	     looked_at += end - at, at = end) {
		ck_assert_uint_lt(at, end);
		ck_assert_uint_le(end, r->size);
		for (uint64_t page = at; page < end; page += 4096)
			seen += ((volatile uint8_t *)r->host)[page];
	}
	ck_assert_uint_eq(seen, n);
	ck_assert_uint_le(looked_at, n * 2 * MIB);
	ck_assert_uint_le(page_tables(), before + 64 * KIB);
}
END_TEST

/* Where nobody knows what is there it is one part. */
START_TEST(test_next_part_unknown)
{
	uint64_t at = 0;

	setup();
	close(mem.pagemap);
	mem.pagemap = -1;
	ck_assert_uint_eq(guest_mem_next_part(&mem, &mem.regions[1], &at), HIGH_SIZE);
	ck_assert_uint_eq(at, 0);
}
END_TEST

/* It shows what is there, but not where. */
START_TEST(test_pagemap)
{
	uint64_t entry = 0;

	setup();
	mem.regions[1].host[0] = 1;
	ck_assert_int_ge(mem.pagemap, 0);
	ck_assert_int_eq(fcntl(mem.pagemap, F_GETFD), FD_CLOEXEC);
	ck_assert_int_eq(
		pread(mem.pagemap, &entry, 8, (off_t)((uintptr_t)mem.regions[1].host / 512)), 8);
	ck_assert_uint_eq(entry >> 63, 1);
	ck_assert_uint_eq(entry & ((UINT64_C(1) << 55) - 1), 0);
}
END_TEST

/* Few hosts have such pages to spare.
 What they cannot hold is refused at once, and where there are any, they stay. */
START_TEST(test_hugetlb)
{
	const struct guest_mem_options options = {.pages = _i % 2 ? GUEST_MEM_1G : GUEST_MEM_2M,
						  .shared = _i / 2};
	const uint64_t page = guest_mem_page_size(options.pages);
	const struct guest_mem_region odd[] = {{.base = 0, .size = page + 4096}},
				      much[] = {{.base = 0, .size = 4096 * GIB}},
				      fit[] = {{.base = 0, .size = page}};
	int err;

	ck_assert_int_eq(guest_mem_init_as(&mem, &options, odd, 1), -EINVAL);
	ck_assert_int_lt(guest_mem_init_as(&mem, &options, much, 1), 0);
	ck_assert_ptr_null(mem.map);
	ck_assert_int_eq(mem.fd, -1);
	err = guest_mem_init_as(&mem, &options, fit, 1);
	if (err < 0) {
		ck_assert(err == -ENOMEM || err == -ENOENT || err == -ENODEV || err == -EINVAL);
		return;
	}
	ck_assert_uint_eq((uintptr_t)mem.regions[0].host % page, 0);
	mem.regions[0].host[0] = 1;
	ck_assert(!guest_mem_can_discard(&mem));
	ck_assert_int_eq(guest_mem_discard(&mem, mem.regions[0].host, page), -EOPNOTSUPP);
	ck_assert_uint_eq(mem.regions[0].host[0], 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core/guest_mem_kinds");
	TCase *kind = tcase_create("kind");

	tcase_add_loop_test(kind, test_kind, 0, N_KINDS);
	tcase_add_loop_test(kind, test_prefault, 0, N_KINDS);
	tcase_add_loop_test(kind, test_prefer_small, 0, N_KINDS);
	tcase_add_test(kind, test_prefault_fails);
	tcase_add_loop_test(kind, test_fork, 0, N_KINDS);
	tcase_add_test(kind, test_shared);
	tcase_add_test(kind, test_shared_too_large);
	tcase_add_loop_test(kind, test_next_part, 0, N_KINDS);
	tcase_add_loop_test(kind, test_next_part_absent, 0, N_KINDS);
	tcase_add_test(kind, test_next_part_unknown);
	tcase_add_test(kind, test_pagemap);
	tcase_add_loop_test(kind, test_hugetlb, 0, 4);
	tcase_add_checked_fixture(kind, NULL, teardown);
	suite_add_tcase(s, kind);
	return run_suite(s);
}
