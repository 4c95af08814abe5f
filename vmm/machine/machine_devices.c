/* Disks and network cards: made from their backends, plugged into PCI, each on an event loop of its own. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MACHINE_SLOT_FIRST     1 /* slot 0 is the host bridge */
#define MACHINE_SLOTS	       31
#define MACHINE_SLOT_FUNCTIONS 8

/* ---- cards ---- */

static int card_bind_kick(void *arg, uint64_t gpa, int fd)
{
	return vm_bind_kick(arg, gpa, fd);
}

static void card_unbind_kick(void *arg, uint64_t gpa, int fd)
{
	vm_unbind_kick(arg, gpa, fd);
}

static int card_init(struct machine_card *card, struct machine *machine, struct virtio_device *dev)
{
	struct virtio_pci_host host = {
		.bind_kick = card_bind_kick,
		.unbind_kick = card_unbind_kick,
		.arg = &machine->vm,
		.msix = {.route = vm_msi_route, .signal = vm_msi_signal, .arg = &card->msi}};
	/* One vector for each queue and one for changes of the configuration */
	int err = vm_msi_init(&card->msi, &machine->vm, dev->n_queues + 1);

	if (err < 0) {
		log_error("cannot make the interrupts of %s: %s", dev->name, strerror(-err));
		return err;
	}
	virtio_pci_init(&card->pci, dev, &machine->mem, &host);
	return 0;
}

static void card_fini(struct machine_card *card)
{
	virtio_pci_fini(&card->pci);
	vm_msi_fini(&card->msi);
}

static int card_init_loop(struct machine_card *card, const char *kind, unsigned int index)
{
	int err = evloop_init(&card->loop);

	snprintf(card->name, sizeof(card->name), "vmm-%s%u", kind, index);
	if (err < 0)
		log_error("cannot make the event loop of %s %u: %s", kind, index, strerror(-err));
	return err;
}

/* ---- disks ---- */

static int disk_make(struct machine_disk *d, struct machine *machine,
		     const struct machine_disk_config *config)
{
	struct virtio_blk_options options = {
		.disk = &d->disk, .loop = &d->card.loop, .serial = config->serial};
	int err;

	err = card_init_loop(&d->card, "disk", machine->n_disks);
	if (err < 0)
		return err;
	err = virtio_blk_init(&d->blk, &options);
	if (err < 0)
		goto fail_loop;
	err = card_init(&d->card, machine, &d->blk.dev);
	if (err < 0)
		goto fail_blk;
	return 0;
fail_blk:
	virtio_blk_fini(&d->blk);
fail_loop:
	evloop_fini(&d->card.loop);
	return err;
}

int machine_add_disk(struct machine *machine, const struct machine_disk_config *config)
{
	struct disk_config disk = {.path = config->path, .readonly = config->readonly};
	struct machine_disk *d = calloc(1, sizeof(*d));
	int err;

	if (!d) {
		log_error("out of memory");
		return -ENOMEM;
	}
	err = disk_open(&d->disk, &disk);
	if (err < 0)
		goto fail;
	err = disk_make(d, machine, config);
	if (err < 0) {
		disk_close(&d->disk);
		goto fail;
	}
	machine->disks[machine->n_disks++] = d;
	return 0;
fail:
	free(d);
	return err;
}

/* ---- network cards ---- */

static int net_make(struct machine_net *n, struct machine *machine,
		    const struct machine_net_config *config)
{
	struct virtio_net_options options = {
		.tap = &n->tap, .loop = &n->card.loop, .mac = config->mac};
	int err;

	err = card_init_loop(&n->card, "net", machine->n_nets);
	if (err < 0)
		return err;
	err = virtio_net_init(&n->net, &options);
	if (err < 0)
		goto fail_loop;
	err = card_init(&n->card, machine, &n->net.dev);
	if (err < 0)
		goto fail_net;
	return 0;
fail_net:
	virtio_net_fini(&n->net);
fail_loop:
	evloop_fini(&n->card.loop);
	return err;
}

int machine_add_net(struct machine *machine, const struct machine_net_config *config)
{
	struct tap_config tap = {.name = config->tap, .fd = config->tap_fd, .mtu = config->mtu};
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
	err = net_make(n, machine, config);
	if (err < 0) {
		tap_close(&n->tap);
		goto fail;
	}
	machine->nets[machine->n_nets++] = n;
	return 0;
fail:
	free(n);
	return err;
}

/* ---- all of them ---- */

static struct machine_card *machine_card(struct machine *machine, unsigned int i)
{
	if (i < machine->n_disks)
		return &machine->disks[i]->card;
	return &machine->nets[i - machine->n_disks]->card;
}

static unsigned int machine_n_cards(const struct machine *machine)
{
	return machine->n_disks + machine->n_nets;
}

/* A slot for each card; when there are too few, eight cards share one. Ascending either way, as names count. */
int machine_plug_cards(struct machine *machine)
{
	unsigned int n = machine_n_cards(machine);
	unsigned int per_slot = n <= MACHINE_SLOTS ? 1 : MACHINE_SLOT_FUNCTIONS;

	for (unsigned int i = 0; i < n; i++) {
		struct machine_card *card = machine_card(machine, i);
		unsigned int devfn = PCI_DEVFN(MACHINE_SLOT_FIRST + i / per_slot, i % per_slot);
		int err = pci_bus_add(&machine->pci, devfn, &card->pci.fn);

		if (err < 0) {
			log_error("cannot plug in %s: %s", card->pci.dev->name, strerror(-err));
			return err;
		}
	}
	return 0;
}

int machine_start_cards(struct machine *machine)
{
	for (unsigned int i = 0; i < machine_n_cards(machine); i++) {
		struct machine_card *card = machine_card(machine, i);
		int err = evloop_start(&card->loop, card->name);

		if (err < 0) {
			log_error("cannot start the thread of %s: %s", card->pci.dev->name,
				  strerror(-err));
			return err;
		}
	}
	return 0;
}

void machine_stop_cards(struct machine *machine)
{
	for (unsigned int i = 0; i < machine_n_cards(machine); i++)
		evloop_stop(&machine_card(machine, i)->loop);
}

void machine_remove_cards(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->n_nets; i++) {
		struct machine_net *n = machine->nets[i];

		card_fini(&n->card);
		virtio_net_fini(&n->net);
		tap_close(&n->tap);
		evloop_fini(&n->card.loop);
		free(n);
	}
	for (unsigned int i = 0; i < machine->n_disks; i++) {
		struct machine_disk *d = machine->disks[i];

		card_fini(&d->card);
		virtio_blk_fini(&d->blk);
		disk_close(&d->disk);
		evloop_fini(&d->card.loop);
		free(d);
	}
	machine->n_disks = 0;
	machine->n_nets = 0;
}
