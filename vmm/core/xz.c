#include "vmm/core/xz.h"

#ifdef VMM_HAVE_LZMA
#include <stddef.h>

#ifdef VMM_LATE_LZMA
#include "vmm/core/late_library.h"

int xz_open(struct xz *xz)
{
	/* Of the functions' ABI, which lzma.h describes. */
	return late_library_open(xz, "liblzma.so.5",
				 "lzma_stream_decoder\0lzma_alone_decoder\0lzma_code\0lzma_end\0");
}

void xz_close(struct xz *xz)
{
	late_library_close(xz);
}

#else

int xz_open(struct xz *xz)
{
	*xz = (struct xz){.stream_decoder = lzma_stream_decoder,
			  .alone_decoder = lzma_alone_decoder,
			  .code = lzma_code,
			  .end = lzma_end};
	return 0;
}

void xz_close(struct xz *xz)
{
	*xz = (struct xz){.library = NULL};
}
#endif
#endif
