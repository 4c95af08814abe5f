#include "virtio/qcow2_cluster.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/image_io.h"

#define QCOW2_BLOCK_MEMORY     (1u << 20)
#define QCOW2_MAX_SLOTS	       64u
/* A frame may ask for a window of 128 MiB; none that packs a cluster needs more than this. */
#define QCOW2_ZSTD_WINDOW_BITS 23

static void qcow2_clusters_close_library(struct qcow2_clusters *clusters)
{
#ifdef VMM_HAVE_ZSTD
	zstd_close(&clusters->zstd);
#endif
	zlib_close(&clusters->zlib);
}

static int qcow2_clusters_open_library(struct qcow2_clusters *clusters)
{
#ifdef VMM_HAVE_ZSTD
	if (clusters->compression == QCOW2_ZSTD)
		return zstd_open(&clusters->zstd);
#endif
	return zlib_open(&clusters->zlib);
}

int qcow2_clusters_init(struct qcow2_clusters *clusters, int fd, uint64_t file_size,
			const struct qcow2_header *header)
{
	unsigned int n = QCOW2_BLOCK_MEMORY >> header->cluster_bits;
	int err;

	*clusters = (struct qcow2_clusters){
		.fd = fd,
		.file_size = file_size,
		.cluster_bits = header->cluster_bits,
		.compression = header->compression,
		.n_slots = n < 2		 ? 2
			   : n > QCOW2_MAX_SLOTS ? QCOW2_MAX_SLOTS
						 : n,
	};
	err = qcow2_clusters_open_library(clusters);
	if (err < 0)
		return err;
	clusters->slots = calloc(clusters->n_slots, sizeof(struct qcow2_block *));
	if (!clusters->slots) {
		qcow2_clusters_close_library(clusters);
		return -ENOMEM;
	}
	pthread_mutex_init(&clusters->lock, NULL);
	return 0;
}

/* Packed clusters lie anywhere; a multiplication spreads their offsets. */
static struct qcow2_block **qcow2_slot(struct qcow2_clusters *clusters, uint64_t offset)
{
	return &clusters->slots[(offset * 0x9e3779b97f4a7c15ull >> 32) % clusters->n_slots];
}

/* The stream may go on behind the cluster: its length is known in sectors alone. */
static int qcow2_inflate(const struct zlib *zlib, unsigned char *out, size_t out_len,
			 unsigned char *in, size_t in_len)
{
	z_stream z = {
		.next_in = in,
		.avail_in = (uInt)in_len,
		.next_out = out,
		.avail_out = (uInt)out_len,
	};
	int ret;

	if (zlib_begin(zlib, &z, -MAX_WBITS) != Z_OK)
		return -ENOMEM;
	ret = zlib->inflate(&z, Z_FINISH);
	zlib->inflate_end(&z);
	if (ret == Z_MEM_ERROR)
		return -ENOMEM;
	return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && z.avail_out == 0 ? 0 : -EIO;
}

#ifdef VMM_HAVE_ZSTD
static int qcow2_unzstd(const struct zstd *zstd, unsigned char *out, size_t out_len,
			unsigned char *in, size_t in_len)
{
	ZSTD_outBuffer to = {.dst = out, .size = out_len};
	ZSTD_inBuffer from = {.src = in, .size = in_len};
	ZSTD_DCtx *ctx = zstd->create_dctx();
	int ret = 0;

	if (!ctx)
		return -ENOMEM;
	zstd->set_parameter(ctx, ZSTD_d_windowLogMax, QCOW2_ZSTD_WINDOW_BITS);
	while (ret == 0 && to.pos < to.size) {
		size_t out_before = to.pos, in_before = from.pos;
		size_t more = zstd->decompress_stream(ctx, &to, &from);

		if (zstd->is_error(more) || (to.pos == out_before && from.pos == in_before))
			ret = -EIO;
	}
	zstd->free_dctx(ctx);
	return ret;
}
#endif

static int qcow2_unpack(struct qcow2_clusters *clusters, struct qcow2_block *block,
			unsigned char *in, size_t in_len)
{
	size_t out_len = (size_t)1 << clusters->cluster_bits;

	switch (clusters->compression) {
	case QCOW2_DEFLATE:
		return qcow2_inflate(&clusters->zlib, block->data, out_len, in, in_len);
	case QCOW2_ZSTD:
#ifdef VMM_HAVE_ZSTD
		return qcow2_unzstd(&clusters->zstd, block->data, out_len, in, in_len);
#else
		break; /* refused at open */
#endif
	}
	return -EIO;
}

static int qcow2_block_load(struct qcow2_clusters *clusters, const struct qcow2_packed *packed,
			    struct qcow2_block **block)
{
	struct qcow2_block *b;
	unsigned char *in;
	uint64_t len;
	int ret;

	if (packed->offset >= clusters->file_size)
		return -EIO;
	len = clusters->file_size - packed->offset;
	if (len > packed->len)
		len = packed->len;
	b = malloc(sizeof(*b) + ((size_t)1 << clusters->cluster_bits));
	in = malloc(len);
	ret = b && in ? image_file_pread(clusters->fd, in, len, packed->offset) : -ENOMEM;
	if (ret == 0)
		ret = qcow2_unpack(clusters, b, in, len);
	free(in);
	if (ret < 0) {
		free(b);
		return ret;
	}
	b->offset = packed->offset;
	atomic_init(&b->holders, 1);
	*block = b;
	return 0;
}

static struct qcow2_block *qcow2_block_find(struct qcow2_clusters *clusters, uint64_t offset)
{
	struct qcow2_block *found;

	pthread_mutex_lock(&clusters->lock);
	found = *qcow2_slot(clusters, offset);
	if (found && found->offset == offset)
		atomic_fetch_add_explicit(&found->holders, 1, memory_order_relaxed);
	else
		found = NULL;
	pthread_mutex_unlock(&clusters->lock);
	return found;
}

int qcow2_clusters_get(struct qcow2_clusters *clusters, const struct qcow2_packed *packed,
		       struct qcow2_block **block)
{
	struct qcow2_block **slot = qcow2_slot(clusters, packed->offset), *old;
	int ret;

	*block = qcow2_block_find(clusters, packed->offset);
	if (*block)
		return 0;
	ret = qcow2_block_load(clusters, packed, block);
	if (ret < 0)
		return ret;
	atomic_fetch_add_explicit(&(*block)->holders, 1, memory_order_relaxed); /* the slot's */
	pthread_mutex_lock(&clusters->lock);
	old = *slot;
	*slot = *block;
	pthread_mutex_unlock(&clusters->lock);
	if (old)
		qcow2_block_put(old);
	return 0;
}

void qcow2_block_put(struct qcow2_block *block)
{
	/* release and acquire pair with one another: all reading is over before the memory goes */
	if (atomic_fetch_sub_explicit(&block->holders, 1, memory_order_acq_rel) == 1)
		free(block);
}

void qcow2_clusters_fini(struct qcow2_clusters *clusters)
{
	if (!clusters->slots)
		return;
	for (unsigned int i = 0; i < clusters->n_slots; i++) {
		if (clusters->slots[i])
			qcow2_block_put(clusters->slots[i]);
	}
	free(clusters->slots);
	clusters->slots = NULL;
	qcow2_clusters_close_library(clusters);
	pthread_mutex_destroy(&clusters->lock);
}
