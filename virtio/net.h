/*
 * A network card (virtio 1.2, 5.1): one or more pairs of queues and a control queue; checksum and segmentation offloads both
 * ways, mergeable receive buffers, MAC, MTU, link status, filters, announcements.
 *
 * Offered are the offloads that the backend takes. What it may leave undone on the way to the guest is set
 * anew for each driver, so that a driver without offloads, as in firmware, gets plain frames.
 *
 * With vhost-net the host's kernel serves the pairs of queues, for drivers that it can serve, and net_rx.h and net_tx.h
 * those that it has not taken.
 *
 * Owner: the machine. It owns the backend and vhost too, which outlive the device. Threads: init and fini by the owner, not
 * on a loop's thread; the rest happens on the loops: each pair of queues on its own, the
 * link and the control queue on the first pair's.
 *
 * Snapshot: the configuration space and the queues in struct virtio_device, struct net_window_state of each pair, and
 * struct net_ctrl_state.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <linux/if_ether.h>

#include "virtio/net_backend.h"
#include "virtio/net_ctrl.h"
#include "virtio/net_limit.h"
#include "virtio/net_rx.h"
#include "virtio/net_tx.h"
#include "virtio/vhost_net.h"
#include "virtio/virtio.h"

/* struct virtio_net_config is the kernel's name for the configuration space. */
struct virtio_net_options {
	struct evloop *loop;			 /* borrowed, as is backend */
	struct evloop *pair_loop[NET_MAX_PAIRS]; /* NULL: loop; the first is loop in any case */
	struct net_backend *backend;
	struct vhost_net *vhost; /* NULL: none; opened for this backend */
	const uint8_t *mac;	 /* ETH_ALEN bytes; NULL: the backend's, or mac_default() for it */
	struct net_limit_config rx_limit; /* of what the guest receives, over all pairs */
	struct net_limit_config tx_limit; /* of what it sends */
};

struct net_pair {
	struct net_rx rx;
	struct net_tx tx;
};

struct virtio_net {
	struct virtio_device dev;
	/* immutable after init */
	struct net_backend *backend;
	struct vhost_net *vhost;
	char name[32]; /* net 'tap0' */
	uint8_t mac[ETH_ALEN];
	unsigned int n_pairs;
	struct net_pair *pair;
	/* any thread, see its header */
	struct net_limit rx_limit;
	struct net_limit tx_limit;
	/* any thread */
	_Atomic bool dead;	      /* the backend is gone */
	struct evloop_task gone_task; /* the backend is lost, which any pair's loop may find */
	/* owned by the loop thread */
	bool link_up;
	bool announce; /* the driver was asked to, and has not said that it did */
	struct evloop_fd link_watch;
	struct evloop_timer announce_timer; /* after the link has come back */
	struct net_ctrl ctrl;
};

/* Needs no cleared memory. Returns 0 or negative errno. */
int virtio_net_init(struct virtio_net *net, const struct virtio_net_options *options);

/* Any thread. Whether every packet must pass through us, to be counted. */
static inline bool virtio_net_has_limits(const struct virtio_net *net)
{
	return net->rx_limit.limited || net->tx_limit.limited;
}

/* Leaves the backend open. */
void virtio_net_fini(struct virtio_net *net);
