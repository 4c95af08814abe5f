/* Loads the kernel and describes the machine to it: memory map, command line, ACPI and MP tables. */
#include "vmm/machine/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/acpi.h"
#include "boot/kernel.h"
#include "boot/mptable.h"
#include "vmm/machine/layout_x86.h"

/*
 * The built-in command line. Linux without KVM's clock has nothing else here to tell it how fast the TSC is, and would stand
 * still; it takes 0 for not known. A panic restarts at once (panic=-1), and a restart ends the VM. To tell the two apart, a
 * panic asks the firmware for a warm reset (reboot=panic_warm), which Linux writes to the BIOS data area just
 * before it resets the machine by whatever means: 0x1234 there is a panic, 0 an ordinary reboot. What we put
 * there at first is neither, so that a triple fault out of the blue is told from one that restarts.
 * What each word costs and saves is in docs/boot.md.
 */
#define BOOT_CMDLINE	   "panic=-1 reboot=panic_warm random.trust_cpu=on tsc_early_khz=%u"
#define BOOT_FAST	   " cryptomgr.notests"
#define BOOT_BOUNCE	   " swiotlb=128"
#define BOOT_PCI	   " pci=noearly"
#define RESET_FLAG_INITIAL 0xffff
#define RESET_FLAG_WARM	   0x1234

static uint16_t machine_reset_flag(const struct machine *machine)
{
	uint16_t flag = RESET_FLAG_INITIAL;

	guest_mem_read(&machine->mem, LAYOUT_RESET_FLAG, &flag, sizeof(flag));
	return flag;
}

bool machine_reset_was_panic(const struct machine *machine)
{
	return machine_reset_flag(machine) == RESET_FLAG_WARM;
}

bool machine_reset_was_announced(const struct machine *machine)
{
	return machine_reset_flag(machine) != RESET_FLAG_INITIAL;
}

/*
 * A virtio console works once its driver has been loaded, which in many kernels is a module. Until then the serial port
 * carries the messages, a panic's among them, unless nobody would see them; the kernel hands over without repeating any. What makes it
 * quiet must come first, or all that it has said by then is printed, with an exit for each byte.
 */
static const char *machine_console_words(const struct machine_config *config)
{
	if (!config->console_virtio)
		return "console=ttyS0";
	if (config->console_out < 0 && config->console_socket < 0)
		return "console=hvc0";
	if (config->append && boot_has_word(config->append, "quiet", true))
		return "console=hvc0 quiet earlycon=uart8250,io,0x3f8,115200";
	return "console=hvc0 earlycon=uart8250,io,0x3f8,115200";
}

/*
 * A kernel told not to use ACPI finds virtio-mmio by words on its command line and the MP table. With ACPI it would find
 * each device twice and complain that the second one's registers are taken.
 */
static void machine_print_devices(FILE *line, const struct machine *machine,
				  const struct machine_config *config)
{
	if (!machine->mmio_transport || config->device_tree || !config->append ||
	    !boot_has_word(config->append, "acpi=off", true))
		return;
	for (unsigned int i = 0; i < machine->n_cards; i++)
		fprintf(line, " virtio_mmio.device=%lluK@0x%llx:%u",
			(unsigned long long)(LAYOUT_VIRTIO_STEP >> 10),
			(unsigned long long)(LAYOUT_VIRTIO + i * LAYOUT_VIRTIO_STEP),
			LAYOUT_GSI_VIRTIO + i);
}

/* Returns the command line, to be freed; NULL when there is no memory. */
static char *machine_make_cmdline(const struct machine *machine,
				  const struct machine_config *config)
{
	char *text = NULL;
	size_t len;
	FILE *line;

	if (config->cmdline)
		return strdup(config->cmdline);
	line = open_memstream(&text, &len);
	if (!line)
		return NULL;
	fprintf(line, "%s " BOOT_CMDLINE, machine_console_words(config), machine->vcpus[0].tsc_khz);
	/* In FIPS mode a kernel must test itself, and would anyway. */
	if (!config->append || !boot_has_word(config->append, "fips=1", true))
		fputs(BOOT_FAST, line);
	/* With memory above 4 GiB, Linux clears 64 MiB to copy through for devices that cannot reach it. There are none. */
	if (config->memory > LAYOUT_RAM_LOW_MAX)
		fputs(BOOT_BOUNCE, line);
	if (!machine->mmio_transport)
		fputs(BOOT_PCI, line);
	if (config->n_disks > 0 && !config->initrd && config->n_initrd_parts == 0)
		fprintf(line, " root=/dev/vda %s", config->disks[0].readonly ? "ro" : "rw");
	machine_print_devices(line, machine, config);
	if (config->append)
		fprintf(line, " %s", config->append);
	if (fclose(line) == 0)
		return text;
	free(text);
	return NULL;
}

/* RAM below 1 MiB up to the extended BIOS data area, above it, and above 4 GiB. */
unsigned int machine_make_e820(const struct machine *machine, struct boot_e820 *e820)
{
	const struct guest_mem *mem = &machine->mem;
	unsigned int n = 0;

	e820[n++] = (struct boot_e820){0, LAYOUT_EBDA, BOOT_E820_RAM};
	e820[n++] = (struct boot_e820){LAYOUT_EBDA, LAYOUT_EBDA_END - LAYOUT_EBDA,
				       BOOT_E820_RESERVED};
	e820[n++] = (struct boot_e820){LAYOUT_ACPI, LAYOUT_BIOS_END - LAYOUT_ACPI,
				       BOOT_E820_RESERVED};
	e820[n++] = (struct boot_e820){LAYOUT_BIOS_END, mem->regions[0].size - LAYOUT_BIOS_END,
				       BOOT_E820_RAM};
	for (unsigned int i = 1; i < mem->n_regions; i++)
		e820[n++] = (struct boot_e820){mem->regions[i].base, mem->regions[i].size,
					       BOOT_E820_RAM};
	return n;
}

static int machine_write_acpi(struct machine *machine, gpa_t *rsdp)
{
	struct acpi_config acpi = {
		.n_cpus = machine->n_vcpus,
		.lapic_addr = LAYOUT_LAPIC,
		.ioapic_addr = LAYOUT_IOAPIC,
		.ioapic_id = LAYOUT_IOAPIC_ID,
		.serial = true,
		.serial_port = LAYOUT_PORT_SERIAL,
		.serial_gsi = LAYOUT_GSI_SERIAL,
		.ged_gsi = LAYOUT_GSI_POWER,
		.ged_port = LAYOUT_PORT_POWER + ACPI_POWER_EVENT,
		.sleep_control_port = LAYOUT_PORT_POWER + ACPI_POWER_SLEEP_CONTROL,
		.sleep_status_port = LAYOUT_PORT_POWER + ACPI_POWER_SLEEP_STATUS,
		.reset_port = LAYOUT_PORT_POWER + ACPI_POWER_RESET,
		.reset_value = ACPI_POWER_RESET_VALUE,
		.n_virtio = machine->mmio_transport ? machine->n_cards : 0,
		.virtio_base = (uint32_t)LAYOUT_VIRTIO,
		.virtio_step = (uint32_t)LAYOUT_VIRTIO_STEP,
		.virtio_gsi = LAYOUT_GSI_VIRTIO,
		.pci_mmio_base = LAYOUT_PCI_WINDOW,
		.pci_mmio_size = machine->mmio_transport ? 0 : LAYOUT_PCI_WINDOW_SIZE,
		.pci_io_base = LAYOUT_PCI_PORTS,
		.pci_io_size = LAYOUT_PCI_PORTS_SIZE,
		.area = LAYOUT_ACPI,
		.area_size = LAYOUT_MPTABLE - LAYOUT_ACPI,
	};

	_Static_assert(MACHINE_MAX_VCPUS <= ACPI_MAX_CPUS && MACHINE_MAX_VCPUS <= MPTABLE_MAX_CPUS,
		       "the tables tell of all");
	_Static_assert(ACPI_SLP_TYP_S5 == ACPI_POWER_SLP_TYP_S5, "table and device must agree");
	_Static_assert(ACPI_GED_POWER_BUTTON == ACPI_POWER_EVENT_BUTTON,
		       "table and device must agree");
	return acpi_write(&machine->mem, &acpi, rsdp);
}

/* For kernels without ACPI. */
static int machine_write_mptable(struct machine *machine)
{
	struct mptable_config mptable = {.n_cpus = machine->n_vcpus,
					 .lapic_addr = LAYOUT_LAPIC,
					 .ioapic_addr = LAYOUT_IOAPIC,
					 .ioapic_id = LAYOUT_IOAPIC_ID,
					 .n_pins = machine->ioapic.n_pins,
					 .area = LAYOUT_MPTABLE,
					 .area_size = LAYOUT_BIOS_RESET - LAYOUT_MPTABLE,
					 .first = LAYOUT_EBDA};

	return mptable_write(&machine->mem, &mptable);
}

/*
 * A kernel that is to read a device tree gets no tables. Told by ACPI too, Linux 6.12 takes its virtio-mmio devices from the
 * tree but its interrupts from ACPI, and finds no disk; told by an MP table too, it complains of APICs that are there already.
 */
static int machine_write_tables(struct machine *machine, const struct machine_config *config,
				gpa_t *rsdp)
{
	int err;

	*rsdp = 0;
	if (config->device_tree)
		return 0;
	err = machine_write_acpi(machine, rsdp);
	if (err == 0)
		err = machine_write_mptable(machine);
	if (err < 0)
		log_failure(err, "cannot write the machine's tables");
	return err;
}

#define MACHINE_OPEN_FLAGS (O_RDONLY | O_CLOEXEC | O_NONBLOCK)

/* Opens a file that the guest is made of. Returns the descriptor, or negative errno after a message. */
static int machine_open(const char *what, const char *path)
{
	int fd = open(path, MACHINE_OPEN_FLAGS);

	return fd >= 0 ? fd : log_failure(-errno, "cannot open %s '%s'", what, path);
}

/* What boot_config points to. */
struct machine_boot_arrays {
	struct boot_e820 e820[MACHINE_MAX_E820];
	struct boot_initrd_part parts[MACHINE_MAX_INITRD_PARTS];
};

/* The file, or the largest part: what to make smaller when it does not fit. */
static const char *machine_initrd_name(const struct machine_config *config)
{
	const char *name = config->initrd;
	uint64_t size = 0;

	for (unsigned int i = 0; i < config->n_initrd_parts && !config->initrd; i++) {
		if (!name || config->initrd_parts[i].part.size > size) {
			name = config->initrd_parts[i].name;
			size = config->initrd_parts[i].part.size;
		}
	}
	return name;
}

static struct boot_config machine_boot_config(const struct machine *machine,
					      const struct machine_config *config,
					      struct machine_boot_arrays *arrays)
{
	for (unsigned int i = 0; i < config->n_initrd_parts; i++)
		arrays->parts[i] = config->initrd_parts[i].part;
	return (struct boot_config){.kernel_fd = machine->kernel_fd,
				    .kernel_name = config->kernel,
				    .initrd_fd = machine->initrd_fd,
				    .initrd_name = machine_initrd_name(config),
				    .initrd_parts = arrays->parts,
				    .n_initrd_parts = config->n_initrd_parts,
				    .cmdline = machine->cmdline,
				    .e820 = arrays->e820,
				    .n_e820 = machine_make_e820(machine, arrays->e820),
				    .kaslr = config->kaslr};
}

/* What the user has on the kernel's command line. */
static const char *machine_user_words(const struct machine_config *config)
{
	if (config->cmdline)
		return config->cmdline;
	return config->append ? config->append : "";
}

int machine_begin_load(struct machine *machine, const struct machine_config *config)
{
	struct machine_boot_arrays arrays;
	struct boot_config boot;

	machine->initrd_fd = -1;
	machine->kernel_fd = open(config->kernel, MACHINE_OPEN_FLAGS);
	if (machine->kernel_fd < 0 || !config->unpack)
		return 0;
	if (config->initrd)
		machine->initrd_fd = open(config->initrd, MACHINE_OPEN_FLAGS);
	boot = machine_boot_config(machine, config, &arrays);
	boot.cmdline = machine_user_words(config);
	machine->boot_job = boot_begin(&machine->mem, &boot, config->kernel_cache);
	return 0;
}

void machine_abandon_load(struct machine *machine)
{
	boot_abandon(machine->boot_job);
	machine->boot_job = NULL;
	if (machine->kernel_fd >= 0)
		close(machine->kernel_fd);
	machine->kernel_fd = -1;
	if (machine->initrd_fd >= 0)
		close(machine->initrd_fd);
	machine->initrd_fd = -1;
}

static int machine_load_files(struct machine *machine, const struct machine_config *config,
			      gpa_t rsdp, struct boot_entry *entry)
{
	struct boot_layout layout = {.zero_page = LAYOUT_ZERO_PAGE,
				     .cmdline = LAYOUT_CMDLINE,
				     .cmdline_max = LAYOUT_CMDLINE_MAX,
				     .gdt = LAYOUT_GDT,
				     .page_tables = LAYOUT_PAGE_TABLES,
				     .pvh_info = LAYOUT_PVH_INFO,
				     .acpi_rsdp = rsdp,
				     .setup_data = config->device_tree ? LAYOUT_SETUP_DATA : 0,
				     .rng_seed = LAYOUT_RNG_SEED};
	struct machine_boot_arrays arrays;
	struct boot_config boot;
	int err;

	if (machine->kernel_fd < 0)
		machine->kernel_fd = machine_open("kernel", config->kernel);
	if (machine->kernel_fd < 0)
		return machine->kernel_fd;
	if (config->initrd && machine->initrd_fd < 0)
		machine->initrd_fd = machine_open("initrd", config->initrd);
	if (config->initrd && machine->initrd_fd < 0)
		return machine->initrd_fd;
	boot = machine_boot_config(machine, config, &arrays);
	boot.layout = &layout;
	err = boot_finish(machine->boot_job, &machine->mem, &boot, entry);
	machine->boot_job = NULL;
	machine_abandon_load(machine);
	if (err == 0) {
		machine->initrd = entry->initrd;
		machine->initrd_size = entry->initrd_size;
	}
	return err;
}

/*
 * What a guest says by a reset, and where a reset through the BIOS goes to (reboot=bios): it asks the keyboard controller for one. The
 * instructions are the same in each mode.
 */
static void machine_write_reset(struct machine *machine)
{
	static const uint8_t code[] = {
		0xb0, 0xfe, /* mov $0xfe, %al */
		0xe6, 0x64, /* out %al, $0x64 */
		0xf4,	    /* hlt */
	};
	uint16_t flag = RESET_FLAG_INITIAL;

	guest_mem_write(&machine->mem, LAYOUT_RESET_FLAG, &flag, sizeof(flag));
	guest_mem_write(&machine->mem, LAYOUT_BIOS_RESET, code, sizeof(code));
}

int machine_load(struct machine *machine, const struct machine_config *config,
		 struct boot_entry *entry)
{
	gpa_t rsdp;
	int err;

	err = machine_write_tables(machine, config, &rsdp);
	if (err < 0)
		return err;
	machine_write_reset(machine);
	machine->cmdline = machine_make_cmdline(machine, config);
	if (!machine->cmdline)
		return log_no_memory();
	log_debug("command line: %s", machine->cmdline);
	err = machine_load_files(machine, config, rsdp, entry);
	if (err == 0 && config->device_tree)
		err = machine_write_tree(machine);
	if (err < 0)
		machine_unload(machine);
	return err;
}

void machine_unload(struct machine *machine)
{
	free(machine->cmdline);
	machine->cmdline = NULL;
}
