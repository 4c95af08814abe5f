/*
 * libzstd's functions, for images and kernels that are packed with it; loaded when they are needed (vmm/core/late_library.h).
 *
 * Owner: whoever calls zstd_open(). Threads: immutable after that.
 */
#pragma once

#ifdef VMM_HAVE_ZSTD
#include <zstd.h>

struct zstd {
	void *library; /* NULL: not loaded, or part of the program */
	__typeof__(ZSTD_createDCtx) *create_dctx;
	__typeof__(ZSTD_freeDCtx) *free_dctx;
	__typeof__(ZSTD_DCtx_setParameter) *set_parameter;
	__typeof__(ZSTD_decompressStream) *decompress_stream;
	__typeof__(ZSTD_decompress) *decompress;
	__typeof__(ZSTD_isError) *is_error;
};

/* Returns 0, or -ELIBACC when the library is not there (any more) or lacks a function. */
int zstd_open(struct zstd *zstd);
/* Also of zeros, or after zstd_open() failed. */
void zstd_close(struct zstd *zstd);
#endif
