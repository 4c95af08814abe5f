#include "boot/acpi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/acpi_tables.h"
#include "boot/checksum.h"
#include "boot/dsdt.h"
#include "vmm/core/assert.h"

#define DSDT_MAX 10240

#define XSDT_REVISION 1
#define FADT_REVISION 6
#define FADT_MINOR    3
#define MADT_REVISION 5
#define DSDT_REVISION 2 /* integers of 64 bits */
#define RSDP_REVISION 2

#define TABLE_ALIGN 16

static_assert(sizeof(struct acpi_rsdp) == 36, "5.2.5.3");
static_assert(sizeof(struct acpi_header) == 36, "5.2.6");
static_assert(sizeof(struct acpi_fadt) == 276, "5.2.9");

/* Tables are put one behind the other. */
struct acpi_area {
	const struct guest_mem *mem;
	gpa_t next;
	size_t left;
};

static int acpi_put(struct acpi_area *area, const void *table, size_t len, gpa_t *gpa)
{
	size_t taken = (len + TABLE_ALIGN - 1) & ~(size_t)(TABLE_ALIGN - 1);

	if (taken > area->left)
		return -ENOSPC;
	*gpa = area->next;
	area->next += taken;
	area->left -= taken;
	return guest_mem_write(area->mem, *gpa, table, len);
}

static void acpi_init_header(struct acpi_header *header, const char *signature, uint8_t revision)
{
	memcpy(header->signature, signature, sizeof(header->signature));
	header->revision = revision;
	memcpy(header->oem_id, "VMM   ", sizeof(header->oem_id));
	memcpy(header->oem_table_id, "VMM     ", sizeof(header->oem_table_id));
	header->oem_revision = 1;
	memcpy(header->creator_id, "VMM ", sizeof(header->creator_id));
	header->creator_revision = 1;
}

/* header is the beginning of a table of len bytes. */
static int acpi_put_table(struct acpi_area *area, struct acpi_header *header, size_t len,
			  gpa_t *gpa)
{
	header->length = (uint32_t)len;
	header->checksum = 0;
	header->checksum = checksum_make(header, len);
	return acpi_put(area, header, len, gpa);
}

static int acpi_put_dsdt(struct acpi_area *area, const struct acpi_config *cfg, gpa_t *gpa)
{
	union {
		struct acpi_header header;
		uint8_t bytes[DSDT_MAX];
	} table = {.bytes = {0}};
	struct aml aml;

	acpi_init_header(&table.header, "DSDT", DSDT_REVISION);
	aml_init(&aml, table.bytes + sizeof(table.header), DSDT_MAX - sizeof(table.header));
	dsdt_write(&aml, cfg);
	assert(!aml.failed); /* DSDT_MAX is enough for ACPI_MAX_VIRTIO */
	return acpi_put_table(area, &table.header, sizeof(table.header) + aml.len, gpa);
}

static struct acpi_address acpi_io_byte(uint16_t port)
{
	return (struct acpi_address){
		.space_id = ACPI_SPACE_SYSTEM_IO,
		.bit_width = 8,
		.access_size = ACPI_ACCESS_BYTE,
		.address = port,
	};
}

static int acpi_put_fadt(struct acpi_area *area, const struct acpi_config *cfg, gpa_t dsdt,
			 gpa_t *gpa)
{
	struct acpi_fadt fadt = {
		.iapc_boot_arch = ACPI_BOOT_VGA_NOT_PRESENT | ACPI_BOOT_CMOS_RTC_NOT_PRESENT,
		.flags = ACPI_FADT_WBINVD | ACPI_FADT_PROC_C1 | ACPI_FADT_PWR_BUTTON |
			 ACPI_FADT_SLP_BUTTON | ACPI_FADT_FIX_RTC | ACPI_FADT_RESET_REG_SUP |
			 ACPI_FADT_HW_REDUCED_ACPI,
		.reset_reg = acpi_io_byte(cfg->reset_port),
		.reset_value = cfg->reset_value,
		.minor_version = FADT_MINOR,
		.x_dsdt = dsdt,
		.sleep_control_reg = acpi_io_byte(cfg->sleep_control_port),
		.sleep_status_reg = acpi_io_byte(cfg->sleep_status_port),
	};

	acpi_init_header(&fadt.header, "FACP", FADT_REVISION);
	return acpi_put_table(area, &fadt.header, sizeof(fadt), gpa);
}

static int acpi_put_madt(struct acpi_area *area, const struct acpi_config *cfg, gpa_t *gpa)
{
	struct acpi_madt_lapic *lapic;
	struct acpi_madt_ioapic *ioapic;
	size_t len = sizeof(struct acpi_madt) + cfg->n_cpus * sizeof(*lapic) + sizeof(*ioapic);
	struct acpi_madt *madt = calloc(1, len);
	int ret;

	if (!madt)
		return -ENOMEM;
	acpi_init_header(&madt->header, "APIC", MADT_REVISION);
	madt->lapic_address = cfg->lapic_addr;
	lapic = (void *)(madt + 1);
	for (unsigned int id = 0; id < cfg->n_cpus; id++) {
		*lapic++ = (struct acpi_madt_lapic){
			.type = ACPI_MADT_LAPIC,
			.length = sizeof(*lapic),
			.uid = (uint8_t)id,
			.apic_id = (uint8_t)id,
			.flags = ACPI_MADT_CPU_ENABLED,
		};
	}
	ioapic = (void *)lapic;
	*ioapic = (struct acpi_madt_ioapic){
		.type = ACPI_MADT_IOAPIC,
		.length = sizeof(*ioapic),
		.id = cfg->ioapic_id,
		.address = cfg->ioapic_addr,
	};
	ret = acpi_put_table(area, &madt->header, len, gpa);
	free(madt);
	return ret;
}

static int acpi_put_xsdt(struct acpi_area *area, gpa_t fadt, gpa_t madt, gpa_t *gpa)
{
	struct acpi_xsdt xsdt = {.tables = {fadt, madt}};

	acpi_init_header(&xsdt.header, "XSDT", XSDT_REVISION);
	return acpi_put_table(area, &xsdt.header, sizeof(xsdt), gpa);
}

static int acpi_write_rsdp(const struct guest_mem *mem, gpa_t at, gpa_t xsdt)
{
	struct acpi_rsdp rsdp = {
		.revision = RSDP_REVISION,
		.length = sizeof(rsdp),
		.xsdt_address = xsdt,
	};

	memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
	memcpy(rsdp.oem_id, "VMM   ", sizeof(rsdp.oem_id));
	rsdp.checksum = checksum_make(&rsdp, ACPI_RSDP_V1_LENGTH);
	rsdp.extended_checksum = checksum_make(&rsdp, sizeof(rsdp));
	return guest_mem_write(mem, at, &rsdp, sizeof(rsdp));
}

int acpi_write(const struct guest_mem *mem, const struct acpi_config *cfg, gpa_t *rsdp)
{
	const struct acpi_rsdp none = {.revision = 0};
	struct acpi_area area = {.mem = mem, .next = cfg->area, .left = cfg->area_size};
	gpa_t at, dsdt, fadt, madt, xsdt;
	int ret;

	assert(cfg->area % TABLE_ALIGN == 0);
	assert(cfg->pci_mmio_base + cfg->pci_mmio_size <= UINT64_C(1) << 32);
	ret = acpi_put(&area, &none, sizeof(none), &at); /* written last, its place is first */
	if (ret == 0)
		ret = acpi_put_dsdt(&area, cfg, &dsdt);
	if (ret == 0)
		ret = acpi_put_fadt(&area, cfg, dsdt, &fadt);
	if (ret == 0)
		ret = acpi_put_madt(&area, cfg, &madt);
	if (ret == 0)
		ret = acpi_put_xsdt(&area, fadt, madt, &xsdt);
	if (ret == 0)
		ret = acpi_write_rsdp(mem, at, xsdt);
	if (ret < 0)
		return ret;
	*rsdp = at;
	return 0;
}
