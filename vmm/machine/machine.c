#include "vmm/machine/machine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "vmm/core/assert.h"
#include "vmm/machine/layout_x86.h"

/* ---- glue between parts ---- */

static int machine_deliver_msi(void *arg, uint64_t address, uint32_t data)
{
	struct machine *machine = arg;

	return vm_send_msi(&machine->vm, address, data);
}

static void machine_route_pin(void *arg, unsigned int pin, const struct ioapic_route *route)
{
	struct machine *machine = arg;

	/* KVM wants to know of level interrupts alone, to tell us of their end. */
	if (!route->level || route->masked)
		return;
	if (vm_route_pin(&machine->vm, pin, route->address, route->data) < 0)
		log_guest(&machine->log, "KVM refused the route of interrupt %u, which is lost",
			  pin);
}

static void machine_on_eoi(void *arg, uint8_t vector)
{
	struct machine *machine = arg;

	ioapic_eoi(&machine->ioapic, vector);
}

/* The reset control register, 0xcf9, lies among the ports of PCI's configuration mechanism. */
static bool machine_is_reset_port(uint64_t offset, unsigned int width)
{
	return offset == 1 && width == 1;
}

static uint64_t machine_pci_port_read(void *arg, uint64_t offset, unsigned int width)
{
	struct machine *machine = arg;

	if (machine_is_reset_port(offset, width))
		return reset_port_read(&machine->reset_port, 0, width);
	return pci_port_read(&machine->pci, offset, width);
}

static void machine_pci_port_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct machine *machine = arg;

	if (machine_is_reset_port(offset, width))
		reset_port_write(&machine->reset_port, 0, width, value);
	else
		pci_port_write(&machine->pci, offset, width, value);
}

static int machine_map(struct bus *bus, uint64_t base, uint64_t size, bus_read_fn *read,
		       bus_write_fn *write, void *arg)
{
	struct bus_region region = {
		.base = base, .size = size, .read = read, .write = write, .arg = arg};

	int err = bus_add(bus, &region);

	/* The layout is ours, so this is our own mistake. */
	assert(err == 0);
	return err;
}

/* ---- the parts, each with the function that makes it and the one that undoes it ---- */

static int make_loop(struct machine *machine, const struct machine_config *config)
{
	int err;

	(void)config;
	pthread_mutex_init(&machine->lock, NULL);
	pthread_mutex_init(&machine->gate_lock, NULL);
	pthread_cond_init(&machine->gate_changed, NULL);
	machine->end_task = (struct evloop_task){.fn = machine_on_end, .arg = machine};
	machine->out_task = (struct evloop_task){.fn = machine_on_out, .arg = machine};
	machine->resize_task = (struct evloop_task){.fn = machine_on_disks_resized, .arg = machine};
	machine->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = machine->end_fd < 0 ? -errno : evloop_init(&machine->loop);
	if (err < 0) {
		log_failure(err, "cannot make the main event loop");
		if (machine->end_fd >= 0)
			close(machine->end_fd);
		pthread_cond_destroy(&machine->gate_changed);
		pthread_mutex_destroy(&machine->gate_lock);
		pthread_mutex_destroy(&machine->lock);
	}
	return err;
}

static void undo_loop(struct machine *machine)
{
	evloop_fini(&machine->loop);
	close(machine->end_fd);
	pthread_cond_destroy(&machine->gate_changed);
	pthread_mutex_destroy(&machine->gate_lock);
	pthread_mutex_destroy(&machine->lock);
}

static void undo_memory(struct machine *machine)
{
	guest_mem_fini(&machine->mem);
}

static int make_vm(struct machine *machine, const struct machine_config *config)
{
	int err;

	bus_init(&machine->ports);
	bus_init(&machine->mmio);
	machine->quick_end = config->quick_end;
	machine->dump_fd = config->dump_fd;
	err = vm_init(&machine->vm, &machine->mem);
	return err;
}

static void undo_vm(struct machine *machine)
{
	machine_close_mounts(machine);
	vm_fini(&machine->vm);
}

static int make_ioapic(struct machine *machine, const struct machine_config *config)
{
	struct ioapic_config ioapic = {.deliver = machine_deliver_msi,
				       .route_changed = machine_route_pin,
				       .arg = machine,
				       .id = LAYOUT_IOAPIC_ID};

	(void)config;
	ioapic_init(&machine->ioapic, &ioapic);
	return machine_map(&machine->mmio, LAYOUT_IOAPIC, LAYOUT_IOAPIC_SIZE, ioapic_read,
			   ioapic_write, &machine->ioapic);
}

static void undo_ioapic(struct machine *machine)
{
	ioapic_fini(&machine->ioapic);
}

static int make_serial(struct machine *machine, const struct machine_config *config)
{
	struct console_config console = {.loop = &machine->loop,
					 .in_fd = config->console_in,
					 .out_fd = config->console_out,
					 .keys = config->console_keys,
					 .on_keys = machine_on_keys,
					 .arg = machine};
	struct irq_line irq = ioapic_irq_line(&machine->ioapic, LAYOUT_GSI_SERIAL);
	struct serial_backend backend;
	int err = console_init(&machine->console, &console);

	if (err < 0)
		return log_failure(err, "cannot use the console's descriptors");
	console_listen(&machine->console, config->console_socket);
	backend = console_backend(&machine->console);
	serial_init(&machine->serial, &irq, &backend);
	return machine_map(&machine->ports, LAYOUT_PORT_SERIAL, SERIAL_SIZE, serial_read,
			   serial_write, &machine->serial);
}

static void undo_serial(struct machine *machine)
{
	console_fini(&machine->console);
	serial_fini(&machine->serial);
}

/* What is left of a PC's chips. */
static int make_chips(struct machine *machine, const struct machine_config *config)
{
	int err;

	(void)config;
	i8042_init(&machine->i8042, machine_on_reset, machine);
	err = machine_map(&machine->ports, LAYOUT_PORT_I8042, I8042_SIZE, i8042_read, i8042_write,
			  &machine->i8042);
	cmos_init(&machine->cmos);
	if (err == 0)
		err = machine_map(&machine->ports, LAYOUT_PORT_CMOS, CMOS_SIZE, cmos_read,
				  cmos_write, &machine->cmos);
	return err;
}

static int make_power(struct machine *machine, const struct machine_config *config)
{
	struct acpi_power_config power = {
		.power_off = machine_on_power_off,
		.reset = machine_on_reset,
		.arg = machine,
		.irq = ioapic_irq_line(&machine->ioapic, LAYOUT_GSI_POWER)};

	(void)config;
	acpi_power_init(&machine->power, &power);
	return machine_map(&machine->ports, LAYOUT_PORT_POWER, ACPI_POWER_SIZE, acpi_power_read,
			   acpi_power_write, &machine->power);
}

static void undo_power(struct machine *machine)
{
	acpi_power_fini(&machine->power);
}

static int make_pci(struct machine *machine, const struct machine_config *config)
{
	/* A plain host bridge, by an id for which no driver has quirks. */
	struct pci_ids bridge = {.vendor = 0x1b36, .device = 0x0008, .class_code = 0x060000};
	int err;

	machine->mmio_transport = config->mmio_transport;
	reset_port_init(&machine->reset_port, machine_on_reset, machine);
	pci_bus_init(&machine->pci, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_SIZE);
	pci_bus_set_ports(&machine->pci, LAYOUT_PCI_PORTS, LAYOUT_PCI_PORTS_SIZE);
	/* Without a bridge a kernel that looks for PCI finds nothing at its ports. */
	if (machine->mmio_transport)
		return machine_map(&machine->ports, PCI_PORT_BASE + 1, RESET_PORT_SIZE,
				   reset_port_read, reset_port_write, &machine->reset_port);
	pci_function_init(&machine->host_bridge, &bridge, NULL);
	err = pci_bus_add(&machine->pci, PCI_DEVFN(0, 0), &machine->host_bridge);
	if (err == 0)
		err = machine_map(&machine->ports, PCI_PORT_BASE, PCI_PORT_SIZE,
				  machine_pci_port_read, machine_pci_port_write, machine);
	if (err == 0)
		err = machine_map(&machine->mmio, LAYOUT_PCI_WINDOW, LAYOUT_PCI_WINDOW_SIZE,
				  pci_window_read, pci_window_write, &machine->pci);
	if (err == 0)
		err = machine_map(&machine->ports, LAYOUT_PCI_PORTS, LAYOUT_PCI_PORTS_SIZE,
				  pci_ports_read, pci_ports_write, &machine->pci);
	return err;
}

static void undo_pci(struct machine *machine)
{
	pci_bus_fini(&machine->pci);
}

static int make_cards(struct machine *machine, const struct machine_config *config)
{
	int err = 0;

	for (unsigned int i = 0; i < config->n_disks && err == 0; i++)
		err = machine_add_disk(machine, &config->disks[i], config->cpus);
	for (unsigned int i = 0; i < config->n_nets && err == 0; i++)
		err = machine_add_net(machine, &config->nets[i], config->cpus);
	if (config->vsock && err == 0)
		err = machine_add_vsock(machine, config->vsock);
	for (unsigned int i = 0; i < config->n_shares && err == 0; i++)
		err = machine_add_share(machine, &config->shares[i], i, config->cpus);
	if (config->rng && err == 0)
		err = machine_add_rng(machine);
	if (config->balloon && err == 0)
		err = machine_add_balloon(machine);
	if (config->console_virtio && err == 0)
		err = machine_add_console(machine);
	if (err == 0)
		err = machine_plug_cards(machine);
	if (err < 0)
		machine_remove_cards(machine);
	else
		ioapic_limit_pins(&machine->ioapic,
				  LAYOUT_GSI_VIRTIO +
					  (machine->mmio_transport ? machine->n_cards : 0));
	return err;
}

static void undo_vcpus(struct machine *machine)
{
	for (unsigned int i = 0; i < machine->n_vcpus; i++)
		vcpu_fini(&machine->vcpus[i]);
	vcpu_pause_fini(&machine->pause);
	free(machine->vcpus);
	machine->vcpus = NULL;
	machine->n_vcpus = 0;
}

static int make_vcpus(struct machine *machine, const struct machine_config *config)
{
	struct vcpu_host host = {.pause = &machine->pause,
				 .ports = &machine->ports,
				 .mmio = &machine->mmio,
				 .eoi = machine_on_eoi,
				 .triple_fault = machine_on_triple_fault,
				 .failed = machine_on_failure,
				 .debug = config->gdb ? machine_gdb_on_exit : NULL,
				 .break_at_port = machine_gdb_on_port,
				 .arg = machine};
	struct kvm_cpuid2 *cpuid;
	int err;

	if (config->cpus > machine->vm.max_vcpus) {
		log_error("%u vCPUs are more than this host's KVM allows (%u)", config->cpus,
			  machine->vm.max_vcpus);
		return -EINVAL;
	}
	machine->vcpus = calloc(config->cpus, sizeof(*machine->vcpus));
	if (!machine->vcpus)
		return log_no_memory();
	vcpu_pause_init(&machine->pause, machine->vcpus, config->cpus);
	err = vcpu_cpuid_supported(&machine->vm, &cpuid);
	while (err == 0 && machine->n_vcpus < config->cpus) {
		err = vcpu_init(&machine->vcpus[machine->n_vcpus], &machine->vm, machine->n_vcpus,
				config->cpus, cpuid, &host);
		if (err == 0)
			machine->n_vcpus++;
	}
	free(cpuid);
	if (err < 0)
		undo_vcpus(machine);
	return err;
}

static int load_kernel(struct machine *machine, const struct machine_config *config)
{
	struct boot_entry entry;
	int err = machine_load(machine, config, &entry);

	if (err < 0)
		return err;
	err = vcpu_set_boot_state(&machine->vcpus[0], &entry);
	if (err < 0)
		machine_unload(machine);
	return err;
}

/*
 * The computer, part by part. The order is that of need, and the one in which KVM is fastest: memory before the VM,
 * which takes its slots before anything else (see vm.h). Unpacking the kernel takes longest, so a thread begins with it as
 * soon as there is memory; load_kernel() waits for it, and reports what is wrong with the kernel after all that is wrong with
 * the parts before.
 */
static const struct machine_part {
	int (*make)(struct machine *machine, const struct machine_config *config);
	void (*undo)(struct machine *machine); /* NULL: nothing to undo */
} machine_parts[] = {
	{machine_init_rights, NULL},
	{make_loop, undo_loop},
	{machine_make_memory, undo_memory},
	{machine_begin_load, machine_abandon_load},
	{make_vm, undo_vm},
	{make_ioapic, undo_ioapic},
	{make_serial, undo_serial},
	{make_chips, NULL},
	{make_power, undo_power},
	{make_pci, undo_pci},
	{machine_init_io, machine_fini_io},
	{make_cards, machine_remove_cards},
	{make_vcpus, undo_vcpus},
	{load_kernel, machine_unload},
	{machine_make_gdb, machine_undo_gdb},
};

#define N_PARTS (sizeof(machine_parts) / sizeof(machine_parts[0]))

/* ---- life ---- */

static void machine_note_slow_host(void)
{
	if (!vcpu_host_has_virtualization())
		log_warn("note: this CPU shows neither VT-x nor AMD-V; KVM may emulate the guest's "
			 "kernel, slowly");
}

int machine_create(const struct machine_config *config, struct machine **out)
{
	struct machine *machine;
	int err = machine_check_config(config);

	*out = NULL;
	if (err < 0)
		return err;
	machine = calloc(1, sizeof(*machine));
	if (!machine)
		return log_no_memory();
	while (machine->built < N_PARTS) {
		err = machine_parts[machine->built].make(machine, config);
		if (err < 0) {
			machine_destroy(machine);
			return err;
		}
		machine->built++;
	}
	bus_seal(&machine->ports);
	bus_seal(&machine->mmio);
	machine_note_slow_host();
	log_info("%u vCPUs, %llu MiB of memory, %u disks, %u network cards", machine->n_vcpus,
		 (unsigned long long)(guest_mem_size(&machine->mem) >> 20), config->n_disks,
		 config->n_nets);
	*out = machine;
	return 0;
}

void machine_destroy(struct machine *machine)
{
	if (machine->started) {
		machine_stop_vcpus(machine);
		machine_stop_io(machine);
		evloop_stop(&machine->loop);
	}
	while (machine->built > 0) {
		machine->built--;
		if (machine_parts[machine->built].undo)
			machine_parts[machine->built].undo(machine);
	}
	free(machine);
}
