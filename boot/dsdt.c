#include "boot/dsdt.h"

#include "boot/aml_resource.h"
#include "vmm/core/assert.h"

#define NOTIFY_BUTTON_PRESSED 0x80 /* 4.8.2.2.1.2 Control Method Power Button */

#define PCI_CONFIG_PORT	 0xcf8
#define PCI_CONFIG_PORTS 8

#define SERIAL_PORTS 8

/* 6.1.5: an id of PNP's is a number, any other a string. */
static void dsdt_begin_device(struct aml *aml, const char *name, const char *hid, unsigned int uid)
{
	aml_begin_device(aml, name);
	aml_name(aml, "_HID");
	if (*hid == 'P')
		aml_eisa_id(aml, hid);
	else
		aml_string(aml, hid);
	aml_name_integer(aml, "_UID", uid);
}

static void dsdt_begin_resources(struct aml *aml)
{
	aml_name(aml, "_CRS");
	aml_resource_begin(aml);
}

static void dsdt_write_serial(struct aml *aml, const struct acpi_config *cfg)
{
	dsdt_begin_device(aml, "COM1", "PNP0501", 1);
	dsdt_begin_resources(aml);
	aml_resource_io(aml, cfg->serial_port, SERIAL_PORTS);
	aml_resource_interrupt(aml, cfg->serial_gsi);
	aml_resource_end(aml);
	aml_end(aml);
}

static void dsdt_write_power_button(struct aml *aml)
{
	dsdt_begin_device(aml, "PWRB", "PNP0C0C", 0);
	aml_end(aml);
}

/* 5.6.9.2: _EVT runs for each interrupt. Reading the register clears it, so it is read once. */
static void dsdt_write_event_device(struct aml *aml, const struct acpi_config *cfg)
{
	dsdt_begin_device(aml, "GED", "ACPI0013", 0);
	dsdt_begin_resources(aml);
	aml_resource_interrupt(aml, cfg->ged_gsi);
	aml_resource_end(aml);
	aml_io_register(aml, "EREG", cfg->ged_port, "EVTS");

	aml_begin_method(aml, "_EVT", 1);
	aml_load_local0(aml, "EVTS");
	aml_begin_if_local0(aml, ACPI_GED_POWER_BUTTON);
	aml_notify(aml, "\\_SB.PWRB", NOTIFY_BUTTON_PRESSED);
	aml_end(aml);
	aml_end(aml);
	aml_end(aml);
}

/* No _PRT: the functions have MSI-X alone. No _OSC: this is no PCI Express bridge. */
static void dsdt_write_pci(struct aml *aml, const struct acpi_config *cfg)
{
	dsdt_begin_device(aml, "PCI0", "PNP0A03", 0);
	aml_name_integer(aml, "_BBN", 0);
	dsdt_begin_resources(aml);
	aml_resource_bus_window(aml, 0, 0);
	aml_resource_io(aml, PCI_CONFIG_PORT, PCI_CONFIG_PORTS);
	if (cfg->pci_io_size > 0)
		aml_resource_io_window(aml, cfg->pci_io_base, cfg->pci_io_size);
	aml_resource_memory_window(aml, (uint32_t)cfg->pci_mmio_base, (uint32_t)cfg->pci_mmio_size);
	aml_resource_end(aml);
	aml_end(aml);
}

/* The id that Linux and EDK II know virtio-mmio by. Its registers are coherent memory (_CCA, 6.2.17). */
static void dsdt_write_virtio(struct aml *aml, const struct acpi_config *cfg, unsigned int i)
{
	const char name[] = {'V', 'R', (char)('0' + i / 10), (char)('0' + i % 10), '\0'};

	dsdt_begin_device(aml, name, "LNRO0005", i);
	aml_name_integer(aml, "_CCA", 1);
	dsdt_begin_resources(aml);
	aml_resource_memory(aml, cfg->virtio_base + i * cfg->virtio_step, cfg->virtio_step);
	aml_resource_interrupt(aml, cfg->virtio_gsi + i);
	aml_resource_end(aml);
	aml_end(aml);
}

/* 7.4.2.6: SLP_TYP for PM1a_CNT, which is the one that a hardware-reduced machine uses. */
static void dsdt_write_s5(struct aml *aml)
{
	aml_name(aml, "\\_S5");
	aml_begin_package(aml, 4);
	aml_integer(aml, ACPI_SLP_TYP_S5);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_integer(aml, 0);
	aml_end(aml);
}

void dsdt_write(struct aml *aml, const struct acpi_config *cfg)
{
	aml_begin_scope(aml, "\\_SB");
	if (cfg->serial)
		dsdt_write_serial(aml, cfg);
	dsdt_write_power_button(aml);
	dsdt_write_event_device(aml, cfg);
	if (cfg->pci_mmio_size > 0)
		dsdt_write_pci(aml, cfg);
	assert(cfg->n_virtio <= ACPI_MAX_VIRTIO);
	for (unsigned int i = 0; i < cfg->n_virtio; i++)
		dsdt_write_virtio(aml, cfg, i);
	aml_end(aml);
	dsdt_write_s5(aml);
}
