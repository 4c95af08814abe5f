/*
 * ACPI tables of a hardware-reduced machine (ACPI 6.3, 4.1 and 5.2): RSDP, XSDT, FADT, MADT and a DSDT.
 *
 * The DSDT tells of one serial port, a power button announced by a generic event device (5.6.9), virtio-mmio
 * devices (LNRO0005), and a PCI host bridge with one bus behind configuration mechanism 1. There is no MCFG, PM timer, SCI, 8259, 8042,
 * CMOS clock or VGA.
 *
 * Owner: the tables belong to the guest once it runs. Threads: any, while no vCPU runs.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/core/guest_mem.h"

/* What the guest writes as SLP_TYP into the sleep control register to power off (4.8.3.7). */
#define ACPI_SLP_TYP_S5 5

/* The event device's register, one byte in I/O space, cleared by the read (8 bits of pending events). */
#define ACPI_GED_POWER_BUTTON 0x01

#define ACPI_MAX_VIRTIO 100
#define ACPI_MAX_CPUS	255 /* 8-bit ids; the last one means all */

struct acpi_config {
	unsigned int n_cpus; /* at most ACPI_MAX_CPUS; APIC ids are 0 to n_cpus - 1 */
	uint32_t lapic_addr;
	uint32_t ioapic_addr; /* one IO-APIC, first GSI 0 */
	uint8_t ioapic_id;

	bool serial;
	uint16_t serial_port; /* 8 ports */
	uint8_t serial_gsi;   /* edge, active high */

	uint8_t ged_gsi; /* edge, active high */
	uint16_t ged_port;

	uint16_t sleep_control_port;
	uint16_t sleep_status_port;
	uint16_t reset_port;
	uint8_t reset_value;

	unsigned int n_virtio; /* virtio-mmio devices, one after another; at most ACPI_MAX_VIRTIO */
	uint32_t virtio_base;
	uint32_t virtio_step; /* bytes of each */
	uint32_t virtio_gsi;  /* of the first; edge, active high */

	uint64_t pci_mmio_base; /* [base, base + size) below 4 GiB */
	uint64_t pci_mmio_size; /* 0: no PCI host bridge */
	uint16_t pci_io_base;
	uint16_t pci_io_size; /* 0: no I/O window */

	gpa_t area; /* multiple of 16; Linux also finds it without help in 0xe0000 to 0xfffff */
	size_t area_size;
};

/*
 * Writes the tables to the area, the RSDP at its beginning, and tells where that is. Returns 0, -ENOSPC when
 * they need more than area_size bytes, -EFAULT when the area is not RAM, or -ENOMEM.
 */
int acpi_write(const struct guest_mem *mem, const struct acpi_config *cfg, gpa_t *rsdp);
