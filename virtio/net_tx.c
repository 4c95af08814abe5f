#include "virtio/net_tx.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>

/* Packets in one call, and after how many the driver gets its buffers back. */
#define NET_TX_BUDGET 256
#define NET_TX_BATCH  64

#define NET_TX_MIN (sizeof(struct virtio_net_hdr_v1) + ETH_HLEN)

static void net_tx_on_writable(void *arg, uint32_t events)
{
	(void)events;
	net_tx_serve(arg);
}

static void net_tx_on_gate(void *arg)
{
	net_tx_serve(arg);
}

void __attribute__((cold))
net_tx_init(struct net_tx *tx, struct virtio_device *dev, struct net_backend *backend,
	    unsigned int pair, struct net_limit *limit)
{
	tx->dev = dev;
	tx->backend = backend;
	tx->queue = 2 * pair + 1;
	tx->pair = pair;
	tx->watch = (struct evloop_fd){
		.fd = backend->write_fd[pair], .fn = net_tx_on_writable, .arg = tx};
	net_gate_init(&tx->gate, limit, net_tx_on_gate, tx);
}

/*
 * What the host refuses is dropped: EIO while the interface is down, EAGAIN and ENOBUFS when it is congested,
 * EINVAL for a header or frame that makes no sense.
 */
static void net_tx_send(struct net_tx *tx, const struct virtq_chain *chain)
{
	struct net_backend *be = tx->backend;

	if (chain->readable_bytes < NET_TX_MIN || chain->readable_bytes > NET_PACKET_MAX) {
		log_guest(&tx->dev->log, "%s: dropped a packet of %zu bytes, header included",
			  tx->dev->name, chain->readable_bytes);
		return;
	}
	if (be->ops->write(be, tx->pair, chain->readable, chain->n_readable,
			   chain->readable_bytes) == -EINVAL)
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
	/* Also for a packet that is dropped, so that a guest cannot keep us busy with such ones. */
	net_gate_pay(&tx->gate, chain.readable_bytes > sizeof(struct virtio_net_hdr_v1)
					? chain.readable_bytes - sizeof(struct virtio_net_hdr_v1)
					: 0);
	net_tx_send(tx, &chain);
	virtq_push(vq, chain.head, 0);
	return 1;
}

/* Whether to go on; else this is called again when the backend has room. */
static bool net_tx_ready(struct net_tx *tx)
{
	struct evloop *loop = tx->dev->queue_loop[tx->queue];

	if (!tx->backend->ops->ready || tx->backend->ops->ready(tx->backend, tx->pair)) {
		if (tx->watch.added)
			evloop_del(loop, &tx->watch);
		return true;
	}
	if (!tx->watch.added && evloop_add(loop, &tx->watch, EPOLLOUT) < 0)
		virtio_device_rekick(tx->dev, tx->queue); /* no better way to come back */
	return false;
}

void net_tx_serve(struct net_tx *tx)
{
	struct virtq *vq = &tx->dev->queue[tx->queue];
	bool ready = true;
	int r = 1;

	if (atomic_load_explicit(&tx->dev->broken, memory_order_relaxed)) {
		net_tx_stop(tx);
		return;
	}
	virtq_disable_kick(vq);
	for (unsigned int i = 1; i <= NET_TX_BUDGET && r > 0; i++) {
		ready = net_tx_ready(tx) &&
			net_gate_open(&tx->gate, tx->dev->queue_loop[tx->queue]);
		if (!ready)
			break;
		r = net_tx_step(tx);
		if (r <= 0 || i % NET_TX_BATCH == 0)
			virtio_device_publish(tx->dev, tx->queue);
		if (r == 0 && virtq_enable_kick(vq)) {
			virtq_disable_kick(vq);
			r = 1;
		}
	}
	if (!ready)
		virtio_device_publish(tx->dev, tx->queue);
	else if (r > 0)
		virtio_device_rekick(tx->dev, tx->queue);
	else if (r < 0)
		virtio_device_broken(tx->dev, r == -EBADMSG ? "a transmit buffer is writable"
							    : "the transmit ring is malformed");
}

void __attribute__((cold)) net_tx_stop(struct net_tx *tx)
{
	struct evloop *loop = tx->dev->queue_loop[tx->queue];

	evloop_del(loop, &tx->watch);
	net_gate_stop(&tx->gate, loop);
}
