/*
 * The wire structs of the MultiProcessor Specification 1.4, chapter 4 (no uapi or libc header has them).
 *
 * Internal to boot/.
 */
#pragma once

#include <stdint.h>

/* 4.1 */
struct mp_floating {
	char signature[4]; /* "_MP_" */
	uint32_t table;
	uint8_t length; /* in units of 16 bytes */
	uint8_t spec_rev;
	uint8_t checksum;
	uint8_t default_config; /* 0: there is a table */
	uint8_t imcr;		/* 0: virtual wire mode */
	uint8_t reserved[3];
} __attribute__((packed));

/* 4.2 */
struct mp_header {
	char signature[4]; /* "PCMP" */
	uint16_t length;
	uint8_t spec_rev;
	uint8_t checksum;
	char oem_id[8];
	char product_id[12];
	uint32_t oem_table;
	uint16_t oem_table_size;
	uint16_t entry_count;
	uint32_t lapic_address;
	uint16_t extended_length;
	uint8_t extended_checksum;
	uint8_t reserved;
} __attribute__((packed));

#define MP_SPEC_REV 4

/* 4.3.1 */
struct mp_processor {
	uint8_t type;
	uint8_t apic_id;
	uint8_t apic_version;
	uint8_t flags;
	uint32_t signature;
	uint32_t features;
	uint32_t reserved[2];
} __attribute__((packed));

/* 4.3.2 */
struct mp_bus {
	uint8_t type;
	uint8_t id;
	char name[6];
} __attribute__((packed));

/* 4.3.3 */
struct mp_ioapic {
	uint8_t type;
	uint8_t id;
	uint8_t version;
	uint8_t flags;
	uint32_t address;
} __attribute__((packed));

/* 4.3.4 and 4.3.5: I/O and local interrupt assignment */
struct mp_interrupt {
	uint8_t type;
	uint8_t kind;
	uint16_t flags; /* 0: polarity and trigger mode as the bus has them */
	uint8_t bus;
	uint8_t bus_irq;
	uint8_t apic_id;
	uint8_t apic_pin;
} __attribute__((packed));

#define MP_TYPE_PROCESSOR	0
#define MP_TYPE_BUS		1
#define MP_TYPE_IOAPIC		2
#define MP_TYPE_INTERRUPT	3
#define MP_TYPE_LOCAL_INTERRUPT 4

#define MP_PROCESSOR_ENABLED 0x01
#define MP_PROCESSOR_BSP     0x02
#define MP_IOAPIC_ENABLED    0x01

#define MP_KIND_INT    0
#define MP_KIND_NMI    1
#define MP_KIND_EXTINT 3
#define MP_APIC_ALL    0xff
