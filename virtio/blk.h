/*
 * virtio-blk: a disk with one or more queues (virtio 1.2, 5.2).
 *
 * Each queue is served on its own event loop, which never waits for storage: requests go through a struct disk_queue. Few and
 * small ones that need not wait may be done by the vCPU that kicks. A
 * request is parsed (blk_request.h), started, and completed by one function; blk_queue.h has what happens in between.
 *
 * A disk caches writes until VIRTIO_BLK_T_FLUSH; for a driver that did not negotiate VIRTIO_BLK_F_FLUSH each
 * write is made stable before it completes (5.2.6.2). What the host cannot do (disk full, I/O error) becomes
 * VIRTIO_BLK_S_IOERR.
 *
 * Owner: the machine, which opened the disk and keeps it and the loops until after virtio_blk_fini(). Threads:
 * init and fini by the owner while the loops do not run or the device was never started; virtio_blk_resized() any; all else
 * on the loops' threads, through struct virtio_device.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_blk.h>

#include "virtio/blk_queue.h"
#include "virtio/disk.h"
#include "virtio/disk_limit.h"
#include "virtio/virtio.h"

/*
 * Indirect descriptors (2.7.5.3) are not offered: Linux uses them whenever it may, and allocates and frees a table for
 * each request, which is a sixth of what a cached read of 4 KiB costs in all. A long ring has room without them.
 */
#define VIRTIO_BLK_QUEUE_SIZE 1024
#define VIRTIO_BLK_MAX_QUEUES 32

struct virtio_blk_options {
	struct disk *disk;		   /* borrowed */
	struct evloop *loop;		   /* borrowed */
	const char *serial;		   /* at most VIRTIO_BLK_ID_BYTES long; NULL: none */
	unsigned int n_queues;		   /* 0: 1 */
	struct evloop *const *queue_loops; /* one for each queue, borrowed; NULL: loop serves all */
	uint16_t queue_size; /* a power of two up to VIRTQ_MAX_SIZE; 0: VIRTIO_BLK_QUEUE_SIZE */
	const struct disk_limit_config *limit; /* borrowed during init; NULL: none */
	/*
	 * A vCPU that kicks does the requests itself, where storage need not be waited for (disk_try()), unless more than this
	 * wait, or these bytes are exceeded: then the loop is better at it, beside the vCPU. 0: the loop does all. Disks with a
	 * limit or an engine of choice have no such thing.
	 */
	unsigned int inline_requests;
	uint64_t inline_bytes;
};

/* What a snapshot must save besides the queues and the disk. */
struct virtio_blk_state {
	uint64_t size;	   /* bytes the driver was told of */
	bool writethrough; /* each write is made stable at once */
};

struct virtio_blk {
	struct virtio_device dev;
	/* immutable after init */
	struct disk *disk;
	char serial[VIRTIO_BLK_ID_BYTES]; /* padded with NULs, not terminated */
	struct virtio_blk_queue *queues;  /* dev.n_queues of them */
	unsigned int inline_requests;	  /* see struct virtio_blk_options */
	uint64_t inline_bytes;
	/* size: any thread, by atomic accesses; the rest is immutable from start to stop */
	struct virtio_blk_state state;
	/* any thread */
	struct disk_limit limit;
};

/*
 * Returns 0 or negative errno; -EINVAL: the serial number is too long. On failure one line was reported and
 * there is nothing to finish.
 */
int virtio_blk_init(struct virtio_blk *blk, const struct virtio_blk_options *options);

/* Any thread but one at a time. Looks how large the image is now, and tells the driver. Returns 0, or negative errno after a message. */
int virtio_blk_resized(struct virtio_blk *blk);

/* The transport is detached and the loops stopped. */
void virtio_blk_fini(struct virtio_blk *blk);
