/*
 * An overlay over a base of bytes that tell where they are, and what it should hold, for tests.
 */
#pragma once

#include "tests/unit/image_fixture.h"
#include "virtio/overlay.h"

#define SIZE (1u << 20)

static unsigned char content[SIZE], model[SIZE], got[SIZE];
static struct file_image base;
static struct image *top;

static inline void make_base(void)
{
	setup();
	fill_pattern(content, SIZE, 1);
	memcpy(model, content, SIZE);
	make_file(base_path, content, SIZE);
}

static inline int try_open(bool kept)
{
	struct overlay_config config = {
		.base = file_image_open(&base, base_path, 0),
		.base_name = base_path,
		.path = kept ? top_path : NULL,
	};
	int ret = overlay_open(&top, &config);

	ck_assert(ret == 0 || (!top && base.closed));
	return ret;
}

static inline void open_overlay(bool kept)
{
	ck_assert_int_eq(try_open(kept), 0);
	ck_assert_uint_eq(n_lines, 0);
	ck_assert_uint_eq(top->size, SIZE);
	ck_assert(!top->readonly);
}

static inline void close_overlay(void)
{
	top->ops->close(top);
	ck_assert(base.closed);
}

static inline void write_model(uint64_t offset, size_t len, uint32_t seed)
{
	fill_pattern(model + offset, len, seed);
	ck_assert_int_eq(image_write(top, model + offset, len, offset), 0);
}

static inline void compare(void)
{
	ck_assert_int_eq(image_pread(top, got, SIZE, 0), 0);
	ck_assert_mem_eq(got, model, SIZE);
}

static inline void refused(int err, const char *why)
{
	n_lines = 0;
	ck_assert_int_eq(try_open(true), err);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_msg(strstr(line, why), "'%s' does not say '%s'", line, why);
	n_lines = 0;
}

static inline void make_kept(void)
{
	open_overlay(true);
	write_model(0, 4096, 6);
	ck_assert_int_eq(image_flush(top), 0);
	close_overlay();
}
