/*
 * The wire structs of the ACPI tables that boot/acpi.c writes, from ACPI 6.3 chapter 5.2 (no uapi or libc
 * header has them).
 *
 * Internal to boot/.
 */
#pragma once

#include <stdint.h>

/* 5.2.3.2 Generic Address Structure */
struct acpi_address {
	uint8_t space_id;
	uint8_t bit_width;
	uint8_t bit_offset;
	uint8_t access_size;
	uint64_t address;
} __attribute__((packed));

#define ACPI_SPACE_SYSTEM_IO 1
#define ACPI_ACCESS_BYTE     1

/* 5.2.5.3 */
struct acpi_rsdp {
	char signature[8];
	uint8_t checksum; /* of the first 20 bytes */
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt_address;
	uint32_t length;
	uint64_t xsdt_address;
	uint8_t extended_checksum; /* of all */
	uint8_t reserved[3];
} __attribute__((packed));

#define ACPI_RSDP_V1_LENGTH 20

/* 5.2.6 */
struct acpi_header {
	char signature[4];
	uint32_t length;
	uint8_t revision;
	uint8_t checksum;
	char oem_id[6];
	char oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
} __attribute__((packed));

/* 5.2.8, without its entries of 8 bytes */
struct acpi_xsdt {
	struct acpi_header header;
	uint64_t tables[2];
} __attribute__((packed));

/* 5.2.9 */
struct acpi_fadt {
	struct acpi_header header;
	uint32_t firmware_ctrl;
	uint32_t dsdt;
	uint8_t reserved1;
	uint8_t preferred_pm_profile;
	uint16_t sci_int;
	/* SMI_CMD to P_LVL3_LAT: fixed hardware, absent and zero */
	uint8_t fixed_hardware[52];
	uint16_t flush_size;
	uint16_t flush_stride;
	uint8_t duty_offset;
	uint8_t duty_width;
	uint8_t day_alrm;
	uint8_t mon_alrm;
	uint8_t century;
	uint16_t iapc_boot_arch;
	uint8_t reserved2;
	uint32_t flags;
	struct acpi_address reset_reg;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor_version;
	uint64_t x_firmware_ctrl;
	uint64_t x_dsdt;
	/* X_PM1a_EVT_BLK to X_GPE1_BLK */
	struct acpi_address x_fixed_hardware[8];
	struct acpi_address sleep_control_reg;
	struct acpi_address sleep_status_reg;
	uint64_t hypervisor_vendor;
} __attribute__((packed));

/* Table 5-34 Fixed ACPI Description Table Fixed Feature Flags */
#define ACPI_FADT_WBINVD	  (1 << 0)
#define ACPI_FADT_PROC_C1	  (1 << 2) /* HLT works on all CPUs */
#define ACPI_FADT_PWR_BUTTON	  (1 << 4) /* none, or a control method one */
#define ACPI_FADT_SLP_BUTTON	  (1 << 5)
#define ACPI_FADT_FIX_RTC	  (1 << 6) /* no wake status in fixed registers */
#define ACPI_FADT_RESET_REG_SUP	  (1 << 10)
#define ACPI_FADT_HW_REDUCED_ACPI (1 << 20)

/* 5.2.9.3 IA-PC Boot Architecture Flags; clear: no LEGACY_DEVICES, no 8042, MSI works */
#define ACPI_BOOT_VGA_NOT_PRESENT      (1 << 2)
#define ACPI_BOOT_CMOS_RTC_NOT_PRESENT (1 << 5)

/* 5.2.12 */
struct acpi_madt {
	struct acpi_header header;
	uint32_t lapic_address;
	uint32_t flags; /* 0: no 8259 pair (PCAT_COMPAT) */
} __attribute__((packed));

/* 5.2.12.2 */
struct acpi_madt_lapic {
	uint8_t type;
	uint8_t length;
	uint8_t uid;
	uint8_t apic_id;
	uint32_t flags;
} __attribute__((packed));

/* 5.2.12.3 */
struct acpi_madt_ioapic {
	uint8_t type;
	uint8_t length;
	uint8_t id;
	uint8_t reserved;
	uint32_t address;
	uint32_t gsi_base;
} __attribute__((packed));

#define ACPI_MADT_LAPIC	      0
#define ACPI_MADT_IOAPIC      1
#define ACPI_MADT_CPU_ENABLED 1
