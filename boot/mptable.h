/*
 * The Intel MultiProcessor Specification 1.4 tables, for kernels that have no ACPI.
 *
 * They tell of the CPUs, one ISA bus, and one IO-APIC whose pins are the interrupts of the same number: 0 to
 * 15 as a PC has them, and as many more as the machine's devices need. All are edges, as ISA has them.
 *
 * Owner: the tables belong to the guest once it runs. Threads: any, while no vCPU runs.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/core/guest_mem.h"

struct mptable_config {
	unsigned int
		n_cpus; /* APIC ids are 0 to n_cpus - 1; the table can tell of MPTABLE_MAX_CPUS */
	uint32_t lapic_addr;
	uint32_t ioapic_addr;
	uint8_t ioapic_id;
	unsigned int n_pins; /* that are told of, from 0; 16 to 256 */
	/*
	 * The floating pointer goes to its beginning, a multiple of 16. Kernels look for it in the first KiB of
	 * the EBDA, the last KiB of base memory, and 0xf0000 to 0xfffff (chapter 4).
	 */
	gpa_t area;
	size_t area_size;
	/*
	 * It goes here as well: Linux looks through the last KiB of base memory first, and maps all that is left of a place anew for each 16
	 * bytes of it.
	 */
	gpa_t first;
};

/* Further CPUs are left out: their ids are not those of an 8-bit APIC. */
#define MPTABLE_MAX_CPUS 255

/* Returns 0, -ENOSPC when the tables need more than area_size, -EFAULT when that is not RAM, or -ENOMEM. */
int mptable_write(const struct guest_mem *mem, const struct mptable_config *cfg);
