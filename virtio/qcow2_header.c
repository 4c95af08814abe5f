#include "virtio/qcow2_header.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Offsets of the header's fields; all numbers of the format are big-endian. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_BACKING_OFFSET = 8,
	AT_BACKING_SIZE = 16,
	AT_CLUSTER_BITS = 20,
	AT_SIZE = 24,
	AT_CRYPT = 32,
	AT_L1_SIZE = 36,
	AT_L1_OFFSET = 40,
	V2_LENGTH = 72,
	AT_INCOMPATIBLE = 72,
	AT_HEADER_LENGTH = 100,
	V3_LENGTH = 104,
	AT_COMPRESSION = 104,
};

#define QCOW2_MAGIC 0x514649fbu /* "QFI\xfb" */

/* Incompatible features, which a reader must know. */
#define QCOW2_DIRTY	    (1ull << 0)
#define QCOW2_CORRUPT	    (1ull << 1)
#define QCOW2_EXTERNAL_DATA (1ull << 2)
#define QCOW2_COMPRESSION   (1ull << 3)
#define QCOW2_EXTENDED_L2   (1ull << 4)
#define QCOW2_KNOWN                                                                                \
	(QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_EXTERNAL_DATA | QCOW2_COMPRESSION | QCOW2_EXTENDED_L2)

/* Header extensions that matter here. */
#define QCOW2_EXT_END		 0u
#define QCOW2_EXT_BACKING_FORMAT 0xe2792acau

/* A subcluster is a 32nd of a cluster and 512 bytes at least. */
#define QCOW2_MIN_EXTENDED_BITS 14u

struct qcow2_parser {
	struct qcow2_header *header;
	const unsigned char *bytes;
	size_t len; /* of bytes, within the first cluster once its size is known */
	uint64_t file_size;
	char *why;
	size_t why_len;
};

static int __attribute__((format(printf, 3, 4)))
qcow2_refuse(struct qcow2_parser *p, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p->why, p->why_len, fmt, ap);
	va_end(ap);
	return err;
}

static uint32_t qcow2_u32(const struct qcow2_parser *p, size_t at)
{
	uint32_t value;

	memcpy(&value, p->bytes + at, sizeof(value));
	return be32toh(value);
}

static uint64_t qcow2_u64(const struct qcow2_parser *p, size_t at)
{
	uint64_t value;

	memcpy(&value, p->bytes + at, sizeof(value));
	return be64toh(value);
}

static int qcow2_parse_features(struct qcow2_parser *p, uint64_t features, uint32_t compression)
{
	struct qcow2_header *h = p->header;

	if (features & QCOW2_CORRUPT)
		return qcow2_refuse(
			p, -EINVAL,
			"it is marked as corrupt; repair it with 'qemu-img check -r all'");
	if (features & QCOW2_EXTERNAL_DATA)
		return qcow2_refuse(p, -ENOTSUP,
				    "its data are in another file, which is not supported");
	if (features & ~QCOW2_KNOWN)
		return qcow2_refuse(p, -ENOTSUP,
				    "it uses qcow2 features that are not known (bits 0x%" PRIx64
				    " of the incompatible ones)",
				    (uint64_t)(features & ~QCOW2_KNOWN));
	h->dirty = features & QCOW2_DIRTY;
	h->extended_l2 = features & QCOW2_EXTENDED_L2;
	if (h->extended_l2 && h->cluster_bits < QCOW2_MIN_EXTENDED_BITS)
		return qcow2_refuse(p, -EINVAL,
				    "it is damaged: clusters too small for subclusters");
	if (!(features & QCOW2_COMPRESSION) != (compression == QCOW2_DEFLATE))
		return qcow2_refuse(p, -EINVAL,
				    "it is damaged: compression type and feature bit differ");
	if (compression > QCOW2_ZSTD)
		return qcow2_refuse(p, -ENOTSUP, "its compression (type %" PRIu32 ") is not known",
				    compression);
	h->compression = compression;
#ifndef VMM_HAVE_ZSTD
	if (h->compression == QCOW2_ZSTD)
		return qcow2_refuse(
			p, -ENOTSUP,
			"it is compressed with zstd, and this vmm was built without libzstd");
#endif
	return 0;
}

/* Each: type, length, data up to a multiple of 8. Of those that are not known nothing is needed for reading. */
static int qcow2_parse_extensions(struct qcow2_parser *p, size_t at, size_t end)
{
	while (end - at >= 8) {
		uint32_t type = qcow2_u32(p, at), len = qcow2_u32(p, at + 4);
		uint64_t padded = ((uint64_t)len + 7) / 8 * 8;

		at += 8;
		if (type == QCOW2_EXT_END)
			return 0;
		if (len > end - at)
			return qcow2_refuse(p, -EINVAL,
					    "it is damaged: a header extension is too long");
		if (type == QCOW2_EXT_BACKING_FORMAT)
			snprintf(p->header->backing_format, sizeof(p->header->backing_format),
				 "%.*s", (int)len, (const char *)p->bytes + at);
		at += padded < end - at ? (size_t)padded : end - at;
	}
	return 0;
}

/* Sets *end to where the extensions end at the latest. */
static int qcow2_parse_backing(struct qcow2_parser *p, size_t header_len, size_t *end)
{
	uint64_t offset = qcow2_u64(p, AT_BACKING_OFFSET);
	uint32_t len = qcow2_u32(p, AT_BACKING_SIZE);

	*end = p->len;
	if (offset == 0)
		return 0;
	if (len == 0 || len > QCOW2_MAX_NAME || offset < header_len || offset > p->len ||
	    len > p->len - offset)
		return qcow2_refuse(p, -EINVAL,
				    "it is damaged: the name of its backing file is out of bounds");
	memcpy(p->header->backing_name, p->bytes + offset, len);
	*end = (size_t)offset;
	return 0;
}

static int qcow2_parse_tables(struct qcow2_parser *p)
{
	struct qcow2_header *h = p->header;
	unsigned int entry_bits = h->extended_l2 ? 4 : 3;
	/* the log2 of what an entry of the first table covers */
	unsigned int l1_bits = 2 * h->cluster_bits - entry_bits;
	uint64_t needed = (h->size >> l1_bits) + ((h->size & ((1ull << l1_bits) - 1)) != 0);
	uint32_t l1_size = qcow2_u32(p, AT_L1_SIZE);
	uint64_t end;

	h->l1_offset = qcow2_u64(p, AT_L1_OFFSET);
	if (needed > QCOW2_MAX_L1_BYTES / 8)
		return qcow2_refuse(p, -ENOTSUP,
				    "a disk of %" PRIu64
				    " bytes is too large for its clusters of %u bytes",
				    h->size, 1u << h->cluster_bits);
	if (l1_size < needed)
		return qcow2_refuse(p, -EINVAL,
				    "it is damaged: its first table is too small for the disk");
	h->l1_entries = (uint32_t)needed;
	if (h->l1_offset == 0 || h->l1_offset % (1u << h->cluster_bits) != 0 ||
	    __builtin_add_overflow(h->l1_offset, needed * 8, &end) || end > p->file_size)
		return qcow2_refuse(
			p, -EINVAL,
			"it is damaged or cut short: its first table is not in the file");
	return 0;
}

static int qcow2_parse_geometry(struct qcow2_parser *p)
{
	struct qcow2_header *h = p->header;
	uint32_t bits = qcow2_u32(p, AT_CLUSTER_BITS), crypt = qcow2_u32(p, AT_CRYPT);

	if (bits < QCOW2_MIN_CLUSTER_BITS || bits > QCOW2_MAX_CLUSTER_BITS)
		return qcow2_refuse(p, -EINVAL, "it is damaged: clusters of 2^%" PRIu32 " bytes",
				    bits);
	h->cluster_bits = bits;
	if (p->len > 1u << bits)
		p->len = 1u << bits;
	h->size = qcow2_u64(p, AT_SIZE);
	if (h->size < 512)
		return qcow2_refuse(p, -EINVAL, "the disk in it is %s",
				    h->size ? "smaller than one sector (512 bytes)" : "empty");
	if (h->size > INT64_MAX)
		return qcow2_refuse(p, -EINVAL, "it is damaged: the size of the disk in it");
	if (crypt != 0)
		return qcow2_refuse(p, -ENOTSUP, "it is encrypted, which is not supported");
	return 0;
}

/* The length of the header with its optional fields, which follow it in version 3. */
static int qcow2_parse_length(struct qcow2_parser *p, size_t *length)
{
	uint32_t said;

	*length = V2_LENGTH;
	if (p->header->version == 2)
		return 0;
	if (p->len < V3_LENGTH)
		return qcow2_refuse(p, -EINVAL, "it is cut short");
	said = qcow2_u32(p, AT_HEADER_LENGTH);
	if (said < V3_LENGTH || said % 8 != 0 || said > p->len)
		return qcow2_refuse(p, -EINVAL, "it is damaged: a header of %" PRIu32 " bytes",
				    said);
	*length = said;
	return 0;
}

int qcow2_header_parse(struct qcow2_header *header, const unsigned char *bytes, size_t len,
		       uint64_t file_size, char *why, size_t why_len)
{
	struct qcow2_parser p = {header, bytes, len, file_size, why, why_len};
	size_t length, extensions_end;
	int ret;

	*header = (struct qcow2_header){0};
	if (len < V2_LENGTH || qcow2_u32(&p, AT_MAGIC) != QCOW2_MAGIC)
		return qcow2_refuse(&p, -EINVAL, "it is not a qcow2 image");
	header->version = qcow2_u32(&p, AT_VERSION);
	if (header->version != 2 && header->version != 3)
		return qcow2_refuse(&p, -ENOTSUP, "version %" PRIu32 " of qcow2 is not supported",
				    header->version);
	ret = qcow2_parse_geometry(&p);
	if (ret == 0)
		ret = qcow2_parse_length(&p, &length);
	if (ret == 0 && header->version == 3)
		ret = qcow2_parse_features(&p, qcow2_u64(&p, AT_INCOMPATIBLE),
					   length > AT_COMPRESSION ? bytes[AT_COMPRESSION] : 0);
	if (ret == 0)
		ret = qcow2_parse_backing(&p, length, &extensions_end);
	if (ret == 0)
		ret = qcow2_parse_extensions(&p, length, extensions_end);
	return ret < 0 ? ret : qcow2_parse_tables(&p);
}
