#include "virtio/net_ctrl.h"

#include <errno.h>
#include <string.h>
#include <linux/virtio_net.h>

#include "vmm/core/iov.h"

#define NET_CTRL_BUDGET 64

#define NET_CTRL_BIT(feature) (UINT64_C(1) << (feature))

#define NET_CTRL_OFFLOADS                                                                          \
	(NET_CTRL_BIT(VIRTIO_NET_F_GUEST_CSUM) | NET_CTRL_BIT(VIRTIO_NET_F_GUEST_TSO4) |           \
	 NET_CTRL_BIT(VIRTIO_NET_F_GUEST_TSO6) | NET_CTRL_BIT(VIRTIO_NET_F_GUEST_ECN) |            \
	 NET_CTRL_BIT(VIRTIO_NET_F_GUEST_UFO) | NET_CTRL_BIT(VIRTIO_NET_F_GUEST_USO4) |            \
	 NET_CTRL_BIT(VIRTIO_NET_F_GUEST_USO6))

void net_ctrl_init(struct net_ctrl *ctrl, struct virtio_device *dev, struct net_backend *backend,
		   unsigned int max_pairs, const struct net_ctrl_ops *ops, void *arg)
{
	*ctrl = (struct net_ctrl){
		.dev = dev, .backend = backend, .ops = ops, .arg = arg, .max_pairs = max_pairs};
}

/* ---- parsing ---- */

static int net_ctrl_parse_rx(struct net_ctrl_request *r, struct iov_cursor *cur,
			     uint64_t negotiated)
{
	bool extra = r->cmd > VIRTIO_NET_CTRL_RX_ALLMULTI;
	uint8_t on;

	if (!(negotiated & NET_CTRL_BIT(extra ? VIRTIO_NET_F_CTRL_RX_EXTRA : VIRTIO_NET_F_CTRL_RX)))
		return -EINVAL;
	if (r->cmd > VIRTIO_NET_CTRL_RX_NOBCAST || iov_cursor_read(cur, &on, 1) != 1)
		return -EINVAL;
	r->on = on != 0;
	return 0;
}

/* 5.1.6.5.2: a count and so many addresses. Those that do not fit are counted. */
static int net_ctrl_parse_macs(struct iov_cursor *cur, uint8_t table[][ETH_ALEN], uint16_t *n)
{
	uint32_t entries, keep;

	if (iov_cursor_read(cur, &entries, sizeof(entries)) != sizeof(entries))
		return -EINVAL;
	if (entries > iov_cursor_left(cur) / ETH_ALEN)
		return -EINVAL;
	keep = entries < NET_FILTER_MAX ? entries : NET_FILTER_MAX;
	iov_cursor_read(cur, table, keep * ETH_ALEN);
	iov_cursor_skip(cur, (entries - keep) * ETH_ALEN);
	*n = entries > NET_FILTER_MAX ? NET_FILTER_MAX + 1 : (uint16_t)entries;
	return 0;
}

static int net_ctrl_parse_mac(struct net_ctrl_request *r, struct iov_cursor *cur,
			      uint64_t negotiated)
{
	int err;

	if (r->cmd == VIRTIO_NET_CTRL_MAC_TABLE_SET) {
		if (!(negotiated & NET_CTRL_BIT(VIRTIO_NET_F_CTRL_RX)))
			return -EINVAL;
		err = net_ctrl_parse_macs(cur, r->table.uni, &r->table.n_uni);
		return err < 0 ? err : net_ctrl_parse_macs(cur, r->table.multi, &r->table.n_multi);
	}
	if (r->cmd != VIRTIO_NET_CTRL_MAC_ADDR_SET ||
	    !(negotiated & NET_CTRL_BIT(VIRTIO_NET_F_CTRL_MAC_ADDR)) ||
	    iov_cursor_read(cur, r->table.mac, ETH_ALEN) != ETH_ALEN)
		return -EINVAL;
	/* A card has an address of its own, and no group's. */
	return r->table.mac[0] & 1 ? -EINVAL : 0;
}

static int net_ctrl_parse_pairs(struct net_ctrl_request *r, struct iov_cursor *cur,
				uint64_t negotiated, unsigned int max_pairs)
{
	if (!(negotiated & NET_CTRL_BIT(VIRTIO_NET_F_MQ)) ||
	    r->cmd != VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET ||
	    iov_cursor_read(cur, &r->pairs, sizeof(r->pairs)) != sizeof(r->pairs))
		return -EINVAL;
	return r->pairs >= VIRTIO_NET_CTRL_MQ_VQ_PAIRS_MIN && r->pairs <= max_pairs ? 0 : -EINVAL;
}

static int net_ctrl_parse_offloads(struct net_ctrl_request *r, struct iov_cursor *cur,
				   uint64_t negotiated)
{
	if (!(negotiated & NET_CTRL_BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)) ||
	    r->cmd != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    iov_cursor_read(cur, &r->offloads, sizeof(r->offloads)) != sizeof(r->offloads))
		return -EINVAL;
	return r->offloads & ~(negotiated & NET_CTRL_OFFLOADS) ? -EINVAL : 0;
}

int net_ctrl_parse(struct net_ctrl_request *r, const struct iovec *iov, unsigned int n,
		   uint64_t negotiated, unsigned int max_pairs)
{
	struct virtio_net_ctrl_hdr hdr;
	struct iov_cursor cur;

	iov_cursor_init(&cur, iov, n);
	if (iov_cursor_read(&cur, &hdr, sizeof(hdr)) != sizeof(hdr))
		return -EINVAL;
	*r = (struct net_ctrl_request){.class = hdr.class, .cmd = hdr.cmd};
	switch (r->class) {
	case VIRTIO_NET_CTRL_RX:
		return net_ctrl_parse_rx(r, &cur, negotiated);
	case VIRTIO_NET_CTRL_MAC:
		return net_ctrl_parse_mac(r, &cur, negotiated);
	case VIRTIO_NET_CTRL_MQ:
		return net_ctrl_parse_pairs(r, &cur, negotiated, max_pairs);
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return net_ctrl_parse_offloads(r, &cur, negotiated);
	case VIRTIO_NET_CTRL_ANNOUNCE:
		if (r->cmd != VIRTIO_NET_CTRL_ANNOUNCE_ACK)
			return -EINVAL;
		return negotiated & NET_CTRL_BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) ? 0 : -EINVAL;
	default:
		return -EINVAL;
	}
}

/* ---- filtering ---- */

static void net_ctrl_allow(struct net_filter *filter, const uint8_t addr[ETH_ALEN])
{
	if (filter->n == NET_FILTER_MAX)
		filter->all = true;
	else
		memcpy(filter->addr[filter->n++], addr, ETH_ALEN);
}

void net_ctrl_filter(struct net_filter *filter, const struct net_ctrl_state *s)
{
	static const uint8_t broadcast[ETH_ALEN] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	bool allmulti = s->allmulti || s->n_multi > NET_FILTER_MAX;

	*filter = (struct net_filter){.allmulti = allmulti && !s->nomulti};
	filter->all = s->promisc || s->alluni || s->n_uni > NET_FILTER_MAX;
	if (!s->nobcast)
		net_ctrl_allow(filter, broadcast);
	if (!s->nouni) {
		net_ctrl_allow(filter, s->mac);
		for (unsigned int i = 0; i < s->n_uni && !filter->all; i++)
			net_ctrl_allow(filter, s->uni[i]);
	}
	for (unsigned int i = 0; i < s->n_multi && !s->nomulti && !allmulti && !filter->all; i++)
		net_ctrl_allow(filter, s->multi[i]);
	/* An empty list would say nothing at all; 5.1.6.5.1 lets more pass than was asked for. */
	if (filter->n == 0)
		filter->all = true;
}

/* A filter is a favour: without one the guest's driver sorts the frames out itself. */
static void net_ctrl_apply_filter(struct net_ctrl *ctrl)
{
	struct net_filter filter;

	if (!ctrl->backend->ops->set_filter)
		return;
	net_ctrl_filter(&filter, &ctrl->state);
	ctrl->backend->ops->set_filter(ctrl->backend, &filter);
}

void net_ctrl_reset(struct net_ctrl *ctrl, const uint8_t mac[ETH_ALEN])
{
	bool was_all = ctrl->state.promisc;

	ctrl->state = (struct net_ctrl_state){.promisc = true, .pairs = 1};
	memcpy(ctrl->state.mac, mac, ETH_ALEN);
	if (!was_all)
		net_ctrl_apply_filter(ctrl);
}

/* ---- doing ---- */

static void net_ctrl_set_rx(struct net_ctrl_state *s, uint8_t cmd, bool on)
{
	switch (cmd) {
	case VIRTIO_NET_CTRL_RX_PROMISC:
		s->promisc = on;
		break;
	case VIRTIO_NET_CTRL_RX_ALLMULTI:
		s->allmulti = on;
		break;
	case VIRTIO_NET_CTRL_RX_ALLUNI:
		s->alluni = on;
		break;
	case VIRTIO_NET_CTRL_RX_NOMULTI:
		s->nomulti = on;
		break;
	case VIRTIO_NET_CTRL_RX_NOUNI:
		s->nouni = on;
		break;
	case VIRTIO_NET_CTRL_RX_NOBCAST:
		s->nobcast = on;
		break;
	}
}

static int net_ctrl_set_mac(struct net_ctrl *ctrl, const struct net_ctrl_request *r)
{
	struct net_ctrl_state *s = &ctrl->state;
	int err;

	if (r->cmd == VIRTIO_NET_CTRL_MAC_ADDR_SET) {
		err = ctrl->ops->set_mac(ctrl->arg, r->table.mac);
		if (err == 0)
			memcpy(s->mac, r->table.mac, ETH_ALEN);
		return err;
	}
	s->n_uni = r->table.n_uni;
	s->n_multi = r->table.n_multi;
	memcpy(s->uni, r->table.uni, sizeof(s->uni));
	memcpy(s->multi, r->table.multi, sizeof(s->multi));
	return 0;
}

static int net_ctrl_do(struct net_ctrl *ctrl, const struct net_ctrl_request *r)
{
	int err = 0;

	switch (r->class) {
	case VIRTIO_NET_CTRL_RX:
		net_ctrl_set_rx(&ctrl->state, r->cmd, r->on);
		net_ctrl_apply_filter(ctrl);
		break;
	case VIRTIO_NET_CTRL_MAC:
		err = net_ctrl_set_mac(ctrl, r);
		net_ctrl_apply_filter(ctrl);
		break;
	case VIRTIO_NET_CTRL_MQ:
		err = ctrl->ops->set_pairs(ctrl->arg, r->pairs);
		if (err == 0)
			ctrl->state.pairs = r->pairs;
		break;
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		err = ctrl->ops->set_offloads(ctrl->arg, r->offloads);
		break;
	default:
		ctrl->ops->announced(ctrl->arg);
	}
	return err;
}

/* One request. Returns 1, 0 when none waits, or a negative errno when the ring or the chain is malformed. */
static int net_ctrl_step(struct net_ctrl *ctrl, struct virtq *vq)
{
	struct net_ctrl_request request;
	struct iov_cursor answer;
	struct virtq_chain chain;
	uint8_t ack = VIRTIO_NET_ERR;
	int r = virtq_pop(vq, &chain, ctrl->iov, VIRTQ_MAX_SIZE);

	if (r <= 0)
		return r;
	if (chain.writable_bytes == 0)
		return -EBADMSG;
	if (net_ctrl_parse(&request, chain.readable, chain.n_readable, ctrl->dev->negotiated,
			   ctrl->max_pairs) == 0 &&
	    net_ctrl_do(ctrl, &request) == 0)
		ack = VIRTIO_NET_OK;
	iov_cursor_init(&answer, chain.writable, chain.n_writable);
	iov_cursor_write(&answer, &ack, sizeof(ack));
	virtq_push(vq, chain.head, sizeof(ack));
	return 1;
}

void net_ctrl_serve(struct net_ctrl *ctrl, unsigned int queue)
{
	struct virtq *vq = &ctrl->dev->queue[queue];
	int r = 1;

	for (unsigned int i = 0; i < NET_CTRL_BUDGET && r > 0; i++) {
		r = net_ctrl_step(ctrl, vq);
		if (r == 0 && virtq_enable_kick(vq))
			r = 1;
	}
	virtio_device_publish(ctrl->dev, queue);
	if (r > 0)
		virtio_device_rekick(ctrl->dev, queue);
	else if (r < 0)
		virtio_device_broken(ctrl->dev,
				     r == -EBADMSG ? "a control request has no room for its answer"
						   : "the control ring is malformed");
}
