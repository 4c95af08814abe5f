/*
 * zlib's functions for unpacking, loaded when they are needed (vmm/core/late_library.h): few starts unpack something.
 *
 * Owner: whoever calls zlib_open(). Threads: immutable after that.
 */
#pragma once

#include <zlib.h>

struct zlib {
	void *library; /* NULL: not loaded, or part of the program */
	/* What inflateInit2() stands for in zlib.h: the version and the size are those that vmm was built with. */
	__typeof__(inflateInit2_) *inflate_init;
	__typeof__(inflate) *inflate;
	__typeof__(inflateEnd) *inflate_end;
};

/* Returns 0, or -ELIBACC when the library is not there or lacks a function. */
int zlib_open(struct zlib *zlib);
/* Also of zeros, or after zlib_open() failed. */
void zlib_close(struct zlib *zlib);

/* As inflateInit2(). */
int zlib_begin(const struct zlib *zlib, z_stream *stream, int window_bits);
