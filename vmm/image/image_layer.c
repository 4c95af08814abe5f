#include "vmm/image/image_layer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int image_layer_fail(struct image_layer_reader *r, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int image_layer_fail(struct image_layer_reader *r, int err, const char *fmt, ...)
{
	char text[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	r->err = err;
	return image_fail(r->why, err, "'%s', %s: %s", r->source->ref->path, r->of, text);
}

/* What went wrong: a callback knows, or the library. */
static int image_layer_failed(struct image_layer_reader *r, struct archive *a, const char *what)
{
	const char *text = r->libs->archive_error_string(a);

	if (r->err < 0)
		return r->err;
	return image_layer_fail(r, -EINVAL, "%s: %s", what, text ? text : "it is damaged");
}

/* ---- from the blob to what is unpacked ---- */

static la_ssize_t image_layer_read_packed(struct archive *a, void *arg, const void **bytes)
{
	struct image_layer_reader *r = arg;
	uint64_t left = r->blob.size - r->at;
	size_t want = left < sizeof(r->bytes) ? (size_t)left : sizeof(r->bytes);
	ssize_t n = want == 0 ? 0
			      : pread(r->blob.fd, r->bytes, want, (off_t)(r->blob.offset + r->at));

	if (n < 0 || (n == 0 && want > 0)) {
		image_layer_fail(r, n < 0 ? -errno : -EIO, "cannot read it: %s",
				 n < 0 ? strerror(errno) : "it has become shorter");
		r->libs->archive_set_error(a, EIO, "%s", "");
		return -1;
	}
	r->at += (uint64_t)n;
	if (r->layer->digest[0])
		r->libs->nettle_sha256_update(&r->sha, (size_t)n, r->bytes);
	*bytes = r->bytes;
	return n;
}

/* ---- from there to the entries ---- */

static la_ssize_t image_layer_read_plain(struct archive *a, void *arg, const void **bytes)
{
	struct image_layer_reader *r = arg;
	la_ssize_t n = r->empty ? 0
				: r->libs->archive_read_data(r->packed, r->plain, sizeof(r->plain));

	/* What is left out is unpacked too, and may be large. */
	if (r->stops && r->stops(r->stops_arg))
		r->err = image_layer_fail(r, -EINTR, "interrupted");
	if (n < 0 || r->err == -EINTR) {
		image_layer_failed(r, r->packed, "cannot unpack it");
		r->libs->archive_set_error(a, EIO, "%s", "");
		return -1;
	}
	*r->unpacked += (uint64_t)n;
	if (*r->unpacked > IMAGE_MAX_BYTES) {
		image_layer_fail(r, -EFBIG, "the image unpacks to more than %llu GiB",
				 (unsigned long long)(IMAGE_MAX_BYTES >> 30));
		r->libs->archive_set_error(a, EFBIG, "%s", "");
		return -1;
	}
	r->libs->nettle_sha256_update(&r->plain_sha, (size_t)n, r->plain);
	*bytes = r->plain;
	return n;
}

static int image_layer_open_packed(struct image_layer_reader *r)
{
	const struct image_libs *libs = r->libs;
	struct archive_entry *entry;
	int result;

	libs->archive_read_support_filter_gzip(r->packed);
	/* A library without it would start a program. */
	if (libs->archive_read_support_filter_zstd(r->packed) != ARCHIVE_OK)
		return image_layer_fail(r, -ENOTSUP, "this libarchive cannot unpack zstd");
	libs->archive_read_support_format_raw(r->packed);
	libs->archive_read_support_format_empty(r->packed);
	libs->archive_read_set_callback_data(r->packed, r);
	libs->archive_read_set_read_callback(r->packed, image_layer_read_packed);
	result = libs->archive_read_open1(r->packed);
	if (result >= ARCHIVE_WARN)
		result = libs->archive_read_next_header(r->packed, &entry);
	r->empty = result == ARCHIVE_EOF;
	return result >= ARCHIVE_WARN || r->empty
		       ? 0
		       : image_layer_failed(r, r->packed, "cannot unpack it");
}

static int image_layer_open_tar(struct image_layer_reader *r)
{
	const struct image_libs *libs = r->libs;

	libs->archive_read_support_format_tar(r->tar);
	libs->archive_read_support_format_empty(r->tar);
	libs->archive_read_set_callback_data(r->tar, r);
	libs->archive_read_set_read_callback(r->tar, image_layer_read_plain);
	return libs->archive_read_open1(r->tar) >= ARCHIVE_WARN
		       ? 0
		       : image_layer_failed(r, r->tar, "it is no tar archive");
}

int image_layer_open(struct image_layer_reader *r, const struct image_source *source,
		     const struct image_layer *layer, const char *of, uint64_t *unpacked,
		     struct image_why *why)
{
	const struct image_libs *libs = source->libs;
	int err;

	r->source = source;
	r->libs = libs;
	r->layer = layer;
	r->of = of;
	r->unpacked = unpacked;
	r->why = why;
	r->at = 0;
	r->err = 0;
	r->empty = false;
	r->packed = r->tar = NULL;
	err = layer->name ? image_source_find(source, layer->name, &r->blob, why)
			  : image_source_find_digest(source, layer->digest, &r->blob, why);
	if (err < 0)
		return err;
	libs->nettle_sha256_init(&r->sha);
	libs->nettle_sha256_init(&r->plain_sha);
	r->packed = libs->archive_read_new();
	r->tar = libs->archive_read_new();
	if (!r->packed || !r->tar)
		return image_layer_fail(r, -ENOMEM, "out of memory");
	err = image_layer_open_packed(r);
	return err == 0 ? image_layer_open_tar(r) : err;
}

int image_layer_next(struct image_layer_reader *r, struct archive_entry **entry)
{
	int result = r->libs->archive_read_next_header(r->tar, entry);

	if (result == ARCHIVE_EOF)
		return 0;
	return result >= ARCHIVE_WARN ? 1 : image_layer_failed(r, r->tar, "it is no tar archive");
}

long image_layer_read(struct image_layer_reader *r, void *to, size_t size)
{
	la_ssize_t n = r->libs->archive_read_data(r->tar, to, size);

	return n >= 0 ? (long)n : image_layer_failed(r, r->tar, "a file is damaged");
}

/* ---- the end ---- */

static int image_layer_compare(struct image_layer_reader *r, struct sha256_ctx *sha,
			       const char *wanted, const char *what)
{
	char is[72];

	image_digest_of(r->libs, sha, is);
	if (strcmp(is, wanted) == 0)
		return 0;
	return image_layer_fail(r, -EBADMSG, "it is damaged: %s is %s, not %s", what, is, wanted);
}

/* Tar's end is not the file's, of which all counts. */
int image_layer_verify(struct image_layer_reader *r)
{
	const void *bytes;
	la_ssize_t n;
	int err = 0;

	do
		n = image_layer_read_plain(r->tar, r, &bytes);
	while (n > 0);
	while (n == 0 && r->at < r->blob.size)
		n = image_layer_read_packed(r->packed, r, &bytes) < 0 ? -1 : 0;
	if (n < 0)
		return r->err;
	if (r->layer->digest[0])
		err = image_layer_compare(r, &r->sha, r->layer->digest, "its digest");
	if (err == 0)
		err = image_layer_compare(r, &r->plain_sha, r->layer->diff_id,
					  "the digest of what is in it");
	return err;
}

void image_layer_close(struct image_layer_reader *r)
{
	if (r->tar)
		r->libs->archive_read_free(r->tar);
	if (r->packed)
		r->libs->archive_read_free(r->packed);
	r->tar = r->packed = NULL;
	image_source_release(r->source, &r->blob);
}
