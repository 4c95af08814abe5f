/*
 * The transmit side of a virtio network card: one transmitq that feeds one TAP (virtio 1.2, 5.1.6.2).
 *
 * A packet goes from the guest's buffers to the TAP in one writev(), with the guest's own header, which the host's
 * kernel copies and checks. A packet that cannot be sent is dropped, as on any wire.
 *
 * Owner: struct virtio_net. Loop thread only, but net_tx_init().
 */
#pragma once

#include <sys/uio.h>

#include "virtio/tap.h"
#include "virtio/virtio.h"

struct net_tx {
	/* immutable after init */
	struct virtio_device *dev;
	struct tap *tap;
	unsigned int queue;
	/* owned by the loop thread; no state outlives a call */
	struct iovec iov[VIRTQ_MAX_SIZE];
};

void net_tx_init(struct net_tx *tx, struct virtio_device *dev, unsigned int queue, struct tap *tap);

/* Sends what the driver has queued, a bounded number of packets; has itself called again for the rest. */
void net_tx_serve(struct net_tx *tx);
