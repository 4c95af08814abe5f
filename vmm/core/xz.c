#include "vmm/core/xz.h"

#ifdef VMM_HAVE_LZMA
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#ifdef VMM_LATE_LZMA

/* Of the functions' ABI, which lzma.h describes. */
#define XZ_LIBRARY "liblzma.so.5"

static int xz_find(const struct xz *xz, const char *name, void *function)
{
	/* POSIX has dlsym() return functions as data; this is its way to write that. */
	*(void **)function = dlsym(xz->library, name);
	return *(void **)function ? 0 : -ELIBACC;
}

int xz_open(struct xz *xz)
{
	*xz = (struct xz){.library = dlopen(XZ_LIBRARY, RTLD_NOW | RTLD_LOCAL)};
	if (!xz->library)
		return -ELIBACC;
	if (xz_find(xz, "lzma_stream_decoder", &xz->stream_decoder) < 0 ||
	    xz_find(xz, "lzma_alone_decoder", &xz->alone_decoder) < 0 ||
	    xz_find(xz, "lzma_code", &xz->code) < 0 || xz_find(xz, "lzma_end", &xz->end) < 0) {
		xz_close(xz);
		return -ELIBACC;
	}
	return 0;
}

void xz_close(struct xz *xz)
{
	if (xz->library)
		dlclose(xz->library);
	*xz = (struct xz){.library = NULL};
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
