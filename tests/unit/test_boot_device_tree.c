/* boot/device_tree: what a reader of the tree finds, for machines of all sizes, and how Linux gets it. */
#include <check.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <asm/bootparam.h>
#include <libfdt.h>

#include "boot/device_tree.h"

#define MIB	UINT64_C(0x100000)
#define GIB	UINT64_C(0x40000000)
#define LOW_END 0x9fc00

static struct boot_e820 e820[BOOT_E820_MAX];
static struct device_tree_config cfg;
static void *tree;

/* A machine with two CPUs, RAM on both sides of the hole, and three virtio devices. */
static void setup(void)
{
	e820[0] = (struct boot_e820){0, LOW_END, BOOT_E820_RAM};
	e820[1] = (struct boot_e820){LOW_END, MIB - LOW_END, BOOT_E820_RESERVED};
	e820[2] = (struct boot_e820){MIB, 3 * GIB - MIB, BOOT_E820_RAM};
	e820[3] = (struct boot_e820){4 * GIB, 61 * GIB, BOOT_E820_RAM};
	cfg = (struct device_tree_config){
		.n_cpus = 2,
		.e820 = e820,
		.n_e820 = 4,
		.cmdline = "console=ttyS0 quiet",
		.lapic_addr = 0xfee00000,
		.ioapic_addr = 0xfec00000,
		.serial_port = 0x3f8,
		.serial_gsi = 4,
		.n_virtio = 3,
		.virtio_base = 0xd0000000,
		.virtio_step = 0x1000,
		.virtio_gsi = 16,
		.pci_mmio_base = 0xc0000000,
	};
	tree = NULL;
}

static void teardown(void)
{
	free(tree);
}

static void make(void)
{
	free(tree);
	tree = device_tree_make(&cfg);
	ck_assert_ptr_nonnull(tree);
	ck_assert_int_eq(fdt_check_full(tree, device_tree_size(tree)), 0);
}

static int node(const char *path)
{
	int offset = fdt_path_offset(tree, path);

	ck_assert_msg(offset >= 0, "no %s", path);
	return offset;
}

static const void *property(const char *path, const char *name, int len)
{
	int got;
	const void *value = fdt_getprop(tree, node(path), name, &got);

	ck_assert_msg(value && got == len, "%s of %s has %d bytes, not %d", name, path, got, len);
	return value;
}

static void expect_string(const char *path, const char *name, const char *want)
{
	ck_assert_str_eq(property(path, name, (int)strlen(want) + 1), want);
}

static void expect_cells(const char *path, const char *name, const uint32_t *want, size_t n)
{
	const fdt32_t *cells = property(path, name, (int)(4 * n));

	for (size_t i = 0; i < n; i++)
		ck_assert_uint_eq(fdt32_ld(cells + i), want[i]);
}

#define EXPECT_CELLS(path, name, ...)                                                              \
	expect_cells(path, name, (const uint32_t[]){__VA_ARGS__},                                  \
		     sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static unsigned int count_children(const char *path)
{
	unsigned int n = 0;
	int child;

	fdt_for_each_subnode(child, tree, node(path)) n++;
	return n;
}

START_TEST(describes_the_machine)
{
	make();
	EXPECT_CELLS("/", "#address-cells", 2);
	EXPECT_CELLS("/", "#size-cells", 2);
	expect_string("/chosen", "bootargs", "console=ttyS0 quiet");
	expect_string("/memory@0", "device_type", "memory");
	EXPECT_CELLS("/memory@0", "reg", 0, 0, 0, LOW_END, 0, MIB, 0, 0xbff00000, 1, 0, 0xf,
		     0x40000000);
	ck_assert_uint_eq(count_children("/"), 5);
	ck_assert_int_eq(fdt_num_mem_rsv(tree), 0);
}
END_TEST

/* What arch/x86/kernel/devicetree.c looks for. */
START_TEST(names_the_interrupt_controllers)
{
	uint32_t ioapic;

	make();
	ioapic = fdt_get_phandle(tree, node("/soc/interrupt-controller@fec00000"));
	ck_assert_uint_ne(ioapic, 0);
	EXPECT_CELLS("/", "interrupt-parent", ioapic);
	expect_string("/soc/interrupt-controller@fec00000", "compatible", "intel,ce4100-ioapic");
	EXPECT_CELLS("/soc/interrupt-controller@fec00000", "reg", 0, 0xfec00000, 0, 0x1000);
	EXPECT_CELLS("/soc/interrupt-controller@fec00000", "#interrupt-cells", 2);
	property("/soc/interrupt-controller@fec00000", "interrupt-controller", 0);
	expect_string("/soc/interrupt-controller@fee00000", "compatible", "intel,ce4100-lapic");
	EXPECT_CELLS("/soc/interrupt-controller@fee00000", "reg", 0, 0xfee00000, 0, 0x1000);
}
END_TEST

START_TEST(names_the_serial_port)
{
	const char *path;

	make();
	path = fdt_get_alias(tree, "serial0");
	ck_assert_ptr_nonnull(path);
	expect_string(path, "compatible", "ns16550a");
	EXPECT_CELLS(path, "reg", 1, 0x3f8, 8);
	EXPECT_CELLS(path, "interrupts", 4, 0);
	EXPECT_CELLS(path, "clock-frequency", 1843200);
	EXPECT_CELLS("/soc/isa@0", "ranges", 1, 0, 0, 0, 0x10000);
	expect_string("/chosen", "stdout-path", "serial0:115200n8");
}
END_TEST

START_TEST(counts_the_cpus)
{
	static const unsigned int counts[] = {1, 2, 16, 254, 255, 1000};
	const unsigned int n = counts[_i];

	cfg.n_cpus = n;
	make();
	EXPECT_CELLS("/cpus", "#address-cells", 1);
	EXPECT_CELLS("/cpus", "#size-cells", 0);
	ck_assert_uint_eq(count_children("/cpus"), n);
	for (unsigned int id = 0; id < n; id++) {
		char path[32];

		snprintf(path, sizeof(path), "/cpus/cpu@%x", id);
		expect_string(path, "device_type", "cpu");
		EXPECT_CELLS(path, "reg", id);
	}
}
END_TEST

START_TEST(lists_virtio_devices)
{
	static const unsigned int counts[] = {0, 1, 32, 48};
	const unsigned int n = counts[_i];

	cfg.n_virtio = n;
	make();
	ck_assert_uint_eq(count_children("/soc"), 3 + n);
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t base = 0xd0000000 + i * 0x1000;
		char path[32];

		snprintf(path, sizeof(path), "/soc/virtio@%" PRIx32, base);
		expect_string(path, "compatible", "virtio,mmio");
		EXPECT_CELLS(path, "reg", 0, base, 0, 0x1000);
		EXPECT_CELLS(path, "interrupts", 16 + i, 0);
		property(path, "dma-coherent", 0);
	}
}
END_TEST

START_TEST(has_a_pci_host_bridge)
{
	cfg.n_virtio = 0;
	cfg.pci_mmio_size = 0x10000000;
	make();
	expect_string("/pci@c0000000", "device_type", "pci");
	EXPECT_CELLS("/pci@c0000000", "#address-cells", 3);
	EXPECT_CELLS("/pci@c0000000", "#size-cells", 2);
	EXPECT_CELLS("/pci@c0000000", "bus-range", 0, 0);
	EXPECT_CELLS("/pci@c0000000", "ranges", 0x2000000, 0, 0xc0000000, 0, 0xc0000000, 0,
		     0x10000000);
}
END_TEST

START_TEST(tells_of_an_initrd)
{
	make();
	ck_assert_ptr_null(fdt_getprop(tree, node("/chosen"), "linux,initrd-start", NULL));
	ck_assert_ptr_null(fdt_getprop(tree, node("/chosen"), "linux,initrd-end", NULL));
	cfg.initrd = 0x5000000;
	cfg.initrd_size = 12345;
	make();
	EXPECT_CELLS("/chosen", "linux,initrd-start", 0, 0x5000000);
	EXPECT_CELLS("/chosen", "linux,initrd-end", 0, 0x5000000 + 12345);
}
END_TEST

/* Among them every way to fill up the last cell. */
START_TEST(takes_any_command_line)
{
	static const size_t lengths[] = {0, 1, 2, 3, 4, 2047, 2048, 65535, 1 << 20};
	char *text = calloc(1, lengths[_i] + 1);

	ck_assert_ptr_nonnull(text);
	memset(text, 'x', lengths[_i]);
	cfg.cmdline = text;
	make();
	expect_string("/chosen", "bootargs", text);
	free(text);
}
END_TEST

START_TEST(takes_a_full_memory_map)
{
	for (unsigned int i = 0; i < BOOT_E820_MAX; i++)
		e820[i] = (struct boot_e820){i * MIB, MIB / 2, BOOT_E820_RAM};
	cfg.n_e820 = BOOT_E820_MAX;
	cfg.n_cpus = 1;
	cfg.n_virtio = 0;
	make();
	property("/memory@0", "reg", 16 * BOOT_E820_MAX);
}
END_TEST

/* All the largest at once, as long as a command line may be: the room for it in the machine's layout. */
START_TEST(stays_small)
{
	char text[65536] = "";

	memset(text, 'x', sizeof(text) - 1);
	cfg.cmdline = text;
	cfg.n_cpus = 254;
	cfg.n_virtio = 48;
	cfg.initrd_size = 1;
	make();
	ck_assert_uint_le(device_tree_size(tree) + DEVICE_TREE_HEAD, 0x30000);
}
END_TEST

START_TEST(is_handed_over_as_setup_data)
{
	const struct guest_mem_region region = {.base = 0, .size = 0x10000};
	const struct setup_data *data;
	struct guest_mem mem;
	size_t size;

	make();
	size = device_tree_size(tree);
	ck_assert_int_eq(guest_mem_init(&mem, &region, 1), 0);
	ck_assert_int_eq(device_tree_write(&mem, 0x3000, tree), 0);
	data = guest_mem_ptr(&mem, 0x3000, sizeof(*data) + size);
	ck_assert_uint_eq(data->next, 0);
	ck_assert_uint_eq(data->type, SETUP_DTB);
	ck_assert_uint_eq(data->len, size);
	ck_assert_mem_eq(data->data, tree, size);

	ck_assert_int_eq(device_tree_write(&mem, 0x10000 - 16 - size, tree), 0);
	ck_assert_int_eq(device_tree_write(&mem, 0x10000 - 16 - size + 8, tree), -EFAULT);
	ck_assert_int_eq(device_tree_write(&mem, 0xfff8, tree), -EFAULT);
	ck_assert_int_eq(device_tree_write(&mem, UINT64_MAX - 7, tree), -EFAULT);
	guest_mem_fini(&mem);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("boot/device_tree");
	TCase *tc = tcase_create("device_tree");
	SRunner *runner;
	int failed;

	suite_add_tcase(suite, tc);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, describes_the_machine);
	tcase_add_test(tc, names_the_interrupt_controllers);
	tcase_add_test(tc, names_the_serial_port);
	tcase_add_loop_test(tc, counts_the_cpus, 0, 6);
	tcase_add_loop_test(tc, lists_virtio_devices, 0, 4);
	tcase_add_test(tc, has_a_pci_host_bridge);
	tcase_add_test(tc, tells_of_an_initrd);
	tcase_add_loop_test(tc, takes_any_command_line, 0, 9);
	tcase_add_test(tc, takes_a_full_memory_map);
	tcase_add_test(tc, stays_small);
	tcase_add_test(tc, is_handed_over_as_setup_data);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
