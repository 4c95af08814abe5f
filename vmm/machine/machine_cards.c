/* Cards: virtio devices in PCI slots, and the I/O threads that serve them. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MACHINE_SLOT_FIRST     1 /* slot 0 is the host bridge */
#define MACHINE_SLOTS	       31
#define MACHINE_SLOT_FUNCTIONS 8

/* ---- I/O threads ---- */

static int machine_make_io_loops(struct machine *machine, unsigned int n)
{
	machine->io_loops = calloc(n, sizeof(*machine->io_loops));
	if (!machine->io_loops)
		return -ENOMEM;
	while (machine->n_io_loops < n) {
		int err = evloop_init(&machine->io_loops[machine->n_io_loops]);

		if (err < 0)
			return err;
		machine->n_io_loops++;
	}
	return 0;
}

int machine_init_io(struct machine *machine, const struct machine_config *config)
{
	unsigned int n = config->io_threads;
	int err;

	/* Disks and network cards block one another less on threads of their own. */
	if (n == 0)
		n = config->n_disks + config->n_nets;
	if (n == 0)
		n = 1;
	err = machine_make_io_loops(machine, n);
	if (err < 0) {
		log_error("cannot make %u I/O loops: %s", n, strerror(-err));
		machine_fini_io(machine);
	}
	return err;
}

struct evloop *machine_next_io_loop(struct machine *machine)
{
	struct evloop *loop = &machine->io_loops[machine->next_io_loop];

	machine->next_io_loop = (machine->next_io_loop + 1) % machine->n_io_loops;
	return loop;
}

int machine_start_io(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->n_io_loops; i++) {
		char name[24];
		int err;

		snprintf(name, sizeof(name), "vmm-io%u", i);
		err = evloop_start(&machine->io_loops[i], name);
		if (err < 0) {
			log_error("cannot start I/O thread %u: %s", i, strerror(-err));
			return err;
		}
	}
	return 0;
}

void machine_stop_io(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->n_io_loops; i++)
		evloop_stop(&machine->io_loops[i]);
}

void machine_fini_io(struct machine *machine)
{
	while (machine->n_io_loops > 0)
		evloop_fini(&machine->io_loops[--machine->n_io_loops]);
	free(machine->io_loops);
	machine->io_loops = NULL;
}

/* ---- cards ---- */

static int card_bind_kick(void *arg, uint64_t gpa, int fd)
{
	return vm_bind_kick(arg, gpa, fd);
}

static void card_unbind_kick(void *arg, uint64_t gpa, int fd)
{
	vm_unbind_kick(arg, gpa, fd);
}

int machine_add_card(struct machine *machine, struct machine_card *card, struct virtio_device *dev,
		     void (*remove)(struct machine_card *card))
{
	struct virtio_pci_host host = {
		.bind_kick = card_bind_kick,
		.unbind_kick = card_unbind_kick,
		.arg = &machine->vm,
		.msix = {.route = vm_msi_route, .signal = vm_msi_signal, .arg = &card->msi}};
	/* One vector for each queue and one for changes of the configuration */
	int err = machine->n_cards < MACHINE_MAX_CARDS
			  ? vm_msi_init(&card->msi, &machine->vm, dev->n_queues + 1)
			  : -ENOSPC;

	if (err < 0) {
		log_error("cannot make the interrupts of %s: %s", dev->name, strerror(-err));
		return err;
	}
	virtio_pci_init(&card->pci, dev, &machine->mem, &host);
	card->remove = remove;
	machine->cards[machine->n_cards++] = card;
	return 0;
}

/* A slot for each card; when there are too few, eight cards share one. Ascending either way, as names count. */
int machine_plug_cards(struct machine *machine)
{
	unsigned int per_slot = machine->n_cards <= MACHINE_SLOTS ? 1 : MACHINE_SLOT_FUNCTIONS;

	for (unsigned int i = 0; i < machine->n_cards; i++) {
		struct machine_card *card = machine->cards[i];
		unsigned int devfn = PCI_DEVFN(MACHINE_SLOT_FIRST + i / per_slot, i % per_slot);
		int err = pci_bus_add(&machine->pci, devfn, &card->pci.fn);

		if (err < 0) {
			log_error("cannot plug in %s: %s", card->pci.regs.dev->name, strerror(-err));
			return err;
		}
	}
	return 0;
}

void machine_remove_cards(struct machine *machine)
{
	while (machine->n_cards > 0) {
		struct machine_card *card = machine->cards[--machine->n_cards];

		virtio_pci_fini(&card->pci);
		vm_msi_fini(&card->msi);
		card->remove(card);
	}
}
