#include "virtio/vsock_rx.h"

#include <errno.h>

#include "vmm/core/assert.h"
#include "vmm/core/iov.h"

#define VSOCK_RX_HEADER sizeof(struct virtio_vsock_hdr)

void vsock_rx_init(struct vsock_rx *rx, struct virtq *vq, uint64_t guest_cid)
{
	rx->vq = vq;
	rx->guest_cid = guest_cid;
	rx->n = 0;
}

int vsock_rx_take(struct vsock_rx *rx, unsigned int max)
{
	unsigned int at = 0;

	assert(rx->n == 0 && max <= VSOCK_RX_BUFFERS);
	while (rx->n < max) {
		struct virtq_chain chain;
		int r = virtq_pop(rx->vq, &chain, &rx->iov[at], VSOCK_RX_IOV - at);

		if (r == 0 || (r == -ENOBUFS && rx->n > 0))
			break;
		if (r < 0)
			return r;
		if (chain.n_readable > 0 || chain.writable_bytes <= VSOCK_RX_HEADER)
			return -EBADMSG;
		rx->buffer[rx->n++] =
			(struct vsock_rx_buffer){.head = chain.head,
						 .first = at,
						 .n_iov = chain.n_writable,
						 .room = chain.writable_bytes - VSOCK_RX_HEADER};
		at += chain.n_writable;
	}
	return (int)rx->n;
}

unsigned int vsock_rx_payload(struct vsock_rx *rx, size_t *len)
{
	size_t left = *len;
	unsigned int n = 0;

	for (unsigned int i = 0; i < rx->n && left > 0; i++) {
		const struct vsock_rx_buffer *b = &rx->buffer[i];
		struct iov_cursor cur;
		size_t taken;

		iov_cursor_init(&cur, &rx->iov[b->first], b->n_iov);
		iov_cursor_skip(&cur, VSOCK_RX_HEADER);
		n += iov_cursor_take(&cur, &rx->payload[n], VSOCK_RX_IOV - n, left, &taken);
		left -= taken;
	}
	*len -= left;
	return n;
}

void vsock_rx_push(struct vsock_rx *rx, unsigned int i, const struct vsock_packet *packet)
{
	const struct vsock_rx_buffer *b = &rx->buffer[i];
	struct virtio_vsock_hdr hdr;
	struct iov_cursor cur;

	assert(i < rx->n && packet->len <= b->room);
	vsock_packet_header(packet, rx->guest_cid, &hdr);
	iov_cursor_init(&cur, &rx->iov[b->first], b->n_iov);
	iov_cursor_write(&cur, &hdr, sizeof(hdr));
	virtq_push(rx->vq, b->head, (uint32_t)(sizeof(hdr) + packet->len));
}

void vsock_rx_release(struct vsock_rx *rx, unsigned int used)
{
	assert(used <= rx->n);
	virtq_unpop(rx->vq, rx->n - used);
	rx->n = 0;
}
