/* A network card: a TAP of the host or passt, and the virtio device in front of it, perhaps with vhost between the two. */
#include "vmm/machine/machine.h"

#include <stdlib.h>

#include "virtio/net.h"
#include "virtio/passt.h"
#include "virtio/tap.h"
#include "virtio/vhost_net.h"

struct machine_net {
	struct machine_card card;
	bool user; /* which of these two */
	struct passt passt;
	struct tap tap;
	bool has_vhost;
	struct vhost_net vhost;
	struct virtio_net net;
};

static int net_open_backend(struct machine_net *n, struct machine *machine,
			    const struct machine_net_config *config, unsigned int cpus)
{
	struct passt_config passt = {.forwards = config->forwards,
				     .n_forwards = config->n_forwards,
				     .mtu = config->mtu,
				     .number = machine->n_user_nets};
	struct tap_config tap = {.name = config->tap,
				 .fd = config->tap_fd,
				 .mtu = config->mtu,
				 .queues = config->queues,
				 .max_queues = cpus};

	n->user = config->user;
	if (n->user)
		machine->n_user_nets++;
	return n->user ? passt_open(&n->passt, &passt) : tap_open(&n->tap, &tap);
}

/* Without having been asked for it, a card that cannot have it is served here. */
static int net_open_vhost(struct machine_net *n, const struct machine *machine,
			  const struct machine_net_config *config)
{
	struct vhost_net_options options = {.mem = &machine->mem,
					    .backend = &n->tap.be,
					    .must = config->vhost == MACHINE_VHOST_ON};
	int err;

	if (n->user || config->vhost == MACHINE_VHOST_OFF)
		return 0;
	if (machine_net_is_limited(config))
		return 0;
	err = vhost_net_open(&n->vhost, &options);
	n->has_vhost = err == 0;
	return options.must ? err : 0;
}

/* Only if it was asked for it is an error; else the card goes on without. */
static int machine_own_net(struct machine_card *card)
{
	struct machine_net *n = (struct machine_net *)card;

	return n->has_vhost ? vhost_net_own(&n->vhost) : 0;
}

static void net_close_backend(struct machine_net *n)
{
	if (n->has_vhost)
		vhost_net_close(&n->vhost);
	if (n->user)
		passt_close(&n->passt);
	else
		tap_close(&n->tap);
}

static void machine_remove_net(struct machine_card *card)
{
	struct machine_net *n = (struct machine_net *)card;

	virtio_net_fini(&n->net);
	net_close_backend(n);
	free(n);
}

static int net_init_device(struct machine_net *n, struct machine *machine,
			   const struct machine_net_config *config)
{
	struct net_backend *backend = n->user ? &n->passt.stream.be : &n->tap.be;
	struct virtio_net_options options = {.backend = backend,
					     .vhost = n->has_vhost ? &n->vhost : NULL,
					     .mac = config->mac,
					     .rx_limit = config->rx_limit,
					     .tx_limit = config->tx_limit};

	options.loop = machine_next_io_loop(machine);
	for (unsigned int i = 1; i < backend->n_queues; i++)
		options.pair_loop[i] = machine_next_io_loop(machine);
	return virtio_net_init(&n->net, &options);
}

int machine_add_net(struct machine *machine, const struct machine_net_config *config,
		    unsigned int cpus)
{
	struct machine_net *n = calloc(1, sizeof(*n));
	int err;

	if (!n)
		return log_no_memory();
	err = net_open_backend(n, machine, config, cpus);
	if (err < 0)
		goto fail;
	n->card.own = machine_own_net;
	err = net_open_vhost(n, machine, config);
	if (err == 0)
		err = net_init_device(n, machine, config);
	if (err < 0)
		goto fail_backend;
	err = machine_add_card(machine, &n->card, &n->net.dev, machine_remove_net);
	if (err < 0)
		goto fail_net;
	return 0;
fail_net:
	virtio_net_fini(&n->net);
fail_backend:
	net_close_backend(n);
fail:
	free(n);
	return err;
}
