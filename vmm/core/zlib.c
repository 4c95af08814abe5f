#include "vmm/core/zlib.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

#ifdef VMM_LATE_ZLIB

/* Of the functions' ABI, which zlib.h describes. */
#define ZLIB_LIBRARY "libz.so.1"

static int zlib_find(const struct zlib *zlib, const char *name, void *function)
{
	/* POSIX has dlsym() return functions as data; this is its way to write that. */
	*(void **)function = dlsym(zlib->library, name);
	return *(void **)function ? 0 : -ELIBACC;
}

int zlib_open(struct zlib *zlib)
{
	*zlib = (struct zlib){.library = dlopen(ZLIB_LIBRARY, RTLD_NOW | RTLD_LOCAL)};
	if (!zlib->library)
		return -ELIBACC;
	if (zlib_find(zlib, "inflateInit2_", &zlib->inflate_init) < 0 ||
	    zlib_find(zlib, "inflate", &zlib->inflate) < 0 ||
	    zlib_find(zlib, "inflateEnd", &zlib->inflate_end) < 0) {
		zlib_close(zlib);
		return -ELIBACC;
	}
	return 0;
}

void zlib_close(struct zlib *zlib)
{
	if (zlib->library)
		dlclose(zlib->library);
	*zlib = (struct zlib){.library = NULL};
}

#else

int zlib_open(struct zlib *zlib)
{
	*zlib = (struct zlib){
		.inflate_init = inflateInit2_, .inflate = inflate, .inflate_end = inflateEnd};
	return 0;
}

void zlib_close(struct zlib *zlib)
{
	*zlib = (struct zlib){.library = NULL};
}
#endif

int zlib_begin(const struct zlib *zlib, z_stream *stream, int window_bits)
{
	return zlib->inflate_init(stream, window_bits, ZLIB_VERSION, (int)sizeof(*stream));
}
