#include "virtio/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/image_io.h"
#include "virtio/qcow2_cluster.h"
#include "virtio/qcow2_header.h"
#include "virtio/qcow2_map.h"
#include "vmm/core/log.h"

#define QCOW2_SECTOR 512u

struct qcow2 {
	struct image image;
	/* immutable after open */
	int fd;
	uint64_t file_size;
	struct image *backing; /* NULL: none */
	/* shared, with locks of their own */
	struct qcow2_map map;
	struct qcow2_clusters clusters;
};

static struct qcow2 *qcow2_of(struct image *image)
{
	return (struct qcow2 *)image;
}

/* Behind the end of the backing image there are zeros. */
static int qcow2_map_absent(struct qcow2 *q, uint64_t offset, uint64_t len,
			    struct image_extent *extent)
{
	if (!q->backing || offset >= q->backing->size) {
		*extent = (struct image_extent){.place = IMAGE_ZERO, .fd = -1, .len = len};
		return 0;
	}
	if (len > q->backing->size - offset)
		len = q->backing->size - offset;
	return q->backing->ops->map_read(q->backing, offset, len, extent);
}

static int qcow2_map_read(struct image *image, uint64_t offset, uint64_t len,
			  struct image_extent *extent)
{
	struct qcow2 *q = qcow2_of(image);
	struct qcow2_piece piece;
	int ret = qcow2_map_find(&q->map, offset, len, &piece);

	if (ret < 0)
		return ret;
	*extent = (struct image_extent){.fd = -1, .len = piece.len};
	switch (piece.kind) {
	case QCOW2_ABSENT:
		return qcow2_map_absent(q, offset, piece.len, extent);
	case QCOW2_ZERO:
		extent->place = IMAGE_ZERO;
		return 0;
	case QCOW2_DATA:
		extent->place = IMAGE_FILE;
		extent->fd = q->fd;
		extent->offset = piece.offset;
		return 0;
	case QCOW2_PACKED:
		break;
	}
	extent->place = IMAGE_SELF;
	return 0;
}

static int qcow2_read_packed(struct qcow2 *q, const struct qcow2_piece *piece, char *at,
			     uint64_t offset)
{
	uint64_t in_cluster = offset & ((1ull << q->map.cluster_bits) - 1);
	struct qcow2_block *block;
	int ret = qcow2_clusters_get(&q->clusters, &piece->packed, &block);

	if (ret < 0)
		return ret;
	memcpy(at, block->data + in_cluster, piece->len);
	qcow2_block_put(block);
	return 0;
}

static int qcow2_read_absent(struct qcow2 *q, const struct qcow2_piece *piece, char *at,
			     uint64_t offset)
{
	uint64_t there = 0;

	if (q->backing && offset < q->backing->size)
		there = q->backing->size - offset;
	if (there > piece->len)
		there = piece->len;
	memset(at + there, 0, piece->len - there);
	return there > 0 ? image_pread(q->backing, at, there, offset) : 0;
}

static int qcow2_read_piece(struct qcow2 *q, const struct qcow2_piece *piece, char *at,
			    uint64_t offset)
{
	switch (piece->kind) {
	case QCOW2_ABSENT:
		return qcow2_read_absent(q, piece, at, offset);
	case QCOW2_DATA:
		return image_file_pread(q->fd, at, piece->len, piece->offset);
	case QCOW2_PACKED:
		return qcow2_read_packed(q, piece, at, offset);
	case QCOW2_ZERO:
		break;
	}
	memset(at, 0, piece->len);
	return 0;
}

static int qcow2_read(struct image *image, const struct iovec *iov, unsigned int n, uint64_t offset)
{
	struct qcow2 *q = qcow2_of(image);

	for (unsigned int i = 0; i < n; i++) {
		char *at = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (left > 0) {
			struct qcow2_piece piece;
			int ret = qcow2_map_find(&q->map, offset, left, &piece);

			if (ret == 0)
				ret = qcow2_read_piece(q, &piece, at, offset);
			if (ret < 0)
				return ret;
			at += piece.len;
			left -= piece.len;
			offset += piece.len;
		}
	}
	return 0;
}

static void qcow2_close(struct image *image)
{
	struct qcow2 *q = qcow2_of(image);

	qcow2_clusters_fini(&q->clusters);
	qcow2_map_fini(&q->map);
	if (q->fd >= 0)
		image_file_close(q->fd);
	if (q->backing)
		q->backing->ops->close(q->backing);
	free(q);
}

static const struct image_ops qcow2_ops = {
	.map_read = qcow2_map_read,
	.read = qcow2_read,
	.close = qcow2_close,
};

/* why is NULL: what err says */
static int qcow2_refuse(const char *path, int err, const char *why)
{
	return image_file_refuse("disk", path, err, why);
}

static int qcow2_lock(struct qcow2 *q, const char *path)
{
	int err = image_file_lock(q->fd, F_RDLCK, "disk", path);

	return err < 0 ? qcow2_refuse(path, err, "another program is writing to it (locked)") : 0;
}

/* O_NONBLOCK: what is a pipe is refused and not waited for. */
static int qcow2_open_file(struct qcow2 *q, const char *path)
{
	struct stat st;
	off_t end;

	q->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (q->fd < 0 || fstat(q->fd, &st) < 0 || fcntl(q->fd, F_SETFL, 0) < 0)
		return qcow2_refuse(path, -errno, NULL);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return qcow2_refuse(path, -EINVAL, "it is neither a file nor a block device");
	end = lseek(q->fd, 0, SEEK_END);
	if (end < 0)
		return qcow2_refuse(path, -errno, NULL);
	q->file_size = (uint64_t)end;
	q->image.mode = st.st_mode & 0777;
	if (S_ISREG(st.st_mode))
		q->image.changed = st.st_mtim;
	return qcow2_lock(q, path);
}

static int qcow2_read_header(struct qcow2 *q, const char *path, struct qcow2_header *header)
{
	size_t len = q->file_size < QCOW2_HEADER_BYTES ? (size_t)q->file_size : QCOW2_HEADER_BYTES;
	unsigned char *bytes = malloc(len + 1);
	char why[200];
	int ret;

	if (!bytes)
		return qcow2_refuse(path, -ENOMEM, NULL);
	ret = image_file_pread(q->fd, bytes, len, 0);
	if (ret < 0) {
		qcow2_refuse(path, ret, NULL);
	} else {
		ret = qcow2_header_parse(header, bytes, len, q->file_size, why, sizeof(why));
		if (ret < 0)
			qcow2_refuse(path, ret, why);
	}
	free(bytes);
	return ret;
}

/*
 * The name is the image's word, and shown with what could change a terminal's state made visible. A qcow2 image read as a raw one would
 * show the guest its tables.
 */
static int qcow2_check_backing(struct qcow2 *q, const struct qcow2_config *config,
			       struct qcow2_header *header)
{
	bool qcow2 = strcmp(header->backing_format, "qcow2") == 0;
	const char *path = config->path;

	if (!header->backing_name[0])
		return q->backing ? qcow2_refuse(path, -EINVAL,
						 "it has no backing file; leave backing= out")
				  : 0;
	if (q->backing && (!qcow2 || q->backing->ops == &qcow2_ops))
		return 0;
	if (config->is_backing)
		return qcow2_refuse(path, -ENOTSUP,
				    "it has a backing file itself, which is not supported");
	for (char *c = header->backing_name; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	}
	log_error("cannot open disk '%s': it holds changes to another image, '%s'%s; add "
		  "',backing=FILE%s' with that one",
		  path, header->backing_name, qcow2 ? " (qcow2)" : "",
		  qcow2 ? ",backing-format=qcow2" : "");
	return -EINVAL;
}

static bool qcow2_newer(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static void qcow2_describe(struct qcow2 *q, const char *path, const struct qcow2_header *header)
{
	uint64_t rest = header->size % QCOW2_SECTOR;

	q->image.ops = &qcow2_ops;
	q->image.readonly = true;
	q->image.map_blocks = true;
	q->image.logical_block = QCOW2_SECTOR;
	q->image.physical_block = QCOW2_SECTOR;
	q->image.size = header->size - rest;
	if (q->backing)
		q->image.mode &= q->backing->mode;
	if (q->backing && qcow2_newer(&q->backing->changed, &q->image.changed))
		q->image.changed = q->backing->changed;
	if (rest > 0)
		log_warn("disk '%s': size is no multiple of 512; the guest does not see the last "
			 "%" PRIu64 " bytes",
			 path, rest);
	if (header->dirty)
		log_warn("disk '%s' was not closed by its writer, or is in use by one", path);
}

static int qcow2_setup(struct qcow2 *q, const struct qcow2_config *config)
{
	const char *path = config->path;
	struct qcow2_header header;
	int ret = qcow2_open_file(q, path);

	if (ret == 0)
		ret = qcow2_read_header(q, path, &header);
	if (ret == 0)
		ret = qcow2_check_backing(q, config, &header);
	if (ret < 0)
		return ret;
	ret = qcow2_map_init(&q->map, q->fd, q->file_size, &header);
	if (ret == 0)
		ret = qcow2_clusters_init(&q->clusters, q->fd, q->file_size, &header);
	if (ret < 0)
		return qcow2_refuse(
			path, ret,
			ret == -ELIBACC
				? header.compression == QCOW2_ZSTD
					  ? "it is compressed with zstd, and libzstd.so.1 cannot "
					    "be loaded"
					  : "it may be compressed, and libz.so.1 cannot be loaded"
				: strerror(-ret));
	qcow2_describe(q, path, &header);
	return 0;
}

int qcow2_open(struct image **image, const struct qcow2_config *config)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	int ret;

	*image = NULL;
	if (!q) {
		if (config->backing)
			config->backing->ops->close(config->backing);
		return qcow2_refuse(config->path, -ENOMEM, NULL);
	}
	q->fd = -1;
	q->backing = config->backing;
	ret = qcow2_setup(q, config);
	if (ret < 0) {
		qcow2_close(&q->image);
		return ret;
	}
	*image = &q->image;
	return 0;
}
