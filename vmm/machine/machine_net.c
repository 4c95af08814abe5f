/* A network card: a TAP of the host, and the virtio device in front of it. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdlib.h>

#include "virtio/net.h"
#include "virtio/tap.h"

struct machine_net {
	struct machine_card card;
	struct tap tap;
	struct virtio_net net;
};

static void machine_remove_net(struct machine_card *card)
{
	struct machine_net *n = (struct machine_net *)card;

	virtio_net_fini(&n->net);
	tap_close(&n->tap);
	free(n);
}

int machine_add_net(struct machine *machine, const struct machine_net_config *config)
{
	struct tap_config tap = {.name = config->tap, .fd = config->tap_fd, .mtu = config->mtu};
	struct virtio_net_options options = {.mac = config->mac};
	struct machine_net *n;
	int err;

	if (config->mac && (config->mac[0] & 1)) {
		log_error("a network card cannot have a group address (its first byte is odd)");
		return -EINVAL;
	}
	n = calloc(1, sizeof(*n));
	if (!n) {
		log_error("out of memory");
		return -ENOMEM;
	}
	err = tap_open(&n->tap, &tap);
	if (err < 0)
		goto fail;
	options.tap = &n->tap;
	options.loop = machine_next_io_loop(machine);
	err = virtio_net_init(&n->net, &options);
	if (err < 0)
		goto fail_tap;
	err = machine_add_card(machine, &n->card, &n->net.dev, machine_remove_net);
	if (err < 0)
		goto fail_net;
	return 0;
fail_net:
	virtio_net_fini(&n->net);
fail_tap:
	tap_close(&n->tap);
fail:
	free(n);
	return err;
}
