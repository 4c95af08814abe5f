/*
 * A directory for one image file, and the lines that were logged, for tests of virtio/disk. Check runs each test
 * in a process of its own, so what a test leaves open or changes ends with it.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/disk_rw.h"
#include "tests/unit/skip.h"
#include "virtio/disk.h"
#include "vmm/core/log.h"

#define SECTORS(n) ((size_t)(n)*DISK_SECTOR)

static char dir[128];
static char path[144];
static struct disk disk;

/* The lines logged since the test began. */
static unsigned int n_lines;
static char line[1024];
static int line_level;

static inline void sink(void *arg, int level, const char *text)
{
	(void)arg;
	n_lines++;
	line_level = level;
	snprintf(line, sizeof(line), "%s", text);
}

static inline void setup_in(const char *parent)
{
	snprintf(dir, sizeof(dir), "%s/test_virtio_disk.XXXXXX", parent);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0);
	snprintf(path, sizeof(path), "%s/x.img", dir);
	n_lines = 0;
	log_set_sink(sink, NULL);
}

static inline void setup(void)
{
	setup_in("/tmp");
}

static inline void teardown(void)
{
	unlink(path);
	rmdir(path);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else was created */
}

/* The descriptor behind a raw image. */
static inline int image_fd(struct image *image)
{
	struct image_extent extent;

	ck_assert_int_eq(image->ops->map_read(image, 0, 512, &extent), 0);
	return extent.fd;
}

static inline void make_file(off_t size)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
}

static inline int try_open(struct disk *d, bool readonly)
{
	struct disk_config config = {.image = {.path = path, .readonly = readonly}};

	return disk_open(d, &config);
}

static inline void open_disk(off_t size, bool readonly)
{
	make_file(size);
	ck_assert_int_eq(try_open(&disk, readonly), 0);
	ck_assert_uint_eq(n_lines, 0);
}

static inline int run(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
