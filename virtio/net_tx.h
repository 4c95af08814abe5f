/*
 * The transmit side of a virtio network card: one transmitq that feeds one queue of a backend (virtio 1.2, 5.1.6.2).
 *
 * A packet goes from the guest's buffers to the backend at once, with the guest's own header, which the host's
 * kernel copies and checks. A packet that cannot be sent is dropped, as on any wire; but a backend that says beforehand
 * that it has no room is waited for, and the guest's queue fills meanwhile. So it does while a limit of the rate says to wait.
 *
 * Owner: struct virtio_net. The queue's loop thread only, but net_tx_init().
 */
#pragma once

#include <stdbool.h>
#include <sys/uio.h>

#include "virtio/net_backend.h"
#include "virtio/net_limit.h"
#include "virtio/virtio.h"

struct net_tx {
	/* immutable after init */
	struct virtio_device *dev;
	struct net_backend *backend;
	unsigned int queue; /* of the device */
	unsigned int pair;  /* queue of the backend */
	/* owned by the loop thread */
	struct evloop_fd watch; /* for backends that are not always ready */
	struct net_gate gate;
	struct iovec iov[VIRTQ_MAX_SIZE]; /* no state outlives a call */
};

/* Serves the device's queue 2 * pair + 1. */
void net_tx_init(struct net_tx *tx, struct virtio_device *dev, struct net_backend *backend,
		 unsigned int pair, struct net_limit *limit);

/* Sends what the driver has queued, a bounded number of packets; has itself called again for the rest. */
void net_tx_serve(struct net_tx *tx);

/* Waits for nothing any more. */
void net_tx_stop(struct net_tx *tx);
