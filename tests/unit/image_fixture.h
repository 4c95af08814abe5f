/*
 * Images without a disk: a raw one on a file or on nothing, and writing through the operations as a disk does. Check runs each test in a
 * process of its own, so what a test leaves open or changes ends with it.
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

#include "tests/unit/skip.h"
#include "virtio/image.h"
#include "virtio/image_io.h"
#include "vmm/core/log.h"

static char dir[64];
static char base_path[128];
static char top_path[128];

/* The lines logged since the test began. */
static unsigned int n_lines;
static char line[1024];

static inline void sink(void *arg, int level, const char *text)
{
	(void)arg;
	(void)level;
	n_lines++;
	snprintf(line, sizeof(line), "%s", text);
}

static inline void setup(void)
{
	strcpy(dir, "/tmp/test_virtio_image.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(base_path, sizeof(base_path), "%s/base.img", dir);
	snprintf(top_path, sizeof(top_path), "%s/top", dir);
	n_lines = 0;
	log_set_sink(sink, NULL);
}

static inline void teardown(void)
{
	unlink(base_path);
	unlink(top_path);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else was created */
}

struct file_image {
	struct image image;
	int fd;
	bool closed;
};

static inline int file_image_map(struct image *image, uint64_t offset, uint64_t len,
				 struct image_extent *extent)
{
	struct file_image *f = (struct file_image *)image;

	ck_assert_uint_gt(len, 0);
	ck_assert_uint_le(offset + len, image->size);
	*extent = (struct image_extent){
		.place = f->fd < 0 ? IMAGE_ZERO : IMAGE_FILE,
		.fd = f->fd,
		.offset = offset,
		.len = len,
	};
	return 0;
}

static inline void file_image_close(struct image *image)
{
	struct file_image *f = (struct file_image *)image;

	ck_assert(!f->closed);
	f->closed = true;
	if (f->fd >= 0)
		close(f->fd);
}

static const struct image_ops file_image_ops = {
	.map_read = file_image_map,
	.close = file_image_close,
};

/* Without a path an image of zeros, of that size. */
static inline struct image *file_image_open(struct file_image *f, const char *path, uint64_t size)
{
	struct stat st = {.st_size = (off_t)size};

	*f = (struct file_image){.fd = -1};
	if (path) {
		f->fd = open(path, O_RDONLY | O_CLOEXEC);
		ck_assert_int_ge(f->fd, 0);
		ck_assert_int_eq(fstat(f->fd, &st), 0);
	}
	f->image = (struct image){
		.ops = &file_image_ops,
		.readonly = true,
		.logical_block = 512,
		.physical_block = 512,
		.changed = st.st_mtim,
		.size = (uint64_t)st.st_size,
	};
	return &f->image;
}

/* As a disk does it. */
static inline int image_write(struct image *image, const void *buf, size_t len, uint64_t offset)
{
	const char *at = buf;

	while (len > 0) {
		struct image_extent extent;
		int ret = image->ops->map_write(image, offset, len, &extent);

		if (ret == 0)
			ret = image_file_pwrite(extent.fd, at, (size_t)extent.len, extent.offset);
		if (ret < 0)
			return ret;
		if (image->ops->wrote)
			image->ops->wrote(image, offset, extent.len);
		at += extent.len;
		len -= (size_t)extent.len;
		offset += extent.len;
	}
	return 0;
}

/* An error of these tests' storage loses nothing. */
static inline int image_flush(struct image *image)
{
	bool lost = true;
	int ret = image->ops->flush(image, &lost);

	ck_assert(!lost);
	return ret;
}

/* Bytes that tell where they are. */
static inline void fill_pattern(void *buf, size_t len, uint32_t seed)
{
	unsigned char *at = buf;

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		at[i] = (unsigned char)(seed >> 24);
	}
}

static inline void make_file(const char *path, const void *buf, size_t len)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(image_file_pwrite(fd, buf, len, 0), 0);
	close(fd);
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
