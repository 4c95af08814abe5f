#include "vmm/core/lz4.h"

#ifdef VMM_HAVE_LZ4
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#ifdef VMM_LATE_LZ4

/* Of the function's ABI, which lz4.h describes. */
#define LZ4_LIBRARY "liblz4.so.1"

int lz4_open(struct lz4 *lz4)
{
	*lz4 = (struct lz4){.library = dlopen(LZ4_LIBRARY, RTLD_NOW | RTLD_LOCAL)};
	if (!lz4->library)
		return -ELIBACC;
	/* POSIX has dlsym() return functions as data; this is its way to write that. */
	*(void **)&lz4->decompress_safe = dlsym(lz4->library, "LZ4_decompress_safe");
	if (lz4->decompress_safe)
		return 0;
	lz4_close(lz4);
	return -ELIBACC;
}

void lz4_close(struct lz4 *lz4)
{
	if (lz4->library)
		dlclose(lz4->library);
	*lz4 = (struct lz4){.library = NULL};
}

#else

int lz4_open(struct lz4 *lz4)
{
	*lz4 = (struct lz4){.decompress_safe = LZ4_decompress_safe};
	return 0;
}

void lz4_close(struct lz4 *lz4)
{
	*lz4 = (struct lz4){.library = NULL};
}
#endif
#endif
