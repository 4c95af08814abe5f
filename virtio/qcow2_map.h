/*
 * Where a qcow2 image keeps a piece of its disk: the two levels of tables.
 *
 * The first table is in memory. The second ones are read in slices of 4 KiB, of which the last used are kept.
 *
 * Owner: the image. Threads: any at once; the lock is not held during I/O.
 */
#pragma once

#include <pthread.h>
#include <stdint.h>

#include "virtio/qcow2_cluster.h"
#include "virtio/qcow2_header.h"

#define QCOW2_SLICE_BYTES 4096u
#define QCOW2_SLICES	  64u

enum qcow2_kind {
	QCOW2_ABSENT, /* not in this image: the backing file's, or zeros */
	QCOW2_ZERO,
	QCOW2_DATA,
	QCOW2_PACKED,
};

/* The first part of a range that is all of a kind. */
struct qcow2_piece {
	enum qcow2_kind kind;
	uint64_t len;
	uint64_t offset;	    /* QCOW2_DATA: in the file */
	struct qcow2_packed packed; /* QCOW2_PACKED: the cluster; len ends with it */
};

struct qcow2_slice {
	uint64_t offset; /* in the file; 0: empty */
	unsigned char bytes[QCOW2_SLICE_BYTES];
};

struct qcow2_map {
	/* immutable after init */
	int fd;
	uint64_t file_size;
	uint32_t version;
	unsigned int cluster_bits;
	unsigned int entry_bits; /* log2 of an entry of a second table: 3, or 4 when extended */
	uint64_t *l1;
	uint32_t l1_entries;
	/* under lock */
	pthread_mutex_t lock;
	struct qcow2_slice *slices;
};

/* Reads the first table. Returns 0 or negative errno. */
int qcow2_map_init(struct qcow2_map *map, int fd, uint64_t file_size,
		   const struct qcow2_header *header);
/* What [offset, offset + len) begins with; the range lies on the disk. Returns 0 or negative errno, -EIO: damaged. */
int qcow2_map_find(struct qcow2_map *map, uint64_t offset, uint64_t len, struct qcow2_piece *piece);
void qcow2_map_fini(struct qcow2_map *map);
