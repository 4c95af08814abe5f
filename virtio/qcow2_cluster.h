/*
 * Compressed clusters of a qcow2 image: reading, unpacking, and the last few of them kept.
 *
 * Owner: the image. Threads: any at once; the lock is not held while a cluster is read or unpacked.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "virtio/qcow2_header.h"
#include "vmm/core/zlib.h"
#include "vmm/core/zstd.h"

/* An unpacked cluster, which lives as long as somebody holds it. */
struct qcow2_block {
	atomic_uint holders;
	uint64_t offset;
	unsigned char data[];
};

/* Where the packed bytes of a cluster are. */
struct qcow2_packed {
	uint64_t offset;
	uint64_t len; /* at most: the end of the last sector */
};

struct qcow2_clusters {
	/* immutable after init */
	int fd;
	uint64_t file_size;
	unsigned int cluster_bits;
	enum qcow2_compression compression;
	unsigned int n_slots;
	struct zlib zlib; /* open, unless it is compressed otherwise */
#ifdef VMM_HAVE_ZSTD
	struct zstd zstd; /* open if it is compressed so */
#endif
	/* under lock */
	pthread_mutex_t lock;
	struct qcow2_block **slots;
};

/* Returns 0, -ENOMEM, or -ELIBACC when the library that unpacks them cannot be loaded. */
int qcow2_clusters_init(struct qcow2_clusters *clusters, int fd, uint64_t file_size,
			const struct qcow2_header *header);
/* On success *block is held, until qcow2_block_put(). -EIO: damaged. */
int qcow2_clusters_get(struct qcow2_clusters *clusters, const struct qcow2_packed *packed,
		       struct qcow2_block **block);
void qcow2_block_put(struct qcow2_block *block);
void qcow2_clusters_fini(struct qcow2_clusters *clusters);
