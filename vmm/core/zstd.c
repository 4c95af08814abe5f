#include "vmm/core/zstd.h"

#ifdef VMM_HAVE_ZSTD
#include <stddef.h>

#ifdef VMM_LATE_ZSTD
#include "vmm/core/late_library.h"

int zstd_open(struct zstd *zstd)
{
	/* Of the functions' ABI, which zstd.h describes. */
	return late_library_open(zstd, "libzstd.so.1",
				 "ZSTD_createDCtx\0ZSTD_freeDCtx\0ZSTD_DCtx_setParameter\0"
				 "ZSTD_decompressStream\0ZSTD_decompress\0ZSTD_isError\0");
}

void zstd_close(struct zstd *zstd)
{
	late_library_close(zstd);
}

#else

int zstd_open(struct zstd *zstd)
{
	*zstd = (struct zstd){.create_dctx = ZSTD_createDCtx,
			      .free_dctx = ZSTD_freeDCtx,
			      .set_parameter = ZSTD_DCtx_setParameter,
			      .decompress_stream = ZSTD_decompressStream,
			      .decompress = ZSTD_decompress,
			      .is_error = ZSTD_isError};
	return 0;
}

void zstd_close(struct zstd *zstd)
{
	*zstd = (struct zstd){.library = NULL};
}
#endif
#endif
