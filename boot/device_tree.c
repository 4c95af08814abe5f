#include "boot/device_tree.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <asm/bootparam.h>
#include <libfdt.h>

#include "vmm/core/assert.h"

#define PHANDLE_IOAPIC 1
#define APIC_REGISTERS 0x1000

/*
 * The second cell of an interrupt, an edge that rises, by the words of the binding. Linux of today sets the pin's polarity to
 * low for it; our IO-APIC has no use for polarity.
 */
#define SENSE_EDGE_RISING 0

/* The first cell of an address in an ISA bus's I/O space, and in PCI's memory space. */
#define ISA_IO	   1
#define PCI_MEMORY 0x02000000

#define ISA_PORTS    0x10000
#define SERIAL_PORTS 8
#define SERIAL_CLOCK 1843200
#define SERIAL_SPEED 115200

/* No less than the nodes need, with their share of the names; the command line comes on top. */
#define SIZE_FIXED	2048
#define SIZE_PER_CPU	64
#define SIZE_PER_E820	16
#define SIZE_PER_VIRTIO 128

/* The tree so far. */
struct tree {
	void *blob;
	int failed; /* not 0: something had no room */
};

__attribute__((format(printf, 2, 3))) static void tree_begin(struct tree *tree, const char *fmt,
							     ...)
{
	char name[40];
	va_list args;

	va_start(args, fmt);
	vsnprintf(name, sizeof(name), fmt, args);
	va_end(args);
	tree->failed |= fdt_begin_node(tree->blob, name);
}

static void tree_end(struct tree *tree)
{
	tree->failed |= fdt_end_node(tree->blob);
}

static void tree_bytes(struct tree *tree, const char *name, const void *bytes, size_t len)
{
	tree->failed |= fdt_property(tree->blob, name, bytes, (int)len);
}

static void tree_flag(struct tree *tree, const char *name)
{
	tree_bytes(tree, name, NULL, 0);
}

static void tree_string(struct tree *tree, const char *name, const char *value)
{
	tree_bytes(tree, name, value, strlen(value) + 1);
}

static void tree_cell(struct tree *tree, const char *name, uint32_t value)
{
	tree->failed |= fdt_property_u32(tree->blob, name, value);
}

static void tree_u64(struct tree *tree, const char *name, uint64_t value)
{
	tree->failed |= fdt_property_u64(tree->blob, name, value);
}

/* A range of the CPUs' addresses: two cells each, as the root says. */
static void tree_reg(struct tree *tree, uint64_t base, uint64_t size)
{
	const uint64_t reg[] = {cpu_to_fdt64(base), cpu_to_fdt64(size)};

	tree_bytes(tree, "reg", reg, sizeof(reg));
}

static void tree_interrupt(struct tree *tree, uint32_t pin)
{
	const uint32_t cells[] = {cpu_to_fdt32(pin), cpu_to_fdt32(SENSE_EDGE_RISING)};

	tree_bytes(tree, "interrupts", cells, sizeof(cells));
}

/* How many cells the addresses and sizes of a node's children have. */
static void tree_cells(struct tree *tree, uint32_t address, uint32_t size)
{
	tree_cell(tree, "#address-cells", address);
	tree_cell(tree, "#size-cells", size);
}

/* ---- the nodes ---- */

static void tree_add_chosen(struct tree *tree, const struct device_tree_config *cfg)
{
	tree_begin(tree, "chosen");
	tree_string(tree, "bootargs", cfg->cmdline);
	tree_string(tree, "stdout-path", "serial0:115200n8");
	if (cfg->initrd_size > 0) {
		tree_u64(tree, "linux,initrd-start", cfg->initrd);
		tree_u64(tree, "linux,initrd-end", cfg->initrd + cfg->initrd_size);
	}
	tree_end(tree);
}

static void tree_add_aliases(struct tree *tree, const struct device_tree_config *cfg)
{
	char path[40];

	snprintf(path, sizeof(path), "/soc/isa@0/serial@i%x", cfg->serial_port);
	tree_begin(tree, "aliases");
	tree_string(tree, "serial0", path);
	tree_end(tree);
}

static void tree_add_cpus(struct tree *tree, const struct device_tree_config *cfg)
{
	tree_begin(tree, "cpus");
	tree_cells(tree, 1, 0);
	for (unsigned int id = 0; id < cfg->n_cpus; id++) {
		tree_begin(tree, "cpu@%x", id);
		tree_string(tree, "device_type", "cpu");
		tree_cell(tree, "reg", id);
		tree_end(tree);
	}
	tree_end(tree);
}

static void tree_add_memory(struct tree *tree, const struct device_tree_config *cfg)
{
	uint64_t reg[2 * BOOT_E820_MAX];
	size_t n = 0;

	assert(cfg->n_e820 <= BOOT_E820_MAX);
	for (unsigned int i = 0; i < cfg->n_e820; i++) {
		if (cfg->e820[i].type != BOOT_E820_RAM)
			continue;
		reg[n++] = cpu_to_fdt64(cfg->e820[i].base);
		reg[n++] = cpu_to_fdt64(cfg->e820[i].size);
	}
	assert(n > 0 && reg[0] == 0); /* as the node's name says */
	tree_begin(tree, "memory@0");
	tree_string(tree, "device_type", "memory");
	tree_bytes(tree, "reg", reg, n * sizeof(reg[0]));
	tree_end(tree);
}

static void tree_add_apics(struct tree *tree, const struct device_tree_config *cfg)
{
	tree_begin(tree, "interrupt-controller@%" PRIx32, cfg->ioapic_addr);
	tree_string(tree, "compatible", "intel,ce4100-ioapic");
	tree_reg(tree, cfg->ioapic_addr, APIC_REGISTERS);
	tree_flag(tree, "interrupt-controller");
	tree_cell(tree, "#interrupt-cells", 2);
	tree_cell(tree, "#address-cells", 0);
	tree_cell(tree, "phandle", PHANDLE_IOAPIC);
	tree_end(tree);

	tree_begin(tree, "interrupt-controller@%" PRIx32, cfg->lapic_addr);
	tree_string(tree, "compatible", "intel,ce4100-lapic");
	tree_reg(tree, cfg->lapic_addr, APIC_REGISTERS);
	tree_end(tree);
}

/* The id and the bindings that Linux and others know virtio-mmio by. Its registers are coherent memory. */
static void tree_add_virtio(struct tree *tree, const struct device_tree_config *cfg, unsigned int i)
{
	uint64_t base = cfg->virtio_base + i * cfg->virtio_step;

	tree_begin(tree, "virtio@%" PRIx64, base);
	tree_string(tree, "compatible", "virtio,mmio");
	tree_reg(tree, base, cfg->virtio_step);
	tree_interrupt(tree, cfg->virtio_gsi + i);
	tree_flag(tree, "dma-coherent");
	tree_end(tree);
}

/*
 * The ranges stand for the CPUs' I/O space, for which the specification has no addresses: Linux on x86 takes the addresses
 * that they lead to for ports.
 */
static void tree_add_isa(struct tree *tree, const struct device_tree_config *cfg)
{
	const uint32_t ranges[] = {cpu_to_fdt32(ISA_IO), 0, 0, 0, cpu_to_fdt32(ISA_PORTS)};
	const uint32_t reg[] = {cpu_to_fdt32(ISA_IO), cpu_to_fdt32(cfg->serial_port),
				cpu_to_fdt32(SERIAL_PORTS)};

	tree_begin(tree, "isa@0");
	tree_string(tree, "device_type", "isa");
	tree_string(tree, "compatible", "isa");
	tree_cells(tree, 2, 1);
	tree_bytes(tree, "ranges", ranges, sizeof(ranges));
	tree_begin(tree, "serial@i%x", cfg->serial_port);
	tree_string(tree, "device_type", "serial");
	tree_string(tree, "compatible", "ns16550a");
	tree_bytes(tree, "reg", reg, sizeof(reg));
	tree_interrupt(tree, cfg->serial_gsi);
	tree_cell(tree, "clock-frequency", SERIAL_CLOCK);
	tree_cell(tree, "current-speed", SERIAL_SPEED);
	tree_end(tree);
	tree_end(tree);
}

/* All that has registers. */
static void tree_add_soc(struct tree *tree, const struct device_tree_config *cfg)
{
	tree_begin(tree, "soc");
	tree_string(tree, "compatible", "simple-bus");
	tree_cells(tree, 2, 2);
	tree_flag(tree, "ranges");
	tree_add_apics(tree, cfg);
	for (unsigned int i = 0; i < cfg->n_virtio; i++)
		tree_add_virtio(tree, cfg, i);
	tree_add_isa(tree, cfg);
	tree_end(tree);
}

/* The functions are found by configuration mechanism 1. No interrupt-map: they have MSI-X alone. */
static void tree_add_pci(struct tree *tree, const struct device_tree_config *cfg)
{
	const uint32_t bus_range[] = {0, 0};
	const uint32_t ranges[] = {cpu_to_fdt32(PCI_MEMORY),
				   0,
				   cpu_to_fdt32((uint32_t)cfg->pci_mmio_base),
				   0,
				   cpu_to_fdt32((uint32_t)cfg->pci_mmio_base),
				   0,
				   cpu_to_fdt32((uint32_t)cfg->pci_mmio_size)};

	tree_begin(tree, "pci@%" PRIx64, cfg->pci_mmio_base);
	tree_string(tree, "device_type", "pci");
	tree_string(tree, "compatible", "pci");
	tree_cells(tree, 3, 2);
	tree_bytes(tree, "bus-range", bus_range, sizeof(bus_range));
	tree_bytes(tree, "ranges", ranges, sizeof(ranges));
	tree_end(tree);
}

static void tree_add_root(struct tree *tree, const struct device_tree_config *cfg)
{
	tree_begin(tree, "%s", "");
	tree_string(tree, "model", "vmm");
	tree_string(tree, "compatible", "vmm,pc");
	tree_cells(tree, 2, 2);
	tree_cell(tree, "interrupt-parent", PHANDLE_IOAPIC);
	tree_add_chosen(tree, cfg);
	tree_add_aliases(tree, cfg);
	tree_add_cpus(tree, cfg);
	tree_add_memory(tree, cfg);
	tree_add_soc(tree, cfg);
	if (cfg->pci_mmio_size > 0)
		tree_add_pci(tree, cfg);
	tree_end(tree);
}

void *device_tree_make(const struct device_tree_config *cfg)
{
	size_t size = SIZE_FIXED + strlen(cfg->cmdline) + (size_t)cfg->n_cpus * SIZE_PER_CPU +
		      (size_t)cfg->n_e820 * SIZE_PER_E820 + (size_t)cfg->n_virtio * SIZE_PER_VIRTIO;
	struct tree tree = {.blob = malloc(size)};

	if (!tree.blob)
		return NULL;
	tree.failed |= fdt_create(tree.blob, (int)size);
	tree.failed |= fdt_finish_reservemap(tree.blob);
	tree_add_root(&tree, cfg);
	tree.failed |= fdt_finish(tree.blob);
	assert(!tree.failed);
	return tree.blob;
}

static_assert(sizeof(struct setup_data) == DEVICE_TREE_HEAD, "boot.rst, setup_data");

size_t device_tree_size(const void *tree)
{
	return fdt_totalsize(tree);
}

int device_tree_write(const struct guest_mem *mem, gpa_t setup_data, const void *tree)
{
	const struct setup_data head = {.type = SETUP_DTB, .len = fdt_totalsize(tree)};
	int ret = guest_mem_write(mem, setup_data, &head, sizeof(head));

	if (ret == 0)
		ret = guest_mem_write(mem, setup_data + sizeof(head), tree, head.len);
	return ret;
}
