#include "boot/codec.h"

#include <errno.h>
#include <string.h>

#include "boot/image.h"
#include "boot/scratch.h"
#include "vmm/core/lz4.h"
#include "vmm/core/xz.h"
#include "vmm/core/zlib.h"
#include "vmm/core/zstd.h"

#define SIZE_BYTES 4 /* the unpacked size, at the end of the payload */

#define READ_CHUNK  (256u * 1024)
/* What is unpacked between two looks at stop. */
#define WRITE_CHUNK (UINT64_C(1) << 20)

struct codec_output {
	uint8_t *dst;
	size_t size;
	const atomic_bool *stop;
	size_t *len; /* how much was written; NULL: it has to be size */
};

typedef int codec_fn(struct codec_input *in, const struct codec_output *out);

static bool codec_stopped(const struct codec_output *out)
{
	return atomic_load_explicit(out->stop, memory_order_relaxed);
}

/* All input was unpacked. Returns 0 or -EBADMSG. */
static int codec_end(const struct codec_output *out, size_t done)
{
	if (out->len)
		*out->len = done;
	return out->len || done == out->size ? 0 : -EBADMSG;
}

/* Reads exactly len bytes; a payload that ends before is damaged. */
static int codec_read(struct codec_input *in, void *buf, size_t len)
{
	int err;

	if (len > in->left)
		return -EBADMSG;
	err = image_read(in->fd, in->offset, buf, len);
	in->offset += len;
	in->left -= len;
	return err == -ENODATA ? -EBADMSG : err;
}

/* Reads what is left, but no more than READ_CHUNK bytes. Returns 0 with *len set. */
static int codec_read_chunk(struct codec_input *in, void *buf, size_t *len)
{
	*len = in->left < READ_CHUNK ? (size_t)in->left : READ_CHUNK;
	return codec_read(in, buf, *len);
}

/* ---- gzip ---- */

static int codec_inflate(const struct zlib *zlib, z_stream *z, struct codec_input *in,
			 const struct codec_output *out, uint8_t *chunk)
{
	size_t done = 0, len;
	int ret = Z_OK, err;

	while (ret == Z_OK) {
		size_t room = out->size - done;

		if (codec_stopped(out))
			return -ECANCELED;
		if (z->avail_in == 0) {
			err = codec_read_chunk(in, chunk, &len);
			if (err < 0)
				return err;
			z->next_in = chunk;
			z->avail_in = (uInt)len;
		}
		z->next_out = out->dst + done;
		z->avail_out = (uInt)(room < WRITE_CHUNK ? room : WRITE_CHUNK);
		len = z->avail_out;
		/* neither input nor room left is Z_BUF_ERROR, which ends the loop */
		ret = zlib->inflate(z, Z_NO_FLUSH);
		done += len - z->avail_out;
	}
	if (ret == Z_STREAM_END)
		return codec_end(out, done);
	return ret == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
}

static int codec_gzip(struct codec_input *in, const struct codec_output *out)
{
	z_stream z = {.next_in = NULL};
	uint8_t *chunk;
	struct zlib zlib;
	int err = -ENOMEM;

	if (zlib_open(&zlib) < 0)
		return -ENOTSUP;
	chunk = scratch_get(READ_CHUNK);
	if (chunk && zlib_begin(&zlib, &z, 16 + MAX_WBITS) == Z_OK) {
		err = codec_inflate(&zlib, &z, in, out, chunk);
		zlib.inflate_end(&z);
	}
	scratch_free(chunk, READ_CHUNK);
	zlib_close(&zlib);
	return err;
}

/* ---- lz4: blocks of 8 MiB, each by itself, with their packed sizes before ---- */

#ifdef VMM_HAVE_LZ4
#define LZ4_MAGIC 0x184c2102u
#define LZ4_BLOCK (UINT64_C(8) << 20)

/* Returns how many bytes were written, or a negative errno. */
static int codec_lz4_block(const struct lz4 *lz4, struct codec_input *in, uint8_t *packed,
			   uint32_t len, uint8_t *dst, size_t room)
{
	int n = codec_read(in, packed, len);

	if (n < 0)
		return n;
	n = lz4->decompress_safe((const char *)packed, (char *)dst, (int)len,
				 (int)(room < LZ4_BLOCK ? room : LZ4_BLOCK));
	return n > 0 ? n : -EBADMSG;
}

static int codec_lz4_all(const struct lz4 *lz4, struct codec_input *in,
			 const struct codec_output *out, uint8_t *packed, uint32_t most)
{
	size_t done = 0;
	uint32_t len;
	int ret = 0;

	while (ret >= 0 && in->left > 0) {
		ret = codec_stopped(out) ? -ECANCELED : codec_read(in, &len, sizeof(len));
		/* the magic may stand between blocks too, where frames were put together */
		if (ret < 0 || len == LZ4_MAGIC)
			continue;
		if (len == 0 || len > most || done == out->size) {
			ret = -EBADMSG;
			continue;
		}
		ret = codec_lz4_block(lz4, in, packed, len, out->dst + done, out->size - done);
		if (ret > 0)
			done += (size_t)ret;
	}
	return ret < 0 ? ret : codec_end(out, done);
}

static int codec_lz4(struct codec_input *in, const struct codec_output *out)
{
	const uint32_t most = LZ4_COMPRESSBOUND(LZ4_BLOCK);
	uint8_t *packed;
	struct lz4 lz4;
	int ret;

	if (lz4_open(&lz4) < 0)
		return -ENOTSUP;
	packed = scratch_get(most);
	ret = packed ? codec_lz4_all(&lz4, in, out, packed, most) : -ENOMEM;
	scratch_free(packed, most);
	lz4_close(&lz4);
	return ret;
}
#endif

/* ---- zstd ---- */

#ifdef VMM_HAVE_ZSTD
/* In one piece: by pieces it keeps a window of its own, of up to 128 MiB, and copies all bytes from there. */
static int codec_zstd_all(const struct zstd *zstd, struct codec_input *in,
			  const struct codec_output *out, uint8_t *packed)
{
	size_t len = (size_t)in->left, done = 0;
	int err = 0;

	while (in->left > 0 && err == 0) {
		size_t n;

		if (codec_stopped(out))
			return -ECANCELED;
		err = codec_read_chunk(in, packed + done, &n);
		done += n;
	}
	if (err < 0)
		return err;
	done = zstd->decompress(out->dst, out->size, packed, len);
	return zstd->is_error(done) ? -EBADMSG : codec_end(out, done);
}

static int codec_zstd(struct codec_input *in, const struct codec_output *out)
{
	size_t len = (size_t)in->left;
	uint8_t *packed;
	struct zstd zstd;
	int err;

	if (zstd_open(&zstd) < 0)
		return -ENOTSUP;
	packed = scratch_get(len);
	err = packed ? codec_zstd_all(&zstd, in, out, packed) : -ENOMEM;
	scratch_free(packed, len);
	zstd_close(&zstd);
	return err;
}
#endif

/* ---- xz, and lzma, which came before it ---- */

#ifdef VMM_HAVE_LZMA
/* Kernels use dictionaries of 32 and 128 MiB. */
#define LZMA_MEMORY (UINT64_C(192) << 20)

static int codec_lzma_run(const struct xz *xz, lzma_stream *s, struct codec_input *in,
			  const struct codec_output *out, uint8_t *chunk)
{
	lzma_ret ret = LZMA_OK;
	size_t done = 0, len;
	int err;

	while (ret == LZMA_OK) {
		size_t room = out->size - done;

		if (codec_stopped(out))
			return -ECANCELED;
		if (s->avail_in == 0) {
			err = codec_read_chunk(in, chunk, &len);
			if (err < 0)
				return err;
			s->next_in = chunk;
			s->avail_in = len;
		}
		s->next_out = out->dst + done;
		s->avail_out = room < WRITE_CHUNK ? room : WRITE_CHUNK;
		len = s->avail_out;
		/* twice in vain is LZMA_BUF_ERROR, which ends the loop */
		ret = xz->code(s, LZMA_RUN);
		done += len - s->avail_out;
	}
	if (ret == LZMA_MEM_ERROR || ret == LZMA_MEMLIMIT_ERROR)
		return -ENOMEM;
	return ret == LZMA_STREAM_END ? codec_end(out, done) : -EBADMSG;
}

static int codec_lzma_stream(struct codec_input *in, const struct codec_output *out, bool alone)
{
	lzma_stream s = LZMA_STREAM_INIT;
	int err = -ENOMEM;
	uint8_t *chunk;
	struct xz xz;

	if (xz_open(&xz) < 0)
		return -ENOTSUP;
	chunk = scratch_get(READ_CHUNK);
	if (chunk && (alone ? xz.alone_decoder(&s, LZMA_MEMORY)
			    : xz.stream_decoder(&s, LZMA_MEMORY, 0)) == LZMA_OK)
		err = codec_lzma_run(&xz, &s, in, out, chunk);
	xz.end(&s);
	xz_close(&xz);
	scratch_free(chunk, READ_CHUNK);
	return err;
}

static int codec_xz(struct codec_input *in, const struct codec_output *out)
{
	return codec_lzma_stream(in, out, false);
}

static int codec_lzma(struct codec_input *in, const struct codec_output *out)
{
	return codec_lzma_stream(in, out, true);
}
#endif

/* ---- which it is ---- */

#define MAGIC_MAX 6

static const struct codec {
	const char *magic;
	size_t len;
	codec_fn *unpack;
} codecs[] = {
	{"\x1f\x8b", 2, codec_gzip},
#ifdef VMM_HAVE_LZ4
	{"\x02\x21\x4c\x18", 4, codec_lz4},
#endif
#ifdef VMM_HAVE_ZSTD
	{"\x28\xb5\x2f\xfd", 4, codec_zstd},
#endif
#ifdef VMM_HAVE_LZMA
	{"\3757zXZ\0", 6, codec_xz},	     {"\x5d\x00\x00", 3, codec_lzma},
#endif
};

int codec_size(const struct codec_input *payload, uint32_t *size)
{
	struct codec_input end = *payload;

	if (payload->left < MAGIC_MAX + SIZE_BYTES)
		return -EBADMSG;
	end.offset += end.left - SIZE_BYTES;
	end.left = SIZE_BYTES;
	return codec_read(&end, size, SIZE_BYTES);
}

/* The last size_bytes of the input are the size, for codecs that have none of their own. */
static int codec_run(const struct codec_input *packed, size_t size_bytes,
		     const struct codec_output *out)
{
	struct codec_input in = *packed;
	char magic[MAGIC_MAX];
	int err;

	if (in.left < MAGIC_MAX + size_bytes)
		return -EBADMSG;
	err = codec_read(&in, magic, sizeof(magic));
	if (err < 0)
		return err;
	in = *packed;
	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++) {
		if (memcmp(magic, codecs[i].magic, codecs[i].len) != 0)
			continue;
		if (codecs[i].unpack != codec_gzip)
			in.left -= size_bytes;
		return codecs[i].unpack(&in, out);
	}
	return -ENOTSUP;
}

int codec_unpack(const struct codec_input *payload, uint8_t *dst, size_t size,
		 const atomic_bool *stop)
{
	struct codec_output out = {.dst = dst, .size = size, .stop = stop};

	return codec_run(payload, SIZE_BYTES, &out);
}

int codec_unpack_file(int fd, uint64_t file_size, uint8_t *dst, size_t room, size_t *len)
{
	const struct codec_input file = {.fd = fd, .left = file_size};
	const atomic_bool stop = false;
	struct codec_output out = {.dst = dst, .size = room, .stop = &stop, .len = len};

	return codec_run(&file, 0, &out);
}
