/*
 * An entropy source: random bytes of the host's kernel (virtio 1.2, 5.4).
 *
 * A guest may ask without end, on a loop that others use too: a kick serves VIRTIO_RNG_KICK_BYTES, and what is left
 * waits VIRTIO_RNG_PAUSE. A buffer larger than VIRTIO_RNG_REQUEST_BYTES is given back partly filled (5.4.6.2).
 *
 * When the host gives no bytes, the request waits in the ring, and is tried again each VIRTIO_RNG_RETRY.
 *
 * Owner: the machine. Threads: init and fini by the owner while the loop does not run or the device was never
 * started; all else on the loop's thread.
 *
 * Snapshot: nothing besides the queue; a buffer is either given back or still in the ring.
 */
#pragma once

#include "virtio/virtio.h"

#define VIRTIO_RNG_QUEUE_SIZE	 8 /* Linux has one buffer in it at a time */
#define VIRTIO_RNG_REQUEST_BYTES 4096
#define VIRTIO_RNG_KICK_BYTES	 16384
#define VIRTIO_RNG_PAUSE	 UINT64_C(1000000) /* ns: 16 MB/s at most, some percent of a CPU */
#define VIRTIO_RNG_RETRY	 UINT64_C(100000000)

struct virtio_rng {
	struct virtio_device dev;
	/* owned by the loop thread */
	struct evloop_timer timer; /* armed: kicks are left alone until then */
	struct iovec iov[VIRTIO_RNG_QUEUE_SIZE];
};

/* Returns 0 or negative errno, which was reported. loop is borrowed. */
int virtio_rng_init(struct virtio_rng *rng, struct evloop *loop);

/* The transport is detached and the loop stopped. */
void virtio_rng_fini(struct virtio_rng *rng);
