/*
 * virtio-blk: a disk with one queue (virtio 1.2, 5.2).
 *
 * Each disk is given an event loop whose thread may block, because requests are carried out on it one after
 * the other by plain reads and writes of the backend.
 *
 * A disk caches writes until VIRTIO_BLK_T_FLUSH; for a driver that did not negotiate VIRTIO_BLK_F_FLUSH each
 * write is made stable before it completes (5.2.6.2). What the host cannot do (disk full, I/O error) becomes
 * VIRTIO_BLK_S_IOERR.
 *
 * Owner: the machine, which opened the disk and keeps it and the loop until after virtio_blk_fini(). Threads:
 * init and fini by the owner while the loop does not run or the device was never started; all else on the
 * loop's thread, through struct virtio_device.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/virtio_blk.h>

#include "virtio/disk.h"
#include "virtio/virtio.h"

#define VIRTIO_BLK_QUEUE_SIZE 256

struct virtio_blk_options {
	struct disk *disk;   /* borrowed */
	struct evloop *loop; /* borrowed */
	const char *serial;  /* at most VIRTIO_BLK_ID_BYTES long; NULL: none */
};

/* What a snapshot must save besides the queue and the disk. */
struct virtio_blk_state {
	uint64_t size;	   /* bytes the driver was told of */
	bool writethrough; /* each write is made stable at once */
};

struct virtio_blk {
	struct virtio_device dev;
	/* immutable after init */
	struct disk *disk;
	char serial[VIRTIO_BLK_ID_BYTES]; /* padded with NULs, not terminated */
	/* owned by the loop thread */
	struct virtio_blk_state state;
	unsigned int unpublished; /* requests completed, not yet shown to the driver */
	size_t unpublished_bytes;
	struct iovec iov[VIRTIO_BLK_QUEUE_SIZE]; /* of the request at hand */
};

/*
 * Returns 0 or negative errno; -EINVAL: the serial number is too long. On failure one line was reported and
 * there is nothing to finish.
 */
int virtio_blk_init(struct virtio_blk *blk, const struct virtio_blk_options *options);

/* The transport is detached and the loop stopped. */
void virtio_blk_fini(struct virtio_blk *blk);
