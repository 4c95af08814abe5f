#include "vmm/core/lz4.h"

#ifdef VMM_HAVE_LZ4
#include <stddef.h>

#ifdef VMM_LATE_LZ4
#include "vmm/core/late_library.h"

int lz4_open(struct lz4 *lz4)
{
	/* Of the function's ABI, which lz4.h describes. */
	return late_library_open(lz4, "liblz4.so.1", "LZ4_decompress_safe\0");
}

void lz4_close(struct lz4 *lz4)
{
	late_library_close(lz4);
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
