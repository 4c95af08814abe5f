#include "virtio/net.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <linux/if_tun.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "virtio/mac.h"

#define NET_QUEUE_SIZE NET_WINDOW_CHAINS

#define NET_BIT(feature) (UINT64_C(1) << (feature))

/* 5.1.2: the order of the queues */
enum {
	NET_QUEUE_RX,
	NET_QUEUE_TX,
	NET_QUEUES,
};

/* What a receiver can be asked to do, in the words of both sides. */
static const struct {
	unsigned int feature;
	unsigned int tun;
} net_offloads[] = {
	{VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM},
	{VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
	{VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6},
	{VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
};

#define NET_N_OFFLOADS (sizeof(net_offloads) / sizeof(net_offloads[0]))

/* The kernel takes any header of 5.1.6 from us; only what it gives depends on what it was asked. */
static uint64_t virtio_net_features(const struct tap *tap)
{
	uint64_t features = NET_BIT(VIRTIO_NET_F_CSUM) | NET_BIT(VIRTIO_NET_F_HOST_TSO4) |
			    NET_BIT(VIRTIO_NET_F_HOST_TSO6) | NET_BIT(VIRTIO_NET_F_HOST_ECN) |
			    NET_BIT(VIRTIO_NET_F_MRG_RXBUF) | NET_BIT(VIRTIO_NET_F_MAC) |
			    NET_BIT(VIRTIO_NET_F_STATUS);

	for (size_t i = 0; i < NET_N_OFFLOADS; i++) {
		if (tap->offloads & net_offloads[i].tun)
			features |= NET_BIT(net_offloads[i].feature);
	}
	if (tap->mtu)
		features |= NET_BIT(VIRTIO_NET_F_MTU);
	return features;
}

static void virtio_net_set_link(struct virtio_net *net, bool up)
{
	uint16_t status = up ? VIRTIO_NET_S_LINK_UP : 0;

	virtio_device_config_set(&net->dev, offsetof(struct virtio_net_config, status), &status,
				 sizeof(status));
}

static void virtio_net_on_gone(void *arg, int err)
{
	struct virtio_net *net = arg;

	log_error("%s: lost the TAP interface: %s", net->name, strerror(-err));
	virtio_net_set_link(net, false);
}

static void virtio_net_on_link(void *arg, uint32_t events)
{
	struct virtio_net *net = arg;

	(void)events;
	if (tap_link_read(&net->tap->link) && !net->rx.dead)
		virtio_net_set_link(net, net->tap->link.up);
}

static struct virtio_net *virtio_net_of(struct virtio_device *dev)
{
	return (struct virtio_net *)((char *)dev - offsetof(struct virtio_net, dev));
}

static void virtio_net_start(struct virtio_device *dev)
{
	struct virtio_net *net = virtio_net_of(dev);
	unsigned int tun = 0;
	int err;

	for (size_t i = 0; i < NET_N_OFFLOADS; i++) {
		if (dev->negotiated & NET_BIT(net_offloads[i].feature))
			tun |= net_offloads[i].tun;
	}
	err = tap_set_offloads(net->tap, tun);
	if (err < 0 && !net->rx.dead)
		log_guest(&dev->log, "%s: cannot turn on offloads: %s", dev->name, strerror(-err));
	net_rx_start(&net->rx);
}

static void virtio_net_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *net = virtio_net_of(dev);

	if (queue == NET_QUEUE_RX)
		net_rx_serve(&net->rx);
	else
		net_tx_serve(&net->tx);
}

/* The next driver may know of no offloads: the frames that this one was to get are lost with its buffers. */
static void virtio_net_stop(struct virtio_device *dev)
{
	struct virtio_net *net = virtio_net_of(dev);

	net_rx_stop(&net->rx);
	if (net->tap->offloads_on && !net->rx.dead && tap_set_offloads(net->tap, 0) == 0)
		tap_discard(net->tap);
}

static const struct virtio_device_ops virtio_net_ops = {
	.start = virtio_net_start,
	.kick = virtio_net_kick,
	.stop = virtio_net_stop,
};

struct virtio_net_watch {
	struct virtio_net *net;
	int err;
};

static void virtio_net_watch_link(void *arg)
{
	struct virtio_net_watch *watch = arg;
	struct virtio_net *net = watch->net;

	net->link_watch =
		(struct evloop_fd){.fd = net->tap->link.fd, .fn = virtio_net_on_link, .arg = net};
	watch->err = evloop_add(net->dev.loop, &net->link_watch,
				net->link_watch.fd < 0 ? 0 : EPOLLIN);
}

static void virtio_net_unwatch(void *arg)
{
	struct virtio_net *net = arg;

	evloop_del(net->dev.loop, &net->link_watch);
	net_rx_stop(&net->rx);
}

int virtio_net_init(struct virtio_net *net, const struct virtio_net_options *options)
{
	struct virtio_net_watch watch = {.net = net};
	uint16_t mtu = (uint16_t)options->tap->mtu;
	int err;

	net->tap = options->tap;
	snprintf(net->name, sizeof(net->name), "net '%s'", net->tap->name);
	if (options->mac)
		memcpy(net->mac, options->mac, ETH_ALEN);
	else
		mac_default(net->mac, net->tap->name);
	net->dev = (struct virtio_device){
		.ops = &virtio_net_ops,
		.name = net->name,
		.loop = options->loop,
		.id = VIRTIO_ID_NET,
		.queue_size = NET_QUEUE_SIZE,
		.n_queues = NET_QUEUES,
		.config_size = offsetof(struct virtio_net_config, speed),
		.features = virtio_net_features(net->tap),
	};
	err = virtio_device_init(&net->dev);
	if (err < 0) {
		log_error("cannot set up %s: %s", net->name, strerror(-err));
		return err;
	}
	virtio_device_config_set(&net->dev, offsetof(struct virtio_net_config, mac), net->mac,
				 ETH_ALEN);
	virtio_device_config_set(&net->dev, offsetof(struct virtio_net_config, mtu), &mtu,
				 sizeof(mtu));
	virtio_net_set_link(net, net->tap->link.up);
	net_rx_init(&net->rx, &net->dev, NET_QUEUE_RX, net->tap, virtio_net_on_gone, net);
	net_tx_init(&net->tx, &net->dev, NET_QUEUE_TX, net->tap);
	evloop_call(options->loop, virtio_net_watch_link, &watch);
	if (watch.err < 0) {
		log_error("cannot watch the link of %s: %s", net->name, strerror(-watch.err));
		virtio_device_fini(&net->dev);
	}
	return watch.err;
}

void virtio_net_fini(struct virtio_net *net)
{
	evloop_call(net->dev.loop, virtio_net_unwatch, net);
	virtio_device_fini(&net->dev);
}
