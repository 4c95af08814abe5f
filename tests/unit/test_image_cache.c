/*
 * Images in the cache are removed, and not while they are used, also where locks want what they want over NFS; a file of the user's stays.
 * This program brings its own flock(), openat() and usleep().
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/run_suite.h"
#include "vmm/image/image_cache.h"
#include "vmm/image/image_entry.h"
#include "vmm/image/image_file.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char dir[] = "/tmp/test-image-XXXXXX";
static struct image_cache cache;
static struct image_why why;

/* Over NFS, Linux makes a lock of the whole file for fcntl() of it: an exclusive one takes a descriptor that may write. */
int flock(int fd, int operation)
{
	int may = fcntl(fd, F_GETFL) & O_ACCMODE;

	if (((operation & LOCK_EX) && may == O_RDONLY) ||
	    ((operation & LOCK_SH) && may == O_WRONLY)) {
		errno = EBADF;
		return -1;
	}
	return (int)syscall(SYS_flock, fd, operation);
}

static uint64_t slept; /* us */

int usleep(useconds_t us)
{
	slept += us;
	return 0;
}

static bool no_tmpfile; /* as on some file systems */

int openat(int at, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
	va_end(args);
	if (no_tmpfile && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return (int)syscall(SYS_openat, at, path, flags, mode);
}

static void setup(void)
{
	struct image_config config = {.n_cmd = 0};
	char path[256];
	int fd;

	strcpy(strrchr(dir, '-'), "-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(image_cache_open(&cache, dir, IMAGE_CACHE_BOUND, &why), 0);
	for (unsigned int i = 0; i < IMAGE_CONFIG_STRINGS; i++)
		ck_assert_int_eq(image_config_add(&config, i == IMAGE_CONFIG_NAME ? "it" : ""), 0);
	snprintf(path, sizeof(path), "%s/" HEX IMAGE_ENTRY_SUFFIX, dir);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0644);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 8192), 0);
	ck_assert_int_eq(image_entry_seal(fd, &config), 0);
	close(fd);
	image_config_fini(&config);
}

static void teardown(void)
{
	char path[256];

	image_cache_close(&cache);
	snprintf(path, sizeof(path), "%s/" HEX IMAGE_ENTRY_SUFFIX, dir);
	unlink(path);
	ck_assert_int_eq(rmdir(dir), 0);
}

static unsigned int n_listed, n_used;
static bool unknown; /* it was sealed by another version */

static void count(void *arg, const struct image_entry *entry, bool used)
{
	(void)arg;
	if (unknown)
		ck_assert_ptr_nonnull(strstr(image_entry_name(entry), "another version"));
	else
		ck_assert_str_eq(image_entry_name(entry), "it");
	n_listed++;
	n_used += used;
}

static void check_list(unsigned int listed, unsigned int used)
{
	n_listed = n_used = 0;
	ck_assert_int_eq(image_cache_list(&cache, count, NULL, &why), 0);
	ck_assert_uint_eq(n_listed, listed);
	ck_assert_uint_eq(n_used, used);
}

START_TEST(what_is_used_stays)
{
	struct image_entry entry;
	uint64_t size = 0;

	ck_assert_int_eq(image_entry_open(&entry, &cache, HEX, false), 0);
	/* A machine may not write what others run. */
	ck_assert_int_eq(fcntl(entry.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	check_list(1, 1);
	ck_assert_int_eq(image_cache_remove(&cache, "it", &why), -EBUSY);
	ck_assert_int_eq(image_cache_trim(&cache, 0, &size, &why), 0);
	ck_assert_uint_gt(size, 0);
	check_list(1, 1);
	image_entry_close(&entry);
	check_list(1, 0);
}
END_TEST

START_TEST(what_is_not_used_goes)
{
	uint64_t size = 1;

	if (_i)
		ck_assert_int_eq(image_cache_remove(&cache, "it", &why), 0);
	else
		ck_assert_int_eq(image_cache_trim(&cache, 0, &size, &why), 0);
	ck_assert_uint_eq(size, (unsigned int)_i);
	check_list(0, 0);
}
END_TEST

/* It counts, and goes as others do; who would start it makes it anew. */
START_TEST(what_another_version_made_goes)
{
	int fd = openat(cache.dir, HEX IMAGE_ENTRY_SUFFIX, O_RDWR | O_CLOEXEC);
	struct image_entry entry;
	uint64_t size = 0;
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	if (_i & 1)
		/* the magic of its seal, which is the file's end */
		ck_assert_int_eq(pwrite(fd, "vmmimg9", 8, st.st_size - 32), 8);
	else
		/* its strings, of which it has another number then */
		ck_assert_int_eq(pwrite(fd, "\0", 1, 8192), 1);
	close(fd);
	unknown = true;
	ck_assert_int_eq(image_entry_open(&entry, &cache, HEX, false), -ENOENT);
	check_list(1, 0);
	ck_assert_int_eq(image_cache_trim(&cache, (uint64_t)st.st_size, &size, &why), 0);
	ck_assert_uint_eq(size, (uint64_t)st.st_size);
	if (_i & 2)
		ck_assert_int_eq(image_cache_remove(&cache, "sha256:0123456", &why), 0);
	else
		ck_assert_int_eq(image_cache_trim(&cache, 0, &size, &why), 0);
	check_list(0, 0);
	ck_assert_int_lt(faccessat(cache.dir, HEX IMAGE_ENTRY_SUFFIX, F_OK, 0), 0);
}
END_TEST

/* By somebody who may read it and does not let go. */
START_TEST(what_is_locked_is_not_waited_for)
{
	struct image_entry entry;
	int fd = openat(cache.dir, HEX IMAGE_ENTRY_SUFFIX, O_RDWR | O_CLOEXEC);

	ck_assert_int_eq(flock(fd, LOCK_EX), 0);
	slept = 0;
	ck_assert_int_eq(image_entry_open(&entry, &cache, HEX, false), -EWOULDBLOCK);
	ck_assert_int_lt(entry.fd, 0);
	ck_assert_uint_gt(slept, 5000000);
	ck_assert_uint_lt(slept, 20000000);
	slept = 0;
	check_list(0, 0);
	ck_assert_uint_lt(slept, 1000000);
	close(fd);
	check_list(1, 0);
}
END_TEST

/* One that appears while a file is made: of the user it stays, in the cache it is replaced; with and without a file without a name. */
START_TEST(what_appears_meanwhile)
{
	bool cached = _i & 1;
	struct image_file file;
	struct stat st;
	int fd;

	umask(022);
	no_tmpfile = _i & 2;
	ck_assert_int_eq(image_file_begin(&file, cache.dir, dir, "x", cached), 0);
	ck_assert(file.named == no_tmpfile);
	ck_assert_int_eq(write(file.fd, "made", 4), 4);
	fd = openat(cache.dir, "x", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(image_file_finish(&file), cached ? 0 : -EEXIST);
	ck_assert_int_eq(fstatat(cache.dir, "x", &st, 0), 0);
	ck_assert_int_eq(st.st_size, cached ? 4 : 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0600);
	ck_assert_int_eq(unlinkat(cache.dir, "x", 0), 0);
	close(fd);
	/* and where nothing appears */
	ck_assert_int_eq(image_file_begin(&file, cache.dir, dir, "x", cached), 0);
	ck_assert_int_eq(image_file_finish(&file), 0);
	ck_assert_int_eq(fstatat(cache.dir, "x", &st, 0), 0);
	ck_assert_int_eq(st.st_mode & 0077, cached ? 0 : 0044);
	ck_assert_int_eq(unlinkat(cache.dir, "x", 0), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("image/cache");
	TCase *tc = tcase_create("locks");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_used_stays);
	tcase_add_loop_test(tc, what_is_not_used_goes, 0, 2);
	tcase_add_loop_test(tc, what_another_version_made_goes, 0, 4);
	tcase_add_test(tc, what_is_locked_is_not_waited_for);
	tcase_add_loop_test(tc, what_appears_meanwhile, 0, 4);
	suite_add_tcase(s, tc);
	return run_suite(s);
}
