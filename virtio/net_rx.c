#include "virtio/net_rx.h"

#include <errno.h>
#include <stddef.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "vmm/core/iov.h"

/* Packets in one call, and after how many the driver learns of them. */
#define NET_RX_BUDGET 256
#define NET_RX_BATCH  64

static void net_rx_on_readable(void *arg, uint32_t events)
{
	(void)events; /* an error shows itself when reading */
	net_rx_serve(arg);
}

static void net_rx_on_gate(void *arg)
{
	net_rx_serve(arg);
}

void __attribute__((cold))
net_rx_init(struct net_rx *rx, struct virtio_device *dev, struct net_backend *backend,
	    unsigned int pair, struct net_limit *limit, void (*gone)(void *arg, int err), void *arg)
{
	rx->dev = dev;
	rx->backend = backend;
	rx->queue = 2 * pair;
	rx->pair = pair;
	rx->gone = gone;
	rx->gone_arg = arg;
	rx->watch =
		(struct evloop_fd){.fd = backend->fd[pair], .fn = net_rx_on_readable, .arg = rx};
	net_gate_init(&rx->gate, limit, net_rx_on_gate, rx);
	atomic_init(&rx->active, pair == 0);
	rx->dead = false;
	rx->unpublished = 0;
	rx->held = 0;
	net_window_reset(&rx->window, 1);
}

void __attribute__((cold)) net_rx_set_active(struct net_rx *rx, bool active)
{
	unsigned int old = atomic_load(&rx->active);

	if ((old & 1) == active)
		return;
	atomic_store(&rx->active, old + 1);
	if (active && rx->dev->enabled[rx->queue])
		virtio_device_rekick(rx->dev, rx->queue);
}

static bool net_rx_has(const struct net_rx *rx, unsigned int feature)
{
	return rx->dev->negotiated & UINT64_C(1) << feature;
}

void __attribute__((cold)) net_rx_start(struct net_rx *rx)
{
	bool merge = net_rx_has(rx, VIRTIO_NET_F_MRG_RXBUF);
	size_t mtu = rx->backend->mtu ? rx->backend->mtu : ETH_DATA_LEN;

	rx->clear_flags = !net_rx_has(rx, VIRTIO_NET_F_GUEST_CSUM);
	rx->packet_max = NET_PACKET_MAX;
	if (!(rx->backend->offloads_on & (TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4)))
		rx->packet_max -= NET_MTU_MAX - mtu;
	net_window_reset(&rx->window, merge ? NET_WINDOW_CHAINS : 1);
}

static struct virtq *net_rx_vq(struct net_rx *rx)
{
	return &rx->dev->queue[rx->queue];
}

static void net_rx_publish(struct net_rx *rx)
{
	if (rx->unpublished == 0)
		return;
	rx->unpublished = 0;
	virtio_device_publish(rx->dev, rx->queue);
}

static void __attribute__((cold)) net_rx_fail(struct net_rx *rx, int err)
{
	rx->dead = true;
	rx->gone(rx->gone_arg, err);
}

/* The first bytes of the window are a whole packet: completes its header and gives the buffers to the driver. */
static void net_rx_deliver(struct net_rx *rx, size_t len)
{
	uint16_t num_buffers = (uint16_t)net_window_span(&rx->window, len);
	struct iov_cursor cur;
	uint8_t flags = 0;

	/*
	 * 5.1.6.4.1: flags are zero without GUEST_CSUM, but the backend may set DATA_VALID; num_buffers is always
	 * set, and the backend does not know of it.
	 */
	iov_cursor_init(&cur, net_window_iov(&rx->window), net_window_n_first(&rx->window));
	if (rx->clear_flags)
		iov_cursor_write(&cur, &flags, sizeof(flags));
	else
		iov_cursor_skip(&cur, sizeof(flags));
	iov_cursor_skip(&cur, offsetof(struct virtio_net_hdr_v1, num_buffers) - sizeof(flags));
	iov_cursor_write(&cur, &num_buffers, sizeof(num_buffers));
	net_window_use(&rx->window, net_rx_vq(rx), len);
	if (++rx->unpublished == NET_RX_BATCH)
		net_rx_publish(rx);
}

/* Reads into the window and the spill. Returns the length, 0 when nothing waits, or why the backend is gone. */
static ssize_t net_rx_read(struct net_rx *rx)
{
	struct iovec *iov = net_window_iov(&rx->window);
	unsigned int active = atomic_load(&rx->active);
	ssize_t n;

	/* The driver has turned the queue off: what a backend says to a read then is not that it has gone. */
	if (!(active & 1))
		return 0;
	iov[rx->window.n_iov] = (struct iovec){.iov_base = rx->spill, .iov_len = sizeof(rx->spill)};
	n = rx->backend->ops->read(rx->backend, rx->pair, iov, rx->window.n_iov + 1);
	/* Nor if it does so meanwhile; when the queue is turned on again there is a kick. */
	return n < 0 && atomic_load(&rx->active) != active ? 0 : n;
}

/* The held packet, once there is room for it. Returns 1 when done with it, -ENOBUFS to wait on. */
static int net_rx_finish(struct net_rx *rx)
{
	struct iov_cursor cur;

	if (rx->window.bytes >= rx->held) {
		iov_cursor_init(&cur, net_window_iov(&rx->window), rx->window.n_iov);
		iov_cursor_skip(&cur, rx->held_inside);
		iov_cursor_write(&cur, rx->spill, rx->held - rx->held_inside);
		net_rx_deliver(rx, rx->held);
	} else if (rx->window.full) {
		log_guest(&rx->dev->log,
			  "%s: dropped a packet of %zu bytes, the guest's buffers hold %zu",
			  rx->dev->name, rx->held, rx->window.bytes);
	} else {
		return -ENOBUFS;
	}
	rx->held = 0;
	return 1;
}

/* One packet. Returns 1 for the next, 0 when none waits, -ENOBUFS to wait for buffers, other errors of others. */
static int net_rx_step(struct net_rx *rx)
{
	size_t want = rx->held > rx->packet_max ? rx->held : rx->packet_max;
	int err = net_window_fill(&rx->window, net_rx_vq(rx), want);
	ssize_t len;

	if (err < 0)
		return err;
	if (rx->held)
		return net_rx_finish(rx);
	if (rx->window.state.n_chains == 0)
		return -ENOBUFS;
	len = net_rx_read(rx);
	if (len < 0)
		net_rx_fail(rx, (int)len);
	if (len <= 0)
		return 0;
	/* Nothing that a backend gives; a header alone would be harmless, less would be no header. */
	if ((size_t)len < sizeof(struct virtio_net_hdr_v1))
		return 1;
	net_gate_pay(&rx->gate, (size_t)len - sizeof(struct virtio_net_hdr_v1));
	if ((size_t)len <= rx->window.bytes) {
		net_rx_deliver(rx, (size_t)len);
		return 1;
	}
	rx->held = (size_t)len;
	rx->held_inside = rx->window.bytes;
	return 1; /* the next step looks for more buffers */
}

static struct evloop *net_rx_loop(struct net_rx *rx)
{
	return rx->dev->queue_loop[rx->queue];
}

static void net_rx_watch(struct net_rx *rx, bool on)
{
	int err = evloop_mod(net_rx_loop(rx), &rx->watch, on ? EPOLLIN : 0);

	if (err < 0)
		net_rx_fail(rx, err);
}

/* Whether there is more to do than the backend's descriptor tells. */
static bool net_rx_must_return(struct net_rx *rx)
{
	const struct net_backend_ops *ops = rx->backend->ops;

	return rx->held || (ops->pending && ops->pending(rx->backend, rx->pair));
}

/* Nothing but a kick brings us back. */
static void net_rx_unwatch(struct net_rx *rx)
{
	evloop_del(net_rx_loop(rx), &rx->watch);
	net_gate_stop(&rx->gate, net_rx_loop(rx));
}

/* Whether the limit lets the next packet in; one that is held is in already. */
static bool net_rx_may_pass(struct net_rx *rx)
{
	return rx->held || net_gate_open(&rx->gate, net_rx_loop(rx));
}

/*
 * While the backend is watched we need no kicks: the window is filled before each packet. While it is not, for want
 * of buffers, a kick brings us back here; at the limit it is the gate.
 */
void net_rx_serve(struct net_rx *rx)
{
	struct virtq *vq = net_rx_vq(rx);
	bool pass = true;
	int r = 1;

	if (rx->dead || rx->dev->broken || !(atomic_load(&rx->active) & 1)) {
		net_rx_unwatch(rx);
		return;
	}
	virtq_disable_kick(vq);
	for (unsigned int i = 0; i < NET_RX_BUDGET && r > 0; i++) {
		pass = net_rx_may_pass(rx);
		if (!pass)
			break;
		r = net_rx_step(rx);
		if (r != -ENOBUFS)
			continue;
		net_rx_publish(rx);
		if (virtq_enable_kick(vq)) {
			virtq_disable_kick(vq);
			r = 1;
		}
	}
	net_rx_publish(rx);
	if (r == -EPROTO)
		virtio_device_broken(rx->dev, "the receive ring is malformed");
	else if (r == -EBADMSG)
		virtio_device_broken(rx->dev,
				     "a receive buffer is readable or has no room for a header");
	else if (r > 0 && pass && net_rx_must_return(rx))
		virtio_device_rekick(rx->dev, rx->queue);
	net_rx_watch(rx, r >= 0 && pass && !rx->dead && !rx->held);
}

void __attribute__((cold)) net_rx_stop(struct net_rx *rx)
{
	net_rx_unwatch(rx);
	rx->unpublished = 0;
	rx->held = 0;
	net_window_reset(&rx->window, 1);
}
