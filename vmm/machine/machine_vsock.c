/* The socket device, on an I/O thread: streams may carry much. */
#include "vmm/machine/machine.h"

#include <stdlib.h>

struct machine_vsock {
	struct machine_card card;
	struct virtio_vsock vsock;
	char *directory; /* of the sockets; NULL: there are ports alone */
};

static int machine_start_vsock(struct machine_card *card)
{
	return virtio_vsock_listen(&((struct machine_vsock *)card)->vsock);
}

static void machine_vsock_moved(struct machine_card *card)
{
	virtio_vsock_moved(&((struct machine_vsock *)card)->vsock);
}

static void machine_remove_vsock(struct machine_card *card)
{
	struct machine_vsock *v = (struct machine_vsock *)card;

	virtio_vsock_fini(&v->vsock);
	free(v->directory);
	free(v);
}

int machine_add_vsock(struct machine *machine, const struct machine_vsock_config *config)
{
	struct virtio_vsock_options options = {.cid = config->cid,
					       .path = config->path,
					       .ports = config->ports,
					       .n_ports = config->n_ports};
	struct machine_vsock *v = calloc(1, sizeof(*v));
	int err;

	if (v && config->path)
		v->directory = kept_name_directory(config->path);
	if (!v || (config->path && !v->directory)) {
		free(v);
		return log_no_memory();
	}
	v->card.start = machine_start_vsock;
	v->card.made = &v->vsock.host.made;
	v->card.socket_dir = v->directory;
	v->card.sockets_moved = machine_vsock_moved;
	options.loop = machine_next_io_loop(machine);
	err = virtio_vsock_init(&v->vsock, &options);
	if (err < 0)
		goto fail;
	err = machine_add_card(machine, &v->card, &v->vsock.dev, machine_remove_vsock);
	if (err < 0)
		goto fail_vsock;
	return 0;
fail_vsock:
	virtio_vsock_fini(&v->vsock);
fail:
	free(v->directory);
	free(v);
	return err;
}
