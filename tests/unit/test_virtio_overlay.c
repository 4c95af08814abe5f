/* virtio/overlay: what is written is found, what is not shows the base, which stays as it is. */
#include <linux/falloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/disk_rw.h"
#include "tests/unit/overlay_fixture.h"
#include "virtio/overlay_file.h"

static void compare_base(void)
{
	int fd = open(base_path, O_RDONLY | O_CLOEXEC);

	ck_assert_int_eq(image_file_pread(fd, got, SIZE, 0), 0);
	ck_assert_mem_eq(got, content, SIZE);
	close(fd);
}

/* Writes and zeros at places and of lengths of all kinds, against a model in memory. */
static void change_at_random(unsigned int n, unsigned int seed)
{
	srandom(seed);
	for (unsigned int i = 0; i < n; i++) {
		uint64_t offset = (uint64_t)random() % (SIZE / 512) * 512;
		size_t len = ((size_t)random() % 200 + 1) * 512;
		unsigned int what = (unsigned int)random() % 4;

		if (len > SIZE - offset)
			len = SIZE - offset;
		if (what > 1) {
			write_model(offset, len, (uint32_t)random());
			continue;
		}
		if (top->ops->zero(top, offset, len, what == 0) == 0)
			memset(model + offset, 0, len);
	}
}

START_TEST(temporary_changes_are_found)
{
	open_overlay(false);
	compare();
	change_at_random(100, (unsigned int)_i);
	compare();
	ck_assert_int_eq(image_flush(top), 0);
	close_overlay();
	compare_base();
	memcpy(model, content, SIZE);
	open_overlay(false);
	compare();
	close_overlay();
}
END_TEST

START_TEST(kept_changes_are_found_again)
{
	for (unsigned int round = 0; round < 5; round++) {
		open_overlay(true);
		compare();
		change_at_random(20, round + 10 * (unsigned int)_i);
		compare();
		ck_assert_int_eq(image_flush(top), 0);
		close_overlay();
	}
	compare_base();
}
END_TEST

/* A file that was made and not written to goes again; one that was there, or that somebody else has put there, stays. */
START_TEST(unused_files_go)
{
	open_overlay(true);
	ck_assert_int_eq(access(top_path, F_OK), 0);
	close_overlay();
	ck_assert_int_eq(access(top_path, F_OK), -1);
	open_overlay(true);
	write_model(4096, 512, 2);
	close_overlay();
	ck_assert_int_eq(access(top_path, F_OK), 0);
	open_overlay(true);
	close_overlay();
	ck_assert_int_eq(access(top_path, F_OK), 0);
	unlink(top_path);
	open_overlay(true);
	unlink(top_path);
	make_file(top_path, content, 512);
	close_overlay();
	ck_assert_int_eq(access(top_path, F_OK), 0);
}
END_TEST

/* Whichever descriptor is one too many, no file is left. */
START_TEST(few_descriptors)
{
	struct rlimit limit;
	int ret, next = dup(STDIN_FILENO);

	ck_assert_int_ge(next, 0);
	ck_assert_int_eq(close(next), 0);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = (rlim_t)next;
	do {
		limit.rlim_cur++; /* the base has the first */
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
		ret = try_open(true);
		ck_assert(ret == 0 || ret == -EMFILE);
		ck_assert_int_eq(access(top_path, F_OK), ret == 0 ? 0 : -1);
	} while (ret < 0);
	close_overlay();
}
END_TEST

START_TEST(unflushed_changes_show_the_base)
{
	open_overlay(true);
	write_model(4096, 4096, 3);
	close_overlay();
	memcpy(model, content, SIZE);
	open_overlay(true);
	compare();
	close_overlay();
}
END_TEST

START_TEST(reads_are_split_where_sectors_differ)
{
	struct image_extent extent;

	open_overlay(false);
	write_model(512, 1024, 4);
	ck_assert_int_eq(top->ops->map_read(top, 0, SIZE, &extent), 0);
	ck_assert_int_eq(extent.fd, base.fd);
	ck_assert_uint_eq(extent.len, 512);
	ck_assert_int_eq(top->ops->map_read(top, 512, SIZE - 512, &extent), 0);
	ck_assert_int_ne(extent.fd, base.fd);
	ck_assert_uint_eq(extent.len, 1024);
	ck_assert_uint_eq(extent.offset, overlay_file_data_offset(SIZE) + 512);
	ck_assert_int_eq(top->ops->map_read(top, 1536, SIZE - 1536, &extent), 0);
	ck_assert_int_eq(extent.fd, base.fd);
	ck_assert_uint_eq(extent.len, SIZE - 1536);
	/* odd ends */
	ck_assert_int_eq(top->ops->map_read(top, 700, 10000, &extent), 0);
	ck_assert_uint_eq(extent.len, 1536 - 700);
	ck_assert_int_eq(top->ops->map_read(top, 700, 3, &extent), 0);
	ck_assert_uint_eq(extent.len, 3);
	close_overlay();
}
END_TEST

/* As a guest does it: in one call what lies in one place, and in parts what does not or is more than one call takes. */
START_TEST(disk_finds_changes)
{
	struct iovec iov[512];
	struct disk disk;

	open_overlay(false);
	disk = (struct disk){.image = top, .size = SIZE};
	fill_pattern(model + 4096, 1024, 10);
	iov[0] = (struct iovec){model + 4096, 1024};
	ck_assert_int_eq(disk_writev(&disk, iov, 1, 4096), 0);
	compare();
	fill_pattern(model + 65536, sizeof(iov) / sizeof(iov[0]) * 512, 11);
	for (size_t i = 0; i < sizeof(iov) / sizeof(iov[0]); i++)
		iov[i] = (struct iovec){model + 65536 + i * 512, 512};
	ck_assert_int_eq(disk_writev(&disk, iov, 512, 65536), 0);
	compare();
	memset(got, 0, SIZE);
	iov[0] = (struct iovec){got, SIZE};
	ck_assert_int_eq(disk_readv(&disk, iov, 1, 0), 0);
	ck_assert_mem_eq(got, model, SIZE);
	close_overlay();
}
END_TEST

/* What the base has no file for. */
START_TEST(disk_finds_zeros)
{
	struct overlay_config config = {.base_name = "zeros"};
	struct iovec iov = {got, 4096};
	struct disk disk;

	config.base = file_image_open(&base, NULL, SIZE);
	ck_assert_int_eq(overlay_open(&top, &config), 0);
	disk = (struct disk){.image = top, .size = SIZE};
	memset(model, 0, SIZE);
	write_model(4096, 512, 12);
	for (uint64_t at = 0; at < SIZE; at += 4096) {
		memset(got, 0xee, 4096);
		ck_assert_int_eq(disk_readv(&disk, &iov, 1, at), 0);
		ck_assert_mem_eq(got, model + at, 4096);
	}
	close_overlay();
}
END_TEST

START_TEST(discard_gives_storage_back)
{
	struct image_extent extent;
	struct stat before, after;

	open_overlay(true);
	write_model(0, SIZE, 5);
	ck_assert_int_eq(top->ops->map_read(top, 0, 1, &extent), 0);
	ck_assert_int_eq(image_flush(top), 0);
	ck_assert_int_eq(fstat(extent.fd, &before), 0);
	if (top->ops->zero(top, 0, SIZE / 2, true) != 0) {
		skip_note("giving storage back, which the file system of /tmp cannot");
		close_overlay();
		return;
	}
	ck_assert_int_eq(fstat(extent.fd, &after), 0);
	ck_assert_int_lt(after.st_blocks, before.st_blocks);
	memset(model, 0, SIZE / 2);
	compare();
	close_overlay();
}
END_TEST

/* ---- full and huge ---- */

START_TEST(full_disk_is_an_error)
{
	struct rlimit limit = {.rlim_cur = overlay_file_data_offset(SIZE) + 4096,
			       .rlim_max = RLIM_INFINITY};

	open_overlay(false);
	write_model(0, 4096, 8);
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	ck_assert_int_eq(image_write(top, content, 4096, 8192), -EFBIG);
	compare();
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
	write_model(8192, 4096, 9);
	compare();
	close_overlay();
}
END_TEST

/* 4 TiB: neither memory nor storage until something is written, and the last sector is as good as the first. */
START_TEST(huge_disk_costs_what_is_written)
{
	struct overlay_config config = {.base_name = "zeros", .path = top_path};
	const uint64_t size = 4ull << 40;
	struct rusage before, after;
	struct stat st;

	getrusage(RUSAGE_SELF, &before);
	for (unsigned int round = 0; round < 2; round++) {
		config.base = file_image_open(&base, NULL, size);
		ck_assert_int_eq(overlay_open(&top, &config), 0);
		if (round == 0) {
			ck_assert_int_eq(image_write(top, content, 512, 0), 0);
			ck_assert_int_eq(image_write(top, content, 512, size / 2), 0);
			ck_assert_int_eq(image_write(top, content, 512, size - 512), 0);
			ck_assert_int_eq(image_flush(top), 0);
		}
		memset(model, 0, SIZE);
		memcpy(model, content, 512);
		ck_assert_int_eq(image_pread(top, got, SIZE, 0), 0);
		ck_assert_mem_eq(got, model, SIZE);
		ck_assert_int_eq(image_pread(top, got, SIZE, size / 2), 0);
		ck_assert_mem_eq(got, model, SIZE);
		ck_assert_int_eq(image_pread(top, got, 1024, size - 1024), 0);
		ck_assert_mem_eq(got + 512, content, 512);
		top->ops->close(top);
	}
	getrusage(RUSAGE_SELF, &after);
	ck_assert_int_lt(after.ru_maxrss - before.ru_maxrss,
			 32 << 10); /* KiB; sanitizers take theirs */
	ck_assert_int_eq(stat(top_path, &st), 0);
	ck_assert_int_lt(st.st_blocks, 256);
}
END_TEST

/* ---- threads ---- */

struct worker {
	pthread_t thread;
	unsigned int number;
};

/* Each changes every fourth 16 KiB and reads it back, with flushes in between. */
static void *work(void *arg)
{
	struct worker *w = arg;
	unsigned char block[16384];

	for (unsigned int n = w->number; n < SIZE / sizeof(block); n += 4) {
		uint64_t at = n * sizeof(block);

		fill_pattern(block, sizeof(block), n);
		if (image_write(top, block, sizeof(block), at) < 0 ||
		    image_pread(top, block, sizeof(block), at) < 0 ||
		    memcmp(block, model + at, sizeof(block)) != 0 ||
		    (n / 4 % 4 == 0 && image_flush(top) < 0))
			return w;
	}
	return image_flush(top) < 0 ? w : NULL;
}

START_TEST(threads_share_an_overlay)
{
	struct worker workers[4];
	void *failed;

	for (unsigned int n = 0; n < SIZE / 16384; n++)
		fill_pattern(model + 16384 * (size_t)n, 16384, n);
	open_overlay(true);
	for (unsigned int i = 0; i < 4; i++) {
		workers[i].number = i;
		ck_assert_int_eq(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(workers[i].thread, &failed);
		ck_assert_ptr_null(failed);
	}
	compare();
	close_overlay();
	open_overlay(true);
	compare();
	close_overlay();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/overlay");
	TCase *tc = tcase_create("overlay");

	tcase_add_checked_fixture(tc, make_base, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, temporary_changes_are_found, 0, 5);
	tcase_add_loop_test(tc, kept_changes_are_found_again, 0, 3);
	tcase_add_test(tc, unused_files_go);
	tcase_add_test(tc, few_descriptors);
	tcase_add_test(tc, unflushed_changes_show_the_base);
	tcase_add_test(tc, reads_are_split_where_sectors_differ);
	tcase_add_test(tc, disk_finds_changes);
	tcase_add_test(tc, disk_finds_zeros);
	tcase_add_test(tc, discard_gives_storage_back);
	tcase_add_test(tc, full_disk_is_an_error);
	tcase_add_test(tc, huge_disk_costs_what_is_written);
	tcase_add_test(tc, threads_share_an_overlay);
	suite_add_tcase(s, tc);
	return run(s);
}
