/* Cards: virtio devices, each in a PCI slot or a page of MMIO, and the I/O threads that serve them. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/machine/layout_x86.h"

#define MACHINE_SLOT_FIRST     1 /* slot 0 is the host bridge */
#define MACHINE_SLOTS	       31
#define MACHINE_SLOT_FUNCTIONS 8

/* ---- I/O threads ---- */

static int machine_make_io_loops(struct machine *machine, unsigned int n)
{
	machine->io_loops = n > 0 ? calloc(n, sizeof(*machine->io_loops)) : NULL;
	if (n > 0 && !machine->io_loops)
		return -ENOMEM;
	while (machine->n_io_loops < n) {
		int err = evloop_init(&machine->io_loops[machine->n_io_loops]);

		if (err < 0)
			return err;
		machine->n_io_loops++;
	}
	return 0;
}

/*
 * A thread for each device that moves data keeps them out of each other's way, but more than there are CPUs do not help. Where none does, none
 * is started: the other devices' queues are the main loop's, or have threads of their own.
 */
static unsigned int machine_default_io_threads(const struct machine_config *config)
{
	unsigned int n = config->n_disks + config->n_nets + (config->vsock != NULL);
	unsigned int cpus = 1;
	cpu_set_t set;

	if (n > 1 && sched_getaffinity(0, sizeof(set), &set) == 0)
		cpus = (unsigned int)CPU_COUNT(&set);
	if (n > cpus)
		n = cpus;
	return n < MACHINE_MAX_IO_THREADS ? n : MACHINE_MAX_IO_THREADS;
}

int machine_init_io(struct machine *machine, const struct machine_config *config)
{
	unsigned int n = config->io_threads ? config->io_threads
					    : machine_default_io_threads(config);
	int err;

	err = machine_make_io_loops(machine, n);
	if (err < 0) {
		log_failure(err, "cannot make %u I/O loops", n);
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

static enum filter_kind machine_io_kind(const struct machine *machine)
{
	for (unsigned int i = 0; i < machine->n_cards; i++) {
		if (machine->cards[i]->socket_dir)
			return FILTER_SOCKETS;
	}
	return FILTER_IO;
}

int machine_start_io(struct machine *machine)
{
	enum filter_kind kind = machine_io_kind(machine);
	int err = machine_start_starter(machine);

	if (err < 0)
		return err;
	for (unsigned int i = 0; i < machine->n_io_loops; i++) {
		char name[24];

		machine->io_loops[i].rights = machine_rights(machine, kind);
		snprintf(name, sizeof(name), "vmm-io%u", i);
		err = evloop_start(&machine->io_loops[i], name);
		if (err < 0)
			return log_failure(err, "cannot start I/O thread %u", i);
	}
	for (unsigned int i = 0; i < machine->n_cards && err == 0; i++) {
		if (machine->cards[i]->run)
			err = machine->cards[i]->run(machine->cards[i], machine);
	}
	return err;
}

void machine_stop_io(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->n_io_loops; i++)
		evloop_stop(&machine->io_loops[i]);
	for (unsigned int i = 0; i < machine->n_cards; i++) {
		if (machine->cards[i]->halt)
			machine->cards[i]->halt(machine->cards[i]);
	}
	thread_starter_stop(&machine->starter);
}

void machine_fini_io(struct machine *machine)
{
	while (machine->n_io_loops > 0)
		evloop_fini(&machine->io_loops[--machine->n_io_loops]);
	free(machine->io_loops);
	machine->io_loops = NULL;
}

/* ---- cards ---- */

static int card_bind_kick(void *arg, struct virtio_pci_kick at, int fd)
{
	return vm_bind_kick(arg, at.port, at.address, fd);
}

static void card_unbind_kick(void *arg, struct virtio_pci_kick at, int fd)
{
	vm_unbind_kick(arg, at.port, at.address, fd);
}

static int card_bind_queue(void *arg, uint64_t gpa, unsigned int queue, int fd)
{
	return vm_bind_kick_value(arg, gpa, queue, fd);
}

static void card_unbind_queue(void *arg, uint64_t gpa, unsigned int queue, int fd)
{
	vm_unbind_kick_value(arg, gpa, queue, fd);
}

static int card_init_pci(struct machine_card *card, struct machine *machine)
{
	struct virtio_pci_host host = {.bind_kick = card_bind_kick,
				       .unbind_kick = card_unbind_kick,
				       .arg = &machine->vm,
				       .msix = {.route = vm_msi_route,
						.signal = vm_msi_signal,
						.fd = vm_msi_fd,
						.arg = &card->msi}};
	/* One vector for each queue and one for changes of the configuration */
	int err = vm_msi_init(&card->msi, &machine->vm, card->dev->n_queues + 1);

	if (err == 0)
		virtio_pci_init(&card->pci, card->dev, &machine->mem, &host);
	return err;
}

/* The cards' registers and interrupts are as numerous as MACHINE_MAX_CARDS, and in the order of the cards. */
static int card_init_mmio(struct machine_card *card, struct machine *machine)
{
	unsigned int i = machine->n_cards;
	struct virtio_mmio_host host = {
		.base = LAYOUT_VIRTIO + i * LAYOUT_VIRTIO_STEP,
		.bind_kick = card_bind_queue,
		.unbind_kick = card_unbind_queue,
		.arg = &machine->vm,
		.irq = ioapic_irq_line(&machine->ioapic, LAYOUT_GSI_VIRTIO + i)};
	struct bus_region region = {.base = host.base,
				    .size = VIRTIO_MMIO_SIZE,
				    .read = virtio_mmio_read,
				    .write = virtio_mmio_write,
				    .arg = &card->mmio};
	int err = bus_add(&machine->mmio, &region);

	_Static_assert(LAYOUT_GSI_VIRTIO + MACHINE_MAX_CARDS <= IOAPIC_PINS, "a pin for each card");
	_Static_assert(LAYOUT_VIRTIO_STEP == VIRTIO_MMIO_SIZE, "the cards' registers lie together");
	if (err == 0)
		virtio_mmio_init(&card->mmio, card->dev, &machine->mem, &host);
	return err;
}

int machine_add_card(struct machine *machine, struct machine_card *card, struct virtio_device *dev,
		     void (*remove)(struct machine_card *card))
{
	int err = -ENOSPC;

	card->dev = dev;
	card->remove = remove;
	if (machine->n_cards < MACHINE_MAX_CARDS)
		err = machine->mmio_transport ? card_init_mmio(card, machine)
					      : card_init_pci(card, machine);
	if (err < 0)
		return log_failure(err, "cannot make the interrupts of %s", dev->name);
	machine->cards[machine->n_cards++] = card;
	return 0;
}

/* A slot for each card; when there are too few, eight cards share one. Ascending either way, as names count. */
int machine_plug_cards(struct machine *machine)
{
	unsigned int per_slot = machine->n_cards <= MACHINE_SLOTS ? 1 : MACHINE_SLOT_FUNCTIONS;

	for (unsigned int i = 0; i < machine->n_cards && !machine->mmio_transport; i++) {
		struct machine_card *card = machine->cards[i];
		unsigned int devfn = PCI_DEVFN(MACHINE_SLOT_FIRST + i / per_slot, i % per_slot);
		int err = pci_bus_add(&machine->pci, devfn, &card->pci.fn);

		if (err < 0)
			return log_failure(err, "cannot plug in %s", card->dev->name);
	}
	return 0;
}

int machine_start_cards(struct machine *machine)
{
	int err = 0;

	for (unsigned int i = 0; i < machine->n_cards && err == 0; i++) {
		if (machine->cards[i]->start)
			err = machine->cards[i]->start(machine->cards[i]);
	}
	return err;
}

int machine_own_cards(struct machine *machine)
{
	int err = 0;

	for (unsigned int i = 0; i < machine->n_cards && err == 0; i++) {
		if (machine->cards[i]->own)
			err = machine->cards[i]->own(machine->cards[i]);
	}
	return err;
}

void machine_remove_cards(struct machine *machine)
{
	while (machine->n_cards > 0) {
		struct machine_card *card = machine->cards[--machine->n_cards];

		if (machine->mmio_transport) {
			virtio_mmio_fini(&card->mmio);
		} else {
			virtio_pci_fini(&card->pci);
			vm_msi_fini(&card->msi);
		}
		card->remove(card);
	}
}
