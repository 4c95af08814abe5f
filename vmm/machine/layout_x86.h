/*
 * Every guest-physical address, port and interrupt of the x86 machine, in one table.
 *
 * RAM starts at 0 and leaves out the hole below 4 GiB. What the boot code places for the kernel lies together
 * below 1 MiB, so that it touches one huge page only.
 */
#pragma once

#include <stdint.h>

/* Guest-physical memory */
#define LAYOUT_RAM_LOW_MAX     UINT64_C(0xc0000000) /* RAM below the hole ends here at the latest */
#define LAYOUT_PCI_WINDOW      UINT64_C(0xc0000000) /* BARs of PCI functions */
#define LAYOUT_PCI_WINDOW_SIZE UINT64_C(0x10000000)
#define LAYOUT_VIRTIO	       UINT64_C(0xd0000000) /* with --transport mmio: a page of registers a card */
#define LAYOUT_VIRTIO_STEP     UINT64_C(0x1000)
#define LAYOUT_IOAPIC	       UINT64_C(0xfec00000)
#define LAYOUT_IOAPIC_SIZE     UINT64_C(0x1000)
#define LAYOUT_LAPIC	       UINT64_C(0xfee00000)
/* Four pages that KVM uses itself on Intel: one for the identity map, three for the TSS. */
#define LAYOUT_IDENTITY_MAP    UINT64_C(0xfffbc000)
#define LAYOUT_TSS	       UINT64_C(0xfffbd000)
#define LAYOUT_RAM_HIGH	       UINT64_C(0x100000000) /* RAM above the hole starts here */

/* Low memory */
#define LAYOUT_RESET_FLAG                                                                          \
	UINT64_C(0x472) /* BIOS data area: why the machine is being reset, 16 bits */
#define LAYOUT_GDT	      UINT64_C(0x500)
#define LAYOUT_PVH_INFO	      UINT64_C(0x6000)
#define LAYOUT_ZERO_PAGE      UINT64_C(0x7000)
#define LAYOUT_RNG_SEED	      UINT64_C(0x8000)
#define LAYOUT_PAGE_TABLES    UINT64_C(0x9000) /* up to 0xf000 */
#define LAYOUT_CMDLINE	      UINT64_C(0x20000)
#define LAYOUT_CMDLINE_MAX    0x10000
#define LAYOUT_SETUP_DATA     UINT64_C(0x30000) /* a device tree */
#define LAYOUT_SETUP_DATA_MAX 0x30000
#define LAYOUT_EBDA	      UINT64_C(0x9fc00) /* 1 KiB, reserved; the MP table is found by it */
#define LAYOUT_EBDA_END	      UINT64_C(0xa0000)
#define LAYOUT_ACPI	      UINT64_C(0xe0000)
#define LAYOUT_MPTABLE	      UINT64_C(0xf8000)
#define LAYOUT_BIOS_RESET     UINT64_C(0xffff0) /* f000:fff0, jumped to for a reset */
#define LAYOUT_BIOS_END	      UINT64_C(0x100000)

/* Ports */
#define LAYOUT_PORT_I8042     0x60   /* 0x60 to 0x64 */
#define LAYOUT_PORT_CMOS      0x70   /* and 0x71 */
#define LAYOUT_PORT_SERIAL    0x3f8  /* COM1 */
#define LAYOUT_PORT_POWER     0x600  /* ACPI power registers */
#define LAYOUT_PCI_PORTS      0xc000 /* BARs of PCI functions */
#define LAYOUT_PCI_PORTS_SIZE 0x3000

/* Interrupts: pins of the IO-APIC, which are also the first global system interrupts */
#define LAYOUT_GSI_SERIAL 4
#define LAYOUT_GSI_POWER  9
#define LAYOUT_GSI_VIRTIO 16 /* and on: a pin for each card, with --transport mmio */
#define LAYOUT_IOAPIC_ID  0  /* has its own number space on CPUs of today */
#define LAYOUT_GSI_MSI	  64 /* numbers from here on stand for MSI messages */
