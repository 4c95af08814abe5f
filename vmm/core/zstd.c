#include "vmm/core/zstd.h"

#ifdef VMM_HAVE_ZSTD
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#ifdef VMM_LATE_ZSTD

/* Of the functions' ABI, which zstd.h describes. */
#define ZSTD_LIBRARY "libzstd.so.1"

static int zstd_find(const struct zstd *zstd, const char *name, void *function)
{
	/* POSIX has dlsym() return functions as data; this is its way to write that. */
	*(void **)function = dlsym(zstd->library, name);
	return *(void **)function ? 0 : -ELIBACC;
}

int zstd_open(struct zstd *zstd)
{
	*zstd = (struct zstd){.library = dlopen(ZSTD_LIBRARY, RTLD_NOW | RTLD_LOCAL)};
	if (!zstd->library)
		return -ELIBACC;
	if (zstd_find(zstd, "ZSTD_createDCtx", &zstd->create_dctx) < 0 ||
	    zstd_find(zstd, "ZSTD_freeDCtx", &zstd->free_dctx) < 0 ||
	    zstd_find(zstd, "ZSTD_DCtx_setParameter", &zstd->set_parameter) < 0 ||
	    zstd_find(zstd, "ZSTD_decompressStream", &zstd->decompress_stream) < 0 ||
	    zstd_find(zstd, "ZSTD_decompress", &zstd->decompress) < 0 ||
	    zstd_find(zstd, "ZSTD_isError", &zstd->is_error) < 0) {
		zstd_close(zstd);
		return -ELIBACC;
	}
	return 0;
}

void zstd_close(struct zstd *zstd)
{
	if (zstd->library)
		dlclose(zstd->library);
	*zstd = (struct zstd){.library = NULL};
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
