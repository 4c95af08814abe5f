#include "virtio/net.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/virtio_ids.h>

#include "virtio/mac.h"
#include "vmm/core/assert.h"

#define NET_QUEUE_SIZE NET_WINDOW_CHAINS

/*
 * From the link's return to the driver's announcement. Linux sends it at once when it is asked, and a card whose link it
 * has not turned on yet drops it.
 */
#define NET_ANNOUNCE_NS UINT64_C(500000000)

#define NET_BIT(feature) (UINT64_C(1) << (feature))

/* What a receiver can be asked to do, in the words of both sides. */
static const struct {
	unsigned int feature;
	unsigned int tun;
} net_offloads[] = {
	{VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM}, {VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4},
	{VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6}, {VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN},
	{VIRTIO_NET_F_GUEST_USO4, TUN_F_USO4}, {VIRTIO_NET_F_GUEST_USO6, TUN_F_USO6},
};

#define NET_N_OFFLOADS (sizeof(net_offloads) / sizeof(net_offloads[0]))

/* The kernel takes any header of 5.1.6 that it knows from us; only what it gives depends on what it was asked. */
static uint64_t virtio_net_features(const struct virtio_net *net)
{
	const struct net_backend *be = net->backend;
	uint64_t features = NET_BIT(VIRTIO_NET_F_MRG_RXBUF) | NET_BIT(VIRTIO_NET_F_MAC) |
			    NET_BIT(VIRTIO_NET_F_STATUS) | NET_BIT(VIRTIO_NET_F_CTRL_VQ) |
			    NET_BIT(VIRTIO_NET_F_CTRL_RX) | NET_BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
			    NET_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
			    NET_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);

	if (be->sends_offloaded)
		features |= NET_BIT(VIRTIO_NET_F_CSUM) | NET_BIT(VIRTIO_NET_F_HOST_TSO4) |
			    NET_BIT(VIRTIO_NET_F_HOST_TSO6) | NET_BIT(VIRTIO_NET_F_HOST_ECN);
	/* A kernel that segments UDP does it both ways. */
	if (be->sends_offloaded && (be->offloads & TUN_F_USO4))
		features |= NET_BIT(VIRTIO_NET_F_HOST_USO);
	for (size_t i = 0; i < NET_N_OFFLOADS; i++) {
		if (be->offloads & net_offloads[i].tun)
			features |= NET_BIT(net_offloads[i].feature);
	}
	if (be->offloads)
		features |= NET_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	if (be->mtu)
		features |= NET_BIT(VIRTIO_NET_F_MTU);
	if (net->n_pairs > 1)
		features |= NET_BIT(VIRTIO_NET_F_MQ);
	return features;
}

/* 5.1.2: the control queue comes last, behind the pairs that the driver knows of. */
static unsigned int virtio_net_ctrl_queue(const struct virtio_net *net)
{
	return net->dev.negotiated & NET_BIT(VIRTIO_NET_F_MQ) ? 2 * net->n_pairs : 2;
}

/* ---- status ---- */

/* The card's loop. */
static void virtio_net_update_status(struct virtio_net *net)
{
	uint16_t status = 0;

	if (net->link_up && !atomic_load(&net->dead))
		status |= VIRTIO_NET_S_LINK_UP;
	if (net->announce)
		status |= VIRTIO_NET_S_ANNOUNCE;
	virtio_device_config_set(&net->dev, offsetof(struct virtio_net_config, status), &status,
				 sizeof(status));
}

static void virtio_net_on_announce(void *arg)
{
	struct virtio_net *net = arg;

	if (!net->dev.started || atomic_load(&net->dead) ||
	    !(net->dev.negotiated & NET_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE)))
		return;
	net->announce = true;
	virtio_net_update_status(net);
}

/* The loop of any pair. */
static void virtio_net_on_gone(void *arg, int err)
{
	struct virtio_net *net = arg;

	if (atomic_exchange(&net->dead, true))
		return;
	log_failure(err, "%s: lost the %s", net->name, net->backend->kind);
	evloop_post(net->dev.loop, &net->gone_task);
}

static void virtio_net_after_gone(void *arg)
{
	virtio_net_update_status(arg);
}

static void virtio_net_on_link(void *arg, uint32_t events)
{
	struct virtio_net *net = arg;

	int changed = net->backend->ops->read_link(net->backend);

	(void)events;
	if (changed < 0) {
		evloop_del(net->dev.loop, &net->link_watch);
		virtio_net_on_gone(net, changed);
		virtio_net_update_status(net);
	}
	if (changed <= 0 || atomic_load(&net->dead))
		return;
	net->link_up = net->backend->link_up;
	virtio_net_update_status(net);
	/* What was plugged in again may hang on another switch now. */
	if (net->backend->link_up)
		evloop_timer_set(net->dev.loop, &net->announce_timer, NET_ANNOUNCE_NS);
	else
		evloop_timer_cancel(net->dev.loop, &net->announce_timer);
}

/* ---- requests of the control queue ---- */

static void virtio_net_show_mac(struct virtio_net *net, const uint8_t mac[ETH_ALEN])
{
	virtio_device_config_set(&net->dev, offsetof(struct virtio_net_config, mac), mac, ETH_ALEN);
}

/* A guest with an address of which no frames come would wait for them; better that it is told. */
static int virtio_net_set_mac(void *arg, const uint8_t mac[ETH_ALEN])
{
	struct virtio_net *net = arg;

	if (net->backend->mac && memcmp(mac, net->backend->mac, ETH_ALEN) != 0)
		return -EADDRNOTAVAIL;
	virtio_net_show_mac(net, mac);
	return 0;
}

static int virtio_net_set_pairs(void *arg, unsigned int pairs)
{
	struct virtio_net *net = arg;
	int err;

	for (unsigned int i = pairs; i < net->n_pairs; i++)
		net_rx_set_active(&net->pair[i].rx, false);
	err = net->backend->ops->set_queues ? net->backend->ops->set_queues(net->backend, pairs)
					    : 0;
	for (unsigned int i = 0; i < pairs && err == 0; i++)
		net_rx_set_active(&net->pair[i].rx, true);
	return err;
}

static int virtio_net_set_offloads(void *arg, uint64_t features)
{
	struct virtio_net *net = arg;
	unsigned int tun = 0;

	for (size_t i = 0; i < NET_N_OFFLOADS; i++) {
		if (features & NET_BIT(net_offloads[i].feature))
			tun |= net_offloads[i].tun;
	}
	return net_backend_set_offloads(net->backend, tun);
}

static void virtio_net_announced(void *arg)
{
	struct virtio_net *net = arg;

	net->announce = false;
	virtio_net_update_status(net);
}

static const struct net_ctrl_ops virtio_net_ctrl_ops = {
	.set_mac = virtio_net_set_mac,
	.set_pairs = virtio_net_set_pairs,
	.set_offloads = virtio_net_set_offloads,
	.announced = virtio_net_announced,
};

/* ---- operations ---- */

static struct virtio_net *virtio_net_of(struct virtio_device *dev)
{
	return (struct virtio_net *)((char *)dev - offsetof(struct virtio_net, dev));
}

/* The pair that a queue belongs to; NULL for the control queue, and for those behind it, of which the driver knows nothing. */
static struct net_pair *virtio_net_pair(struct virtio_net *net, unsigned int queue)
{
	return queue < virtio_net_ctrl_queue(net) ? &net->pair[queue / 2] : NULL;
}

/*
 * Without MQ the third queue is the control queue, else the second pair's first. The control queue is served by the
 * card's loop, with which it shares what it changes.
 */
static void virtio_net_choose_loops(struct virtio_net *net)
{
	if (net->n_pairs > 1)
		net->dev.queue_loop[2] = virtio_net_ctrl_queue(net) == 2 ? net->dev.loop
									 : net->dev.queue_loop[3];
}

static void virtio_net_start(struct virtio_device *dev)
{
	struct virtio_net *net = virtio_net_of(dev);
	int err = virtio_net_set_offloads(net, dev->negotiated);

	if (err < 0 && !atomic_load(&net->dead))
		log_guest(&dev->log, "%s: cannot turn on offloads: %s", dev->name, strerror(-err));
	virtio_net_choose_loops(net);
	for (unsigned int i = 0; i < net->n_pairs; i++)
		net_rx_start(&net->pair[i].rx);
	if (net->vhost)
		vhost_net_start(net->vhost, virtio_net_ctrl_queue(net) / 2);
}

static bool virtio_net_delegate(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *net = virtio_net_of(dev);

	return net->vhost && !virtio_net_has_limits(net) && vhost_net_take(net->vhost, queue);
}

static void virtio_net_interrupt_moved(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *net = virtio_net_of(dev);

	if (net->vhost)
		vhost_net_interrupt_moved(net->vhost, queue);
}

static void virtio_net_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *net = virtio_net_of(dev);
	struct net_pair *pair = virtio_net_pair(net, queue);

	if (pair && queue % 2 == 0)
		net_rx_serve(&pair->rx);
	else if (pair)
		net_tx_serve(&pair->tx);
	else if (queue == virtio_net_ctrl_queue(net) &&
		 (dev->negotiated & NET_BIT(VIRTIO_NET_F_CTRL_VQ)))
		net_ctrl_serve(&net->ctrl, queue);
}

static void virtio_net_broken(struct virtio_device *dev)
{
	struct virtio_net *net = virtio_net_of(dev);

	if (net->vhost)
		vhost_net_halt(net->vhost);
}

static void virtio_net_quiesce(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_net *net = virtio_net_of(dev);
	struct net_pair *pair = virtio_net_pair(net, queue);

	if (net->vhost)
		vhost_net_release(net->vhost, queue);
	if (pair && queue % 2 == 0)
		net_rx_stop(&pair->rx);
	else if (pair)
		net_tx_stop(&pair->tx);
	virtio_device_quiesced(dev);
}

/* The next driver may know of no offloads: the frames that this one was to get are lost with its buffers. */
static void virtio_net_stop(struct virtio_device *dev)
{
	struct virtio_net *net = virtio_net_of(dev);
	bool offloads = net->backend->offloads_on;

	if (net->vhost)
		vhost_net_stop(net->vhost);
	if (memcmp(net->ctrl.state.mac, net->mac, ETH_ALEN) != 0)
		virtio_net_show_mac(net, net->mac);
	net_ctrl_reset(&net->ctrl, net->mac);
	if (net->announce)
		virtio_net_announced(net);
	virtio_net_set_pairs(net, 1);
	if (offloads && !atomic_load(&net->dead) && net_backend_set_offloads(net->backend, 0) == 0)
		net->backend->ops->discard(net->backend);
}

static const struct virtio_device_ops virtio_net_ops = {
	.start = virtio_net_start,
	.delegate = virtio_net_delegate,
	.broken = virtio_net_broken,
	.interrupt_moved = virtio_net_interrupt_moved,
	.kick = virtio_net_kick,
	.quiesce = virtio_net_quiesce,
	.stop = virtio_net_stop,
};

/* ---- life ---- */

struct virtio_net_watch {
	struct virtio_net *net;
	int err;
};

static void virtio_net_watch_link(void *arg)
{
	struct virtio_net_watch *watch = arg;
	struct virtio_net *net = watch->net;

	net->link_watch = (struct evloop_fd){
		.fd = net->backend->link_fd, .fn = virtio_net_on_link, .arg = net};
	if (net->link_watch.fd >= 0)
		watch->err = evloop_add(net->dev.loop, &net->link_watch, EPOLLIN);
}

static void virtio_net_unwatch_link(void *arg)
{
	struct virtio_net *net = arg;

	evloop_del(net->dev.loop, &net->link_watch);
	evloop_timer_cancel(net->dev.loop, &net->announce_timer);
}

static void virtio_net_unwatch_rx(void *arg)
{
	net_rx_stop(arg);
}

static void virtio_net_unwatch_tx(void *arg)
{
	net_tx_stop(arg);
}

static void virtio_net_describe(struct virtio_net *net, const struct virtio_net_options *options)
{
	snprintf(net->name, sizeof(net->name), "net '%s'", net->backend->name);
	if (options->mac)
		memcpy(net->mac, options->mac, ETH_ALEN);
	else if (net->backend->mac)
		memcpy(net->mac, net->backend->mac, ETH_ALEN);
	else
		mac_default(net->mac, net->backend->name);
	net->dev = (struct virtio_device){
		.ops = &virtio_net_ops,
		.name = net->name,
		.loop = options->loop,
		.id = VIRTIO_ID_NET,
		.queue_size = NET_QUEUE_SIZE,
		.n_queues = 2 * net->n_pairs + 1,
		.config_size = offsetof(struct virtio_net_config, speed),
		.features = virtio_net_features(net),
	};
	for (unsigned int i = 2; i < 2 * net->n_pairs; i++)
		net->dev.queue_loop[i] = options->pair_loop[i / 2];
}

static int virtio_net_init_device(struct virtio_net *net)
{
	uint16_t mtu = (uint16_t)net->backend->mtu, pairs = (uint16_t)net->n_pairs;
	int err = virtio_device_init(&net->dev);

	if (err < 0)
		return err;
	virtio_net_show_mac(net, net->mac);
	virtio_device_config_set(&net->dev, offsetof(struct virtio_net_config, mtu), &mtu,
				 sizeof(mtu));
	virtio_device_config_set(&net->dev, offsetof(struct virtio_net_config, max_virtqueue_pairs),
				 &pairs, sizeof(pairs));
	net->link_up = net->backend->link_up;
	virtio_net_update_status(net);
	return 0;
}

int virtio_net_init(struct virtio_net *net, const struct virtio_net_options *options)
{
	struct virtio_net_watch watch = {.net = net};
	int err;

	net->backend = options->backend;
	net->vhost = options->vhost;
	net->n_pairs = net->backend->n_queues;
	assert(net->n_pairs >= 1 && net->n_pairs <= NET_MAX_PAIRS);
	net_limit_init(&net->rx_limit, &options->rx_limit);
	net_limit_init(&net->tx_limit, &options->tx_limit);
	atomic_init(&net->dead, false);
	net->announce = false;
	net->gone_task = (struct evloop_task){.fn = virtio_net_after_gone, .arg = net};
	net->announce_timer = (struct evloop_timer){.fn = virtio_net_on_announce, .arg = net};
	virtio_net_describe(net, options);
	if (net->backend->mac && memcmp(net->mac, net->backend->mac, ETH_ALEN) != 0) {
		log_error("no frames for the address of %s would come: the interface takes those "
			  "for its own alone; leave mac= out, or give both the same",
			  net->name);
		return -EINVAL;
	}
	net->pair = calloc(net->n_pairs, sizeof(*net->pair));
	err = net->pair ? virtio_net_init_device(net) : -ENOMEM;
	if (err < 0) {
		log_failure(err, "cannot set up %s", net->name);
		free(net->pair);
		return err;
	}
	for (unsigned int i = 0; i < net->n_pairs; i++) {
		net_rx_init(&net->pair[i].rx, &net->dev, net->backend, i, &net->rx_limit,
			    virtio_net_on_gone, net);
		net_tx_init(&net->pair[i].tx, &net->dev, net->backend, i, &net->tx_limit);
	}
	net_ctrl_init(&net->ctrl, &net->dev, net->backend, net->n_pairs, &virtio_net_ctrl_ops, net);
	net_ctrl_reset(&net->ctrl, net->mac);
	if (net->vhost)
		vhost_net_attach(net->vhost, &net->dev);
	evloop_call(options->loop, virtio_net_watch_link, &watch);
	if (watch.err < 0) {
		log_failure(watch.err, "cannot watch the link of %s", net->name);
		virtio_device_fini(&net->dev);
		free(net->pair);
	}
	return watch.err;
}

void virtio_net_fini(struct virtio_net *net)
{
	evloop_call(net->dev.loop, virtio_net_unwatch_link, net);
	if (net->vhost)
		vhost_net_detach(net->vhost);
	for (unsigned int i = 0; i < net->n_pairs; i++) {
		evloop_call(net->dev.queue_loop[2 * i], virtio_net_unwatch_rx, &net->pair[i].rx);
		evloop_call(net->dev.queue_loop[2 * i + 1], virtio_net_unwatch_tx,
			    &net->pair[i].tx);
	}
	virtio_device_fini(&net->dev);
	free(net->pair);
}
