/*
 * liblzma's functions, for kernels packed with xz or lzma; loaded when they are needed (vmm/core/late_library.h).
 *
 * Owner: whoever calls xz_open(). Threads: immutable after that.
 */
#pragma once

#ifdef VMM_HAVE_LZMA
#include <lzma.h>

struct xz {
	void *library; /* NULL: not loaded, or part of the program */
	__typeof__(lzma_stream_decoder) *stream_decoder;
	__typeof__(lzma_alone_decoder) *alone_decoder;
	__typeof__(lzma_code) *code;
	__typeof__(lzma_end) *end;
};

/* Returns 0, or -ELIBACC when the library is not there or lacks a function. */
int xz_open(struct xz *xz);
/* Also of zeros, or after xz_open() failed. */
void xz_close(struct xz *xz);
#endif
