/*
 * liblz4's function, for kernels packed with lz4; loaded when it is needed (vmm/core/late_library.h).
 *
 * Owner: whoever calls lz4_open(). Threads: immutable after that.
 */
#pragma once

#ifdef VMM_HAVE_LZ4
#include <lz4.h>

struct lz4 {
	void *library; /* NULL: not loaded, or part of the program */
	__typeof__(LZ4_decompress_safe) *decompress_safe;
};

/* Returns 0, or -ELIBACC when the library is not there or lacks the function. */
int lz4_open(struct lz4 *lz4);
/* Also of zeros, or after lz4_open() failed. */
void lz4_close(struct lz4 *lz4);
#endif
