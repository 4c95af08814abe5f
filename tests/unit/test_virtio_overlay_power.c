/*
 * Loss of power at the worst moments of an overlay's life. Storage is modelled: of what was written since the last fdatasync() any page may be there or not.
 * After each loss the overlay opens, what a flush covered is there, and every sector is whole and one that was written, or the base's.
 */
#include <sys/syscall.h>

#include "tests/unit/image_fixture.h"
#include "virtio/overlay.h"
#include "virtio/overlay_file.h"

#define SECTORS	  2048u
#define SIZE	  (SECTORS * 512u)
/* The overlay: header and bitmap up to 1 MiB, then the disk's sectors. */
#define FILE_SIZE (2u << 20)
#define PAGE	  4096u
#define LOSSES	  4u /* different ones at each moment */

static struct file_image base;
static struct image *top;
static char lost_path[128];
static unsigned char durable[FILE_SIZE], current[FILE_SIZE], lost[FILE_SIZE], content[SIZE];
/* Of each sector: the version that the last flush covered, and the last one written; 0 is the base's. */
static uint32_t flushed[SECTORS], latest[SECTORS];
static unsigned int n_losses, n_syncs;
static bool losing;

static void fill_sector(unsigned char *at, uint32_t sector, uint32_t version)
{
	for (unsigned int i = 0; i < 512; i += 8) {
		memcpy(at + i, &sector, 4);
		memcpy(at + i + 4, &version, 4);
	}
}

static struct image *open_top(struct file_image *f, const char *path)
{
	struct overlay_config config = {
		.base = file_image_open(f, base_path, 0),
		.base_name = base_path,
		.path = path,
	};
	struct image *image;

	ck_assert_msg(overlay_open(&image, &config) == 0, "%s", line);
	return image;
}

/* Whether a sector is whole, and of a version that it can have. */
static bool plausible(uint32_t s, const unsigned char *at)
{
	unsigned char whole[512];
	uint32_t version;

	memcpy(&version, at + 4, 4);
	fill_sector(whole, s, version);
	return memcmp(at, whole, 512) == 0 && version >= flushed[s] && version <= latest[s];
}

static void check_lost(void)
{
	struct file_image lost_base;
	struct image *image = open_top(&lost_base, lost_path);

	ck_assert_int_eq(image_pread(image, content, SIZE, 0), 0);
	for (uint32_t s = 0; s < SECTORS; s++) {
		if (!plausible(s, content + s * 512u))
			ck_abort_msg("sector %u is lost", s);
	}
	image->ops->close(image);
}

/* Which pages made it: the bitmap's all and no data, all data and no bitmap, or as it comes. */
static bool page_survives(unsigned int kind, unsigned int page)
{
	bool is_data = page >= overlay_file_data_offset(SIZE) / PAGE;

	return kind == 0 ? !is_data : kind == 1 ? is_data : random() % 2;
}

static void lose_power(int fd)
{
	ck_assert_int_eq(image_file_pread(fd, current, FILE_SIZE, 0), 0);
	for (unsigned int kind = 0; kind < LOSSES; kind++) {
		for (unsigned int page = 0; page < FILE_SIZE / PAGE; page++)
			memcpy(lost + page * PAGE,
			       (page_survives(kind, page) ? current : durable) + page * PAGE, PAGE);
		make_file(lost_path, lost, FILE_SIZE);
		check_lost();
		n_losses++;
	}
}

static void write_some(void)
{
	uint32_t first = (uint32_t)random() % SECTORS, n = (uint32_t)random() % 8 + 1;

	for (uint32_t s = first; s < first + n && s < SECTORS; s++) {
		unsigned char sector[512];

		fill_sector(sector, s, latest[s] + 1);
		latest[s]++;
		ck_assert_int_eq(image_write(top, sector, 512, s * 512u), 0);
	}
}

/* What is on storage when it returns is what was written before it began; other writes come in between. */
int fdatasync(int fd)
{
	static unsigned char began[FILE_SIZE];

	n_syncs++;
	if (losing) {
		lose_power(fd);
		ck_assert_int_eq(image_file_pread(fd, began, FILE_SIZE, 0), 0);
		write_some();
		lose_power(fd);
		memcpy(durable, began, FILE_SIZE);
		lose_power(fd);
		return 0;
	}
	return (int)syscall(SYS_fdatasync, fd);
}

static void flush(void)
{
	uint32_t before[SECTORS];

	memcpy(before, latest, sizeof(before));
	ck_assert_int_eq(image_flush(top), 0);
	memcpy(flushed, before, sizeof(before));
}

/* The making of the file: the one that fsync() has made stable last, how many got a name as they were then, and how many names stayed. */
static struct stat stable;
static unsigned int n_stable_files, n_stable_names;
static bool no_proc;

int fsync(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	if (S_ISDIR(st.st_mode))
		n_stable_names += access(top_path, F_OK) == 0;
	else
		stable = st;
	return (int)syscall(SYS_fsync, fd);
}

int linkat(int from, const char *path, int to, const char *name, int flags)
{
	struct stat st;

	if (no_proc && (flags & AT_SYMLINK_FOLLOW)) {
		errno = ENOENT;
		return -1;
	}
	ck_assert_int_eq(fstatat(from, path, &st, 0), 0);
	n_stable_files += st.st_ino == stable.st_ino && st.st_size == stable.st_size &&
			  st.st_size == FILE_SIZE;
	return (int)syscall(SYS_linkat, from, path, to, name, flags);
}

static void make_base(void)
{
	setup();
	snprintf(lost_path, sizeof(lost_path), "%s/lost", dir);
	for (uint32_t s = 0; s < SECTORS; s++)
		fill_sector(content + s * 512u, s, 0);
	make_file(base_path, content, SIZE);
}

static void make_overlay(void)
{
	struct image_extent extent;

	make_base();
	top = open_top(&base, top_path);
	ck_assert_int_eq(top->ops->map_write(top, 0, 512, &extent), 0);
	ck_assert_int_eq(image_file_pread(extent.fd, durable, FILE_SIZE, 0), 0);
	losing = true;
}

static void remove_overlay(void)
{
	losing = false;
	top->ops->close(top);
	unlink(lost_path);
	teardown();
}

START_TEST(flushed_sectors_survive)
{
	srandom((unsigned int)_i);
	for (unsigned int round = 0; round < 8; round++) {
		for (long n = random() % 10; n >= 0; n--)
			write_some();
		flush();
	}
	ck_assert_uint_gt(n_losses, 8 * 3 * LOSSES - 1);
}
END_TEST

/* A flush after writes to sectors that are there already costs one call and no more. */
START_TEST(flush_without_new_sectors_is_one_sync)
{
	unsigned char sector[512] = {0};

	losing = false;
	for (unsigned int n = 0; n < 3; n++) {
		n_syncs = 0;
		ck_assert_int_eq(image_write(top, sector, 512, 0), 0);
		ck_assert_int_eq(image_flush(top), 0);
		ck_assert_uint_eq(n_syncs, n == 0 ? 2 : 1);
	}
}
END_TEST

/* By a file without a name, and by a name of its own where that cannot be. */
START_TEST(a_name_is_of_a_whole_file)
{
	no_proc = _i == 1;
	n_stable_files = n_stable_names = 0;
	top = open_top(&base, top_path);
	ck_assert_uint_eq(n_stable_files, 1);
	ck_assert_uint_eq(n_stable_names, 1);
	top->ops->close(top);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio/overlay power");
	TCase *tc = tcase_create("power"), *made = tcase_create("made");

	tcase_add_checked_fixture(tc, make_overlay, remove_overlay);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, flushed_sectors_survive, 0, 3);
	tcase_add_test(tc, flush_without_new_sectors_is_one_sync);
	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(made, make_base, teardown);
	tcase_add_loop_test(made, a_name_is_of_a_whole_file, 0, 2);
	suite_add_tcase(s, made);
	return run(s);
}
