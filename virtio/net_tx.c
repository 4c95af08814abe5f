#include "virtio/net_tx.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>

/* Packets in one call, and after how many the driver gets its buffers back. */
#define NET_TX_BUDGET 256
#define NET_TX_BATCH  64

#define NET_TX_MIN (sizeof(struct virtio_net_hdr_v1) + ETH_HLEN)

void net_tx_init(struct net_tx *tx, struct virtio_device *dev, unsigned int queue, struct tap *tap)
{
	tx->dev = dev;
	tx->tap = tap;
	tx->queue = queue;
}

/*
 * What the host refuses is dropped: EIO while the interface is down, EAGAIN and ENOBUFS when it is congested,
 * EINVAL for a header or frame that makes no sense.
 */
static void net_tx_send(struct net_tx *tx, const struct virtq_chain *chain)
{
	if (chain->readable_bytes < NET_TX_MIN || chain->readable_bytes > TAP_PACKET_MAX) {
		log_guest(&tx->dev->log, "%s: dropped a packet of %zu bytes, header included",
			  tx->dev->name, chain->readable_bytes);
		return;
	}
	if (writev(tx->tap->fd, chain->readable, (int)chain->n_readable) < 0 && errno == EINVAL)
		log_guest(&tx->dev->log, "%s: dropped a packet of %zu bytes with an invalid header",
			  tx->dev->name, chain->readable_bytes);
}

/* One packet. Returns 1, 0 when none waits, or a negative errno when the ring or the chain is malformed. */
static int net_tx_step(struct net_tx *tx)
{
	struct virtq *vq = &tx->dev->queue[tx->queue];
	struct virtq_chain chain;
	int r = virtq_pop(vq, &chain, tx->iov, VIRTQ_MAX_SIZE);

	if (r <= 0)
		return r;
	if (chain.n_writable > 0)
		return -EBADMSG;
	net_tx_send(tx, &chain);
	virtq_push(vq, chain.head, 0);
	return 1;
}

void net_tx_serve(struct net_tx *tx)
{
	struct virtq *vq = &tx->dev->queue[tx->queue];
	int r = 1;

	virtq_disable_kick(vq);
	for (unsigned int i = 1; i <= NET_TX_BUDGET && r > 0; i++) {
		r = net_tx_step(tx);
		if (r <= 0 || i % NET_TX_BATCH == 0)
			virtio_device_publish(tx->dev, tx->queue);
		if (r == 0 && virtq_enable_kick(vq)) {
			virtq_disable_kick(vq);
			r = 1;
		}
	}
	if (r > 0)
		virtio_device_rekick(tx->dev, tx->queue);
	else if (r < 0)
		virtio_device_broken(tx->dev, r == -EBADMSG ? "a transmit buffer is writable"
							    : "the transmit ring is malformed");
}
