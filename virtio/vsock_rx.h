/*
 * The receive queue of a virtio socket device: buffers of the guest, each for one packet (virtio 1.2, 5.10.6.4).
 *
 * A stream is read before its length is known, into the payload parts of several buffers at once; those that stay empty go
 * back as if they had not been taken. Nothing is taken between two callbacks.
 *
 * Owner: struct virtio_vsock. Loop thread only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/virtio.h"
#include "virtio/vsock_packet.h"

#define VSOCK_RX_BUFFERS 16  /* at once: 64 KiB of what Linux provides */
#define VSOCK_RX_IOV	 256 /* the largest chain */

struct vsock_rx_buffer {
	uint16_t head;
	unsigned int first;
	unsigned int n_iov;
	size_t room; /* for payload */
};

struct vsock_rx {
	struct virtq *vq;
	uint64_t guest_cid;
	unsigned int n;
	struct vsock_rx_buffer buffer[VSOCK_RX_BUFFERS];
	struct iovec iov[VSOCK_RX_IOV];
	struct iovec payload[VSOCK_RX_IOV];
};

void vsock_rx_init(struct vsock_rx *rx, struct virtq *vq, uint64_t guest_cid);

/*
 * Takes up to max buffers. Returns how many, -EPROTO when the ring is malformed, or -EBADMSG for a buffer that the device
 * can read or that has no room for a header and a byte.
 */
int vsock_rx_take(struct vsock_rx *rx, unsigned int max);

/* The payload parts of all that were taken, up to *len bytes: *len becomes what they hold. Returns their number. */
unsigned int vsock_rx_payload(struct vsock_rx *rx, size_t *len);

/* Fills buffer i with a packet whose payload is in place, or has none. In order. */
void vsock_rx_push(struct vsock_rx *rx, unsigned int i, const struct vsock_packet *packet);

/* Gives all but the first used buffers back. */
void vsock_rx_release(struct vsock_rx *rx, unsigned int used);
