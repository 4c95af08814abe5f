/*
 * A flattened device tree (Devicetree Specification 0.4, chapter 5) of the same machine that the ACPI and MP tables tell of.
 *
 * CPUs and interrupt controllers are as Linux reads them on x86 (Documentation/devicetree/bindings/x86/ce4100.txt and
 * interrupt-controller/intel,ce4100-ioapic.txt), the serial port is on an ISA bus (IEEE 1275), virtio devices are virtio,mmio.
 * What has no binding is left out: power off, the power button and the reset registers.
 *
 * Owner: a tree is the caller's, to be freed. Threads: any, for device_tree_write() while no vCPU runs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "boot/kernel.h"
#include "vmm/core/guest_mem.h"

struct device_tree_config {
	unsigned int n_cpus;	      /* APIC ids are 0 to n_cpus - 1 */
	const struct boot_e820 *e820; /* of which the RAM is told of, from 0 on */
	unsigned int n_e820;	      /* at most BOOT_E820_MAX */

	const char *cmdline;
	gpa_t initrd;
	uint64_t initrd_size; /* 0: none */

	uint32_t lapic_addr;
	uint32_t ioapic_addr;
	uint16_t serial_port; /* 8 ports */
	uint8_t serial_gsi;   /* edge, active high */

	unsigned int n_virtio; /* virtio-mmio devices, one after another */
	uint64_t virtio_base;
	uint64_t virtio_step; /* bytes of each */
	uint32_t virtio_gsi;  /* of the first; edge, active high */

	uint64_t pci_mmio_base; /* [base, base + size) below 4 GiB */
	uint64_t pci_mmio_size; /* 0: no PCI host bridge */
};

/* Returns a tree, or NULL when there is no memory. */
void *device_tree_make(const struct device_tree_config *cfg);

/* Bytes of the tree. */
size_t device_tree_size(const void *tree);

/*
 * Hands the tree to a Linux kernel, as the only entry of the list that begins where boot_layout.setup_data says. It takes
 * DEVICE_TREE_HEAD bytes more than the tree. Returns 0, or -EFAULT when that is not RAM.
 */
#define DEVICE_TREE_HEAD 16
int device_tree_write(const struct guest_mem *mem, gpa_t setup_data, const void *tree);
