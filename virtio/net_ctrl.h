/*
 * The control queue of a virtio network card (virtio 1.2, 5.1.6.5): what the guest wants to receive, its address, the number of
 * its queue pairs, its offloads.
 *
 * Each request is parsed to a typed one or refused, before any effect; a refused one is completed with
 * VIRTIO_NET_ERR.
 *
 * Owner: struct virtio_net. The queue's loop thread only, but init, and reset, which comes while no queue is served.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#include <linux/if_ether.h>

#include "virtio/net_backend.h"
#include "virtio/virtio.h"

/* What a snapshot must save. */
struct net_ctrl_state {
	bool promisc, allmulti, alluni, nomulti, nouni, nobcast;
	uint8_t mac[ETH_ALEN];
	uint16_t n_uni, n_multi; /* more than NET_FILTER_MAX: too many to tell apart */
	uint8_t uni[NET_FILTER_MAX][ETH_ALEN];
	uint8_t multi[NET_FILTER_MAX][ETH_ALEN];
	uint16_t pairs;
};

struct net_ctrl_ops {
	/* Each returns 0 or negative errno, which refuses the request. */
	int (*set_mac)(void *arg, const uint8_t mac[ETH_ALEN]);
	int (*set_pairs)(void *arg, unsigned int pairs);
	int (*set_offloads)(void *arg, uint64_t features); /* bits of VIRTIO_NET_F_GUEST_* */
	void (*announced)(void *arg);
};

struct net_ctrl {
	/* immutable after init */
	struct virtio_device *dev;
	struct net_backend *backend;
	const struct net_ctrl_ops *ops;
	void *arg;
	unsigned int max_pairs;
	/* owned by the loop thread */
	struct net_ctrl_state state;
	struct iovec iov[VIRTQ_MAX_SIZE]; /* no state outlives a call */
};

/* A request that makes sense for the negotiated features; its values are copies. */
struct net_ctrl_request {
	uint8_t class;
	uint8_t cmd;
	bool on;
	uint16_t pairs;
	uint64_t offloads;
	struct net_ctrl_state table; /* mac, uni and multi alone */
};

void net_ctrl_init(struct net_ctrl *ctrl, struct virtio_device *dev, struct net_backend *backend,
		   unsigned int max_pairs, const struct net_ctrl_ops *ops, void *arg);

/* A driver starts or has let go: everything passes, one pair of queues. */
void net_ctrl_reset(struct net_ctrl *ctrl, const uint8_t mac[ETH_ALEN]);

/* Serves this queue of the device, with a bound. */
void net_ctrl_serve(struct net_ctrl *ctrl, unsigned int queue);

/*
 * Pure: reads a request out of its readable part. Returns 0, or -EINVAL for one that is malformed, unknown, or was not
 * negotiated.
 */
int net_ctrl_parse(struct net_ctrl_request *request, const struct iovec *iov, unsigned int n,
		   uint64_t negotiated, unsigned int max_pairs);

/* Pure: which frames the state asks for. */
void net_ctrl_filter(struct net_filter *filter, const struct net_ctrl_state *state);
