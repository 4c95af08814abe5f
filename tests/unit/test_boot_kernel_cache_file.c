/* boot/kernel_cache_file: a kernel of many steps comes back as it was, whoever helps, and a file that is cut off leaves nothing. */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/kernel_cache_file.h"
#include "boot/scratch.h"
#include "tests/unit/run_suite.h"

#define MIB  UINT64_C(0x100000)
#define RAM  (48 * MIB)
#define LOAD (4 * MIB)
#define ROOM (40 * MIB)
#define TAIL 300001

static struct guest_mem mem;
static const struct vmlinux_place place = {.link = LOAD, .load = LOAD, .size = ROOM, .lowest = MIB};
static const struct kernel_cache_id id = {.size = 1};
static struct steps steps;
static struct vmlinux kept;
static uint8_t *want; /* RAM as it was */
static int fd;

/* Pieces that end within steps, at their bounds and beyond, with zeros between. */
static const struct {
	uint64_t at, len;
} pieces[] = {{0, 3 * MIB + 4096}, {3 * MIB + 512 * 1024, MIB / 2}, {6 * MIB, 2 * MIB},
	      {9 * MIB, 4096},	   {10 * MIB + 8192, 11 * MIB},	    {39 * MIB, MIB}};

static void setup(void)
{
	const struct guest_mem_region region = {.base = 0, .size = RAM};
	uint32_t random = 1;

	ck_assert_int_eq(guest_mem_init(&mem, &region, 1), 0);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		uint8_t *bytes = guest_mem_ptr(&mem, LOAD + pieces[i].at, pieces[i].len);

		for (uint64_t k = 0; k < pieces[i].len; k++) {
			random = random * 1664525 + 1013904223;
			bytes[k] = (uint8_t)(random >> 24);
		}
	}
	kept = (struct vmlinux){.n_segments = 1,
				.segments = {{.gpa = LOAD, .size = ROOM, .room = ROOM}},
				.entry = LOAD,
				.tail = scratch_get(TAIL),
				.tail_len = TAIL};
	for (size_t i = 0; i < TAIL; i++)
		kept.tail[i] = (uint8_t)(i * 7);
	want = malloc(RAM);
	ck_assert_ptr_nonnull(want);
	memcpy(want, guest_mem_ptr(&mem, 0, RAM), RAM);
	fd = memfd_create("kernel", MFD_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(kernel_cache_write(fd, &id, &mem, &place, &kept), 0);
	ck_assert_int_eq(guest_mem_discard(&mem, guest_mem_ptr(&mem, 0, RAM), RAM), 0);
	steps_init(&steps);
}

static void teardown(void)
{
	steps_fini(&steps);
	vmlinux_fini(&kept);
	guest_mem_fini(&mem);
	free(want);
	close(fd);
}

static void *help(void *arg)
{
	steps_help(&steps);
	return arg;
}

static void expect_kept(void)
{
	struct vmlinux v;

	ck_assert_int_eq(kernel_cache_read(fd, &id, &mem, &place, &steps, &v), 0);
	ck_assert(memcmp(guest_mem_ptr(&mem, 0, RAM), want, RAM) == 0);
	ck_assert_uint_eq(v.tail_len, TAIL);
	ck_assert_mem_eq(v.tail, kept.tail, TAIL);
	ck_assert_uint_eq(v.entry, LOAD);
	vmlinux_fini(&v);
	ck_assert_int_eq(guest_mem_discard(&mem, guest_mem_ptr(&mem, 0, RAM), RAM), 0);
}

START_TEST(test_comes_back)
{
	pthread_t helper;

	if (_i == 1)
		ck_assert_int_eq(pthread_create(&helper, NULL, help, NULL), 0);
	for (int round = 0; round < 20; round++)
		expect_kept();
	steps_end(&steps);
	if (_i == 1)
		pthread_join(helper, NULL);
}
END_TEST

/* By a page, by half, and to no more than its head. */
START_TEST(test_cut_off)
{
	const off_t size = lseek(fd, 0, SEEK_END);
	const off_t ends[] = {size - 4096, size / 2, 16384};
	const uint8_t *ram = guest_mem_ptr(&mem, 0, RAM);
	pthread_t helper;
	struct vmlinux v;

	ck_assert_int_gt(size, (off_t)(17 * MIB));
	ck_assert_int_lt(size, (off_t)(19 * MIB));
	ck_assert_int_eq(pthread_create(&helper, NULL, help, NULL), 0);
	ck_assert_int_eq(ftruncate(fd, ends[_i]), 0);
	ck_assert_int_eq(kernel_cache_read(fd, &id, &mem, &place, &steps, &v), -EBADMSG);
	ck_assert_ptr_null(v.tail);
	ck_assert(ram[0] == 0 && memcmp(ram, ram + 1, RAM - 1) == 0);
	steps_end(&steps);
	pthread_join(helper, NULL);
}
END_TEST

/* A page in 17, each a run of its own: more than the head has room for. The last run takes the rest, zeros and all. */
START_TEST(test_many_runs)
{
	struct kernel_cache_head head;

	for (uint64_t at = 0; at < ROOM; at += UINT64_C(17 * 4096))
		memset(guest_mem_ptr(&mem, LOAD + at, 4096), (int)(at >> 12 | 1) & 0xff, 4096);
	memcpy(want, guest_mem_ptr(&mem, 0, RAM), RAM);
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
	ck_assert_int_eq(kernel_cache_write(fd, &id, &mem, &place, &kept), 0);
	ck_assert_int_eq(pread(fd, &head, sizeof(head), 0), sizeof(head));
	ck_assert_uint_eq(head.n_runs, KERNEL_CACHE_MAX_RUNS);
	ck_assert_int_eq(guest_mem_discard(&mem, guest_mem_ptr(&mem, 0, RAM), RAM), 0);
	expect_kept();
	steps_end(&steps);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("boot/kernel_cache_file");
	TCase *tc = tcase_create("file");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_comes_back, 0, 2);
	tcase_add_loop_test(tc, test_cut_off, 0, 3);
	tcase_add_test(tc, test_many_runs);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
