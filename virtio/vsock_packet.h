/*
 * The packets of a virtio socket device (virtio 1.2, 5.10.6): the header as the guest wrote it, checked, and the
 * header as the guest gets it.
 *
 * Pure functions. Ports and counters of a struct vsock_packet are what the header says; "host" and "guest" take the place of
 * source and destination, so that both directions read alike.
 */
#pragma once

#include <stdint.h>
#include <linux/virtio_vsock.h>

#include "vmm/core/iov.h"

struct vsock_packet {
	uint32_t host_port;
	uint32_t guest_port;
	uint16_t type;	/* VIRTIO_VSOCK_TYPE_* */
	uint16_t op;	/* VIRTIO_VSOCK_OP_* */
	uint32_t flags; /* VIRTIO_VSOCK_SHUTDOWN_* */
	uint32_t len;	/* bytes of payload behind the header */
	uint32_t buf_alloc;
	uint32_t fwd_cnt;
};

enum vsock_verdict {
	VSOCK_PACKET_GOOD,
	VSOCK_PACKET_RESET,	 /* to be answered with VIRTIO_VSOCK_OP_RST */
	VSOCK_PACKET_IGNORED,	 /* not for us, or a malformed RST, which nothing answers */
	VSOCK_PACKET_UNREADABLE, /* there is no whole header */
};

/*
 * Copies the header, moves the cursor to the payload and judges. But for VSOCK_PACKET_UNREADABLE the ports and the type are
 * valid; after VSOCK_PACKET_GOOD the op is a known one, the type a stream, and the cursor has len bytes at least.
 */
enum vsock_verdict vsock_packet_parse(struct vsock_packet *packet, struct iov_cursor *cur,
				      uint64_t guest_cid);

/* The header of a packet to the guest. */
void vsock_packet_header(const struct vsock_packet *packet, uint64_t guest_cid,
			 struct virtio_vsock_hdr *hdr);
