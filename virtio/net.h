/*
 * A network card on a TAP (virtio 1.2, 5.1): one receiveq, one transmitq, checksum and segmentation offloads
 * both ways, mergeable receive buffers, MAC, MTU and link status.
 *
 * Offered are the offloads that the host's kernel takes. What it may leave undone on the way to the guest is set
 * anew for each driver, so that a driver without offloads, as in firmware, gets plain frames.
 *
 * Owner: the machine. It owns the TAP too, which outlives the device. Threads: init and fini by the owner, not
 * on the loop's thread; the rest happens on the loop.
 *
 * Snapshot: the configuration space and the queues in struct virtio_device, and struct net_window_state.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <linux/if_ether.h>

#include "virtio/net_rx.h"
#include "virtio/net_tx.h"
#include "virtio/tap.h"
#include "virtio/virtio.h"

/* struct virtio_net_config is the kernel's name for the configuration space. */
struct virtio_net_options {
	struct evloop *loop; /* borrowed, as is tap */
	struct tap *tap;
	const uint8_t *mac; /* ETH_ALEN bytes; NULL: mac_default() for this TAP */
};

struct virtio_net {
	struct virtio_device dev;
	/* immutable after init */
	struct tap *tap;
	char name[32]; /* net 'tap0' */
	uint8_t mac[ETH_ALEN];
	/* owned by the loop thread */
	struct evloop_fd link_watch;
	struct net_rx rx;
	struct net_tx tx;
};

/* Needs no cleared memory. Returns 0 or negative errno. */
int virtio_net_init(struct virtio_net *net, const struct virtio_net_options *options);

/* Leaves the TAP open. */
void virtio_net_fini(struct virtio_net *net);
