#include "boot/mptable.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/checksum.h"
#include "boot/mptable_tables.h"
#include "vmm/core/assert.h"

#define ISA_BUS	   0
#define PINS_LEAST 16
#define PINS_MOST  256

#define APIC_VERSION   0x14
#define IOAPIC_VERSION 0x11

/* Kernels ask CPUID; the table has to say something (Table 4-5, 4-6): family 6, with FPU and APIC. */
#define CPU_SIGNATURE 0x600
#define CPU_FEATURES  0x201

#define TABLE_MAX                                                                                  \
	(sizeof(struct mp_header) + MPTABLE_MAX_CPUS * sizeof(struct mp_processor) +               \
	 sizeof(struct mp_bus) + sizeof(struct mp_ioapic) +                                        \
	 (PINS_MOST + 2) * sizeof(struct mp_interrupt))

static_assert(sizeof(struct mp_floating) == 16, "4.1");
static_assert(sizeof(struct mp_header) == 44, "4.2");
static_assert(sizeof(struct mp_processor) == 20, "4.3.1");
static_assert(TABLE_MAX <= UINT16_MAX, "header.length");

struct mptable {
	uint8_t bytes[TABLE_MAX];
	size_t len;
	uint16_t n_entries;
};

static void mptable_add(struct mptable *table, const void *entry, size_t len)
{
	assert(len <= sizeof(table->bytes) - table->len);
	memcpy(table->bytes + table->len, entry, len);
	table->len += len;
	table->n_entries++;
}

static void mptable_add_cpus(struct mptable *table, const struct mptable_config *cfg)
{
	for (unsigned int id = 0; id < cfg->n_cpus && id < MPTABLE_MAX_CPUS; id++) {
		const struct mp_processor cpu = {
			.type = MP_TYPE_PROCESSOR,
			.apic_id = (uint8_t)id,
			.apic_version = APIC_VERSION,
			.flags = MP_PROCESSOR_ENABLED | (id == 0 ? MP_PROCESSOR_BSP : 0),
			.signature = CPU_SIGNATURE,
			.features = CPU_FEATURES,
		};

		mptable_add(table, &cpu, sizeof(cpu));
	}
}

static void mptable_add_isa(struct mptable *table, const struct mptable_config *cfg)
{
	const struct mp_bus bus = {
		.type = MP_TYPE_BUS,
		.id = ISA_BUS,
		.name = {'I', 'S', 'A', ' ', ' ', ' '},
	};
	const struct mp_ioapic ioapic = {
		.type = MP_TYPE_IOAPIC,
		.id = cfg->ioapic_id,
		.version = IOAPIC_VERSION,
		.flags = MP_IOAPIC_ENABLED,
		.address = cfg->ioapic_addr,
	};

	mptable_add(table, &bus, sizeof(bus));
	mptable_add(table, &ioapic, sizeof(ioapic));
	for (unsigned int irq = 0; irq < cfg->n_pins; irq++) {
		const struct mp_interrupt entry = {
			.type = MP_TYPE_INTERRUPT,
			.kind = MP_KIND_INT,
			.bus = ISA_BUS,
			.bus_irq = (uint8_t)irq,
			.apic_id = cfg->ioapic_id,
			.apic_pin = (uint8_t)irq,
		};

		mptable_add(table, &entry, sizeof(entry));
	}
}

/* LINT0 and LINT1 of every CPU, as all default configurations of chapter 5 have them. */
static void mptable_add_lints(struct mptable *table)
{
	static const uint8_t kinds[] = {MP_KIND_EXTINT, MP_KIND_NMI};

	for (uint8_t lint = 0; lint < sizeof(kinds); lint++) {
		const struct mp_interrupt entry = {
			.type = MP_TYPE_LOCAL_INTERRUPT,
			.kind = kinds[lint],
			.bus = ISA_BUS,
			.apic_id = MP_APIC_ALL,
			.apic_pin = lint,
		};

		mptable_add(table, &entry, sizeof(entry));
	}
}

static void mptable_finish(struct mptable *table, const struct mptable_config *cfg)
{
	struct mp_header header = {
		.length = (uint16_t)table->len,
		.spec_rev = MP_SPEC_REV,
		.entry_count = table->n_entries,
		.lapic_address = cfg->lapic_addr,
	};

	memcpy(header.signature, "PCMP", sizeof(header.signature));
	memcpy(header.oem_id, "VMM     ", sizeof(header.oem_id));
	memcpy(header.product_id, "VMM         ", sizeof(header.product_id));
	memcpy(table->bytes, &header, sizeof(header));
	header.checksum = checksum_make(table->bytes, table->len);
	memcpy(table->bytes, &header, sizeof(header));
}

static int mptable_put(const struct guest_mem *mem, const struct mptable_config *cfg,
		       const struct mptable *table)
{
	struct mp_floating floating = {
		.table = (uint32_t)(cfg->area + sizeof(floating)),
		.length = 1,
		.spec_rev = MP_SPEC_REV,
	};
	int ret;

	if (sizeof(floating) + table->len > cfg->area_size)
		return -ENOSPC;
	memcpy(floating.signature, "_MP_", sizeof(floating.signature));
	floating.checksum = checksum_make(&floating, sizeof(floating));
	ret = guest_mem_write(mem, cfg->area, &floating, sizeof(floating));
	if (ret == 0)
		ret = guest_mem_write(mem, cfg->first, &floating, sizeof(floating));
	if (ret < 0)
		return ret;
	return guest_mem_write(mem, cfg->area + sizeof(floating), table->bytes, table->len);
}

int mptable_write(const struct guest_mem *mem, const struct mptable_config *cfg)
{
	struct mptable *table = calloc(1, sizeof(*table));
	int ret;

	assert(cfg->area % 16 == 0 && cfg->area + cfg->area_size <= 0x100000);
	assert(cfg->first % 16 == 0);
	assert(cfg->n_pins >= PINS_LEAST && cfg->n_pins <= PINS_MOST);
	if (!table)
		return -ENOMEM;
	table->len = sizeof(struct mp_header); /* filled in when the rest is known */
	mptable_add_cpus(table, cfg);
	mptable_add_isa(table, cfg);
	mptable_add_lints(table);
	mptable_finish(table, cfg);
	ret = mptable_put(mem, cfg, table);
	free(table);
	return ret;
}
