#include "vmm/core/zlib.h"

#include <stddef.h>

#ifdef VMM_LATE_ZLIB
#include "vmm/core/late_library.h"

int zlib_open(struct zlib *zlib)
{
	/* Of the functions' ABI, which zlib.h describes. */
	return late_library_open(zlib, "libz.so.1", "inflateInit2_\0inflate\0inflateEnd\0");
}

void zlib_close(struct zlib *zlib)
{
	late_library_close(zlib);
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
