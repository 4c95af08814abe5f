/*
 * One queue of a virtio-blk device: takes requests from the ring, has them done, and gives them back.
 *
 * Every request has a slot from the moment it is taken until it is completed, in any order. A reset drops what is held
 * back and cancels what is in flight; nothing touches the ring after that.
 *
 * Owner: the virtio_blk. Threads: init and fini by its owner, all else on the queue's loop; when vCPUs serve it too
 * (virtio_blk_options.inline_requests), whoever does holds the queue's lock (virtio_device_enter()).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/blk_request.h"
#include "virtio/disk_queue.h"
#include "vmm/core/evloop.h"

#define VIRTIO_BLK_SEG_MAX 254u
/* Of a slot: 128 KiB in pages, header and status. Longer chains are rare, and take memory for the time being; a place for
 * the longest in each slot would be a page of memory for every request that was ever in flight at once. */
#define VIRTIO_BLK_PIECES  (32 + 2)

struct virtio_blk;

struct virtio_blk_slot {
	struct disk_request io;
	struct blk_request request;
	uint16_t head;
	struct iovec *long_iov; /* for a chain of more than VIRTIO_BLK_PIECES; else NULL */
	struct virtio_blk_slot *next_free;
};

struct virtio_blk_queue {
	/* immutable after init */
	struct virtio_blk *blk;
	unsigned int index;
	struct virtio_blk_slot *slots; /* as many as the largest queue has descriptors */
	/* VIRTIO_BLK_PIECES for each slot; then the longest chain, for want of memory: touched as rarely */
	struct iovec *iov;
	/* owned by the loop thread, or under the queue's lock */
	struct virtio_blk_slot *free;
	unsigned int n_slots; /* the first ones, which were used at some time */
	struct virtio_blk_slot *
		held; /* taken, and waiting for the rate limit, or for the loop after a vCPU's try */
	unsigned int
		not_inline; /* so many kicks are left to the loop, because the last try failed */
	bool waited;	    /* for what the rate limit told it to: held passes now */
	bool starved;	    /* chains wait for a slot */
	bool quiescing;	    /* the driver has reset the device: completions are dropped */
	unsigned int unpublished; /* completed, not yet shown to the driver */
	size_t unpublished_bytes;
	struct disk_queue io;
	struct evloop_timer timer; /* the rate limit allows the next request */
};

/* Returns 0 or negative errno with nothing to finish. */
int virtio_blk_queue_init(struct virtio_blk_queue *queue, struct virtio_blk *blk,
			  unsigned int index);

/* Serves the ring, with a bound. */
void virtio_blk_queue_kick(struct virtio_blk_queue *queue);

/* On a vCPU: serves what does not wait for storage. Returns false when the loop has something to do. */
bool virtio_blk_queue_kick_inline(struct virtio_blk_queue *queue);

/* Ends in virtio_device_quiesced(). */
void virtio_blk_queue_quiesce(struct virtio_blk_queue *queue);

/* The loop was stopped. Waits for what is in flight. */
void virtio_blk_queue_fini(struct virtio_blk_queue *queue);
