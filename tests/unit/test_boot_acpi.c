/*
 * boot/acpi: every table's checksum, lengths and links, and the DSDT as iasl sees it.
 *
 * With ACPI_DUMP=DIR in the environment the tables are left there as DIR/NAME.dat.
 */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "boot/acpi.h"
#include "boot/acpi_tables.h"
#include "tests/unit/skip.h"

#define AREA	  0xe0000
#define AREA_SIZE 0x10000

static struct guest_mem mem;
static struct acpi_config cfg;
static gpa_t rsdp_gpa;

static void setup(void)
{
	const struct guest_mem_region region = {.base = 0, .size = 0x100000};

	ck_assert_int_eq(guest_mem_init(&mem, &region, 1), 0);
	memset(guest_mem_ptr(&mem, AREA, AREA_SIZE), 0xee, AREA_SIZE);
	cfg = (struct acpi_config){
		.n_cpus = 2,
		.lapic_addr = 0xfee00000,
		.ioapic_addr = 0xfec00000,
		.ioapic_id = 7,
		.serial = true,
		.serial_port = 0x3f8,
		.serial_gsi = 4,
		.ged_gsi = 9,
		.ged_port = 0x600,
		.sleep_control_port = 0x604,
		.sleep_status_port = 0x605,
		.reset_port = 0x606,
		.reset_value = 0x42,
		.pci_mmio_base = 0xc0000000,
		.pci_mmio_size = 0x30000000,
		.area = AREA,
		.area_size = AREA_SIZE,
	};
}

static void teardown(void)
{
	guest_mem_fini(&mem);
}

static void write_tables(void)
{
	rsdp_gpa = 0;
	ck_assert_int_eq(acpi_write(&mem, &cfg, &rsdp_gpa), 0);
	ck_assert_uint_eq(rsdp_gpa, AREA);
}

static uint8_t sum(gpa_t gpa, size_t len)
{
	const uint8_t *p = guest_mem_ptr(&mem, gpa, len);
	uint8_t s = 0;

	for (size_t i = 0; i < len; i++)
		s = (uint8_t)(s + p[i]);
	return s;
}

static const void *table(gpa_t gpa, const char *signature)
{
	const struct acpi_header *header = guest_mem_ptr(&mem, gpa, sizeof(*header));

	ck_assert_ptr_nonnull(header);
	ck_assert_mem_eq(header->signature, signature, 4);
	ck_assert_uint_le(gpa + header->length, AREA + AREA_SIZE);
	ck_assert_uint_eq(sum(gpa, header->length), 0);
	return header;
}

static const struct acpi_xsdt *xsdt(void)
{
	const struct acpi_rsdp *rsdp = guest_mem_ptr(&mem, rsdp_gpa, sizeof(*rsdp));

	return table(rsdp->xsdt_address, "XSDT");
}

static const struct acpi_fadt *fadt(void)
{
	return table(xsdt()->tables[0], "FACP");
}

static const struct acpi_madt *madt(void)
{
	return table(xsdt()->tables[1], "APIC");
}

static const struct acpi_header *dsdt(void)
{
	return table(fadt()->x_dsdt, "DSDT");
}

START_TEST(links_tables_with_checksums)
{
	const struct acpi_rsdp *rsdp;

	write_tables();
	rsdp = guest_mem_ptr(&mem, rsdp_gpa, sizeof(*rsdp));
	ck_assert_mem_eq(rsdp->signature, "RSD PTR ", 8);
	ck_assert_uint_eq(rsdp->revision, 2);
	ck_assert_uint_eq(rsdp->length, 36);
	ck_assert_uint_eq(rsdp->rsdt_address, 0);
	ck_assert_uint_eq(sum(rsdp_gpa, 20), 0);
	ck_assert_uint_eq(sum(rsdp_gpa, 36), 0);
	ck_assert_uint_eq(xsdt()->header.length, 36 + 2 * 8);
	ck_assert_uint_eq(fadt()->header.length, 276);
	ck_assert_uint_eq(dsdt()->revision, 2);
}
END_TEST

static void expect_port(const struct acpi_address *address, uint16_t port)
{
	ck_assert_uint_eq(address->space_id, 1);
	ck_assert_uint_eq(address->bit_width, 8);
	ck_assert_uint_eq(address->bit_offset, 0);
	ck_assert_uint_eq(address->access_size, 1);
	ck_assert_uint_eq(address->address, port);
}

START_TEST(tells_of_reduced_hardware)
{
	static const uint8_t none[52];

	write_tables();
	ck_assert_uint_eq(fadt()->header.revision, 6);
	ck_assert_uint_eq(fadt()->flags,
			  1 << 20 | 1 << 10 | 1 << 6 | 1 << 5 | 1 << 4 | 1 << 2 | 1 << 0);
	ck_assert_uint_eq(fadt()->iapc_boot_arch, 1 << 5 | 1 << 2);
	ck_assert_uint_eq(fadt()->sci_int, 0);
	ck_assert_mem_eq(fadt()->fixed_hardware, none, sizeof(none));
	expect_port(&fadt()->reset_reg, 0x606);
	ck_assert_uint_eq(fadt()->reset_value, 0x42);
	expect_port(&fadt()->sleep_control_reg, 0x604);
	expect_port(&fadt()->sleep_status_reg, 0x605);
	/* offsets of the specification */
	ck_assert_uint_eq(offsetof(struct acpi_fadt, iapc_boot_arch), 109);
	ck_assert_uint_eq(offsetof(struct acpi_fadt, flags), 112);
	ck_assert_uint_eq(offsetof(struct acpi_fadt, x_dsdt), 140);
	ck_assert_uint_eq(offsetof(struct acpi_fadt, sleep_control_reg), 244);
}
END_TEST

/* The CPUs, then the IO-APIC. */
START_TEST(lists_cpus)
{
	static const unsigned int counts[] = {1, 2, 64, 254, 255};
	const unsigned int n = counts[_i];
	const uint8_t *p, *end;

	cfg.n_cpus = n;
	write_tables();
	ck_assert_uint_eq(madt()->lapic_address, 0xfee00000);
	ck_assert_uint_eq(madt()->flags, 0);
	p = (const uint8_t *)(madt() + 1);
	end = (const uint8_t *)madt() + madt()->header.length;
	for (unsigned int id = 0; id < n; id++) {
		const struct acpi_madt_lapic *lapic = (const struct acpi_madt_lapic *)p;

		ck_assert_uint_eq(p[0], 0);
		ck_assert_uint_eq(p[1], 8);
		ck_assert_uint_eq(lapic->apic_id, id);
		ck_assert_uint_eq(lapic->uid, id);
		ck_assert_uint_eq(lapic->flags, 1);
		p += p[1];
	}
	ck_assert_uint_eq(p[0], 1);
	ck_assert_uint_eq(p[1], 12);
	ck_assert_uint_eq(((const struct acpi_madt_ioapic *)p)->id, 7);
	ck_assert_uint_eq(((const struct acpi_madt_ioapic *)p)->address, 0xfec00000);
	ck_assert_uint_eq(((const struct acpi_madt_ioapic *)p)->gsi_base, 0);
	ck_assert_ptr_eq(p + 12, end);
}
END_TEST

/* The smallest area that works is used up, one byte less is refused, and nothing is written behind it. */
START_TEST(keeps_to_its_area)
{
	int ret = -ENOSPC;

	for (cfg.area_size = 0; ret == -ENOSPC; cfg.area_size++) {
		rsdp_gpa = 0x1234;
		ret = acpi_write(&mem, &cfg, &rsdp_gpa);
		if (ret < 0)
			ck_assert_uint_eq(rsdp_gpa, 0x1234);
		ck_assert_uint_eq(*(uint8_t *)guest_mem_ptr(&mem, AREA + cfg.area_size, 1), 0xee);
	}
	ck_assert_int_eq(ret, 0);
	ck_assert_uint_le(cfg.area_size, 1024);
}
END_TEST

START_TEST(refuses_an_area_outside_ram)
{
	cfg.area = 0xffff0;
	ck_assert_int_eq(acpi_write(&mem, &cfg, &rsdp_gpa), -EFAULT);
	cfg.area = 0x200000;
	ck_assert_int_eq(acpi_write(&mem, &cfg, &rsdp_gpa), -EFAULT);
}
END_TEST

static bool dsdt_has(const char *bytes, size_t len)
{
	return memmem(dsdt(), dsdt()->length, bytes, len) != NULL;
}

START_TEST(describes_what_is_there)
{
	write_tables();
	ck_assert(dsdt_has("COM1", 4));
	ck_assert(dsdt_has("PCI0", 4));
	ck_assert(dsdt_has("PWRB", 4));
	ck_assert(dsdt_has("ACPI0013", 8));
	ck_assert(dsdt_has("_S5_\x12\x07\x04\x0a\x05\0\0\0", 12));
	ck_assert(!dsdt_has("\x88\x0d\0\x01", 4)); /* an I/O window */

	cfg.pci_io_base = 0x1000;
	cfg.pci_io_size = 0xf000;
	write_tables();
	ck_assert(dsdt_has("\x88\x0d\0\x01\x0c\x03\0\0\0\x10\xff\xff\0\0\0\xf0", 16));

	cfg.serial = false;
	cfg.pci_mmio_size = 0;
	write_tables();
	ck_assert(!dsdt_has("COM1", 4));
	ck_assert(!dsdt_has("PCI0", 4));
	ck_assert(dsdt_has("PWRB", 4));
}
END_TEST

static unsigned int dsdt_count(const char *bytes, size_t len)
{
	const char *at = (const char *)dsdt(), *end = at + dsdt()->length;
	unsigned int n = 0;

	while ((at = memmem(at, (size_t)(end - at), bytes, len))) {
		at += len;
		n++;
	}
	return n;
}

/* Each with its registers, which are coherent, and its interrupt, an edge; as many as there may be. */
START_TEST(describes_virtio_mmio)
{
	static const unsigned int counts[] = {1, 48, ACPI_MAX_VIRTIO};
	unsigned int n = counts[_i];

	cfg.virtio_base = 0xd0000000;
	cfg.virtio_step = 0x1000;
	cfg.virtio_gsi = 16;
	cfg.pci_mmio_size = 0;
	write_tables();
	ck_assert(!dsdt_has("LNRO0005", 8));
	cfg.n_virtio = n;
	write_tables();
	for (unsigned int i = 0; i < n; i++) {
		uint32_t base = 0xd0000000 + i * 0x1000, gsi = 16 + i;
		char name[8], crs[23] = "\x86\x09\0\x01....\0\x10\0\0\x89\x06\0\x03\x01....";

		snprintf(name, sizeof(name), "VR%02u", i % 100);
		memcpy(crs + 4, &base, 4);
		memcpy(crs + 17, &gsi, 4);
		ck_assert(dsdt_has(name, 4));
		ck_assert(dsdt_has(crs, 21));
	}
	ck_assert_uint_eq(dsdt_count("\x08_CCA\x01\x08_CRS", 11), n);
	ck_assert(!dsdt_has("PCI0", 4));
}
END_TEST

static void dump(const char *dir, const char *name, const struct acpi_header *header)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(header, 1, header->length, file), header->length);
	ck_assert_int_eq(fclose(file), 0);
}

/* Disassembles the DSDT and compiles it again: nothing to complain of, and the same source. */
START_TEST(passes_iasl)
{
	char dir[] = "/tmp/test_boot_acpi-XXXXXX";
	const char *keep = getenv("ACPI_DUMP");
	char command[512];
	int ret;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	cfg.pci_io_base = 0x1000;
	cfg.pci_io_size = 0xf000;
	cfg.n_virtio = 48;
	cfg.virtio_base = 0xd0000000;
	cfg.virtio_step = 0x1000;
	cfg.virtio_gsi = 16;
	write_tables();
	dump(keep ? keep : dir, "dsdt", dsdt());
	dump(keep ? keep : dir, "facp", &fadt()->header);
	dump(keep ? keep : dir, "apic", &madt()->header);
	dump(keep ? keep : dir, "xsdt", &xsdt()->header);
	dump(dir, "dsdt", dsdt());
	snprintf(command, sizeof(command),
		 "cd %s && command -v iasl >path || exit 77;"
		 " { iasl -d dsdt.dat && iasl -we -oa -p again dsdt.dsl && cp dsdt.dsl first &&"
		 " iasl -d again.aml; } >log 2>&1 || { cat log; exit 1; };"
		 " sed '1,/^DefinitionBlock/d' first >a; sed '1,/^DefinitionBlock/d' again.dsl >b;"
		 " grep -q PWRB a && cmp a b",
		 dir);
	ret = system(command);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	ck_assert_int_eq(system(command), 0);
	ck_assert(WIFEXITED(ret));
	if (WEXITSTATUS(ret) == 77)
		skip_note("iasl is missing (Debian: acpica-tools)");
	else
		ck_assert_msg(WEXITSTATUS(ret) == 0, "iasl: %d", WEXITSTATUS(ret));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/acpi");
	TCase *tc = tcase_create("acpi");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, links_tables_with_checksums);
	tcase_add_test(tc, tells_of_reduced_hardware);
	tcase_add_loop_test(tc, lists_cpus, 0, 5);
	tcase_add_test(tc, keeps_to_its_area);
	tcase_add_test(tc, refuses_an_area_outside_ram);
	tcase_add_test(tc, describes_what_is_there);
	tcase_add_loop_test(tc, describes_virtio_mmio, 0, 3);
	tcase_add_test(tc, passes_iasl);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
