/* Describes the machine by a device tree: the same machine that machine_boot.c describes by tables. */
#include "vmm/core/assert.h"
#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/device_tree.h"
#include "vmm/machine/layout_x86.h"

void *machine_make_tree(const struct machine *machine, size_t *size)
{
	struct boot_e820 e820[MACHINE_MAX_E820];
	struct device_tree_config config = {
		.n_cpus = machine->n_vcpus,
		.e820 = e820,
		.n_e820 = machine_make_e820(machine, e820),
		.cmdline = machine->cmdline,
		.initrd = machine->initrd,
		.initrd_size = machine->initrd_size,
		.lapic_addr = LAYOUT_LAPIC,
		.ioapic_addr = LAYOUT_IOAPIC,
		.serial_port = LAYOUT_PORT_SERIAL,
		.serial_gsi = LAYOUT_GSI_SERIAL,
		.n_virtio = machine->mmio_transport ? machine->n_cards : 0,
		.virtio_base = LAYOUT_VIRTIO,
		.virtio_step = LAYOUT_VIRTIO_STEP,
		.virtio_gsi = LAYOUT_GSI_VIRTIO,
		.pci_mmio_base = LAYOUT_PCI_WINDOW,
		.pci_mmio_size = machine->mmio_transport ? 0 : LAYOUT_PCI_WINDOW_SIZE,
	};
	void *tree = device_tree_make(&config);

	if (tree)
		*size = device_tree_size(tree);
	return tree;
}

int machine_write_tree(struct machine *machine)
{
	size_t size;
	void *tree = machine_make_tree(machine, &size);
	int err = -ENOMEM;

	if (tree) {
		/* The command line, which has a limit of its own, is the largest part. */
		assert(DEVICE_TREE_HEAD + size <= LAYOUT_SETUP_DATA_MAX);
		err = device_tree_write(&machine->mem, LAYOUT_SETUP_DATA, tree);
	}
	free(tree);
	if (err < 0)
		log_failure(err, "cannot write the machine's device tree");
	return err;
}
