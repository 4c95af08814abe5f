/* vmm/core/pci: BARs of ports, beside those of memory. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "vmm/core/pci.h"

#define WINDOW	    UINT64_C(0xc0000000)
#define WINDOW_SIZE UINT64_C(0x100000)
#define PORTS	    0xc000
#define PORTS_SIZE  0x400

/* A function with a BAR of memory and one of ports, which tell by what they read as which of them was hit. */
struct card {
	struct pci_function fn;
	uint64_t address[PCI_MAX_BARS];
	uint64_t port_offset, port_value;
	unsigned int port_writes, memory_writes;
};

static struct card cards[2];
static struct pci_bus bus;

static void on_moved(void *arg, unsigned int bar, uint64_t address)
{
	struct card *card = arg;

	card->address[bar] = address;
}

static uint64_t memory_read(void *arg, uint64_t offset, unsigned int width)
{
	(void)arg;
	(void)offset;
	(void)width;
	return 'm';
}

static void memory_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct card *card = arg;

	(void)offset;
	(void)width;
	(void)value;
	card->memory_writes++;
}

static uint64_t port_read(void *arg, uint64_t offset, unsigned int width)
{
	struct card *card = arg;

	(void)width;
	card->port_offset = offset;
	return 'p';
}

static void port_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct card *card = arg;

	(void)width;
	card->port_offset = offset;
	card->port_value = value;
	card->port_writes++;
}

static void card_init(struct card *card, uint32_t ports)
{
	const struct pci_ids ids = {.vendor = 0x1af4, .device = 0x1042};
	const struct pci_hooks hooks = {.bar_moved = on_moved, .arg = card};
	const struct pci_bar memory = {
		.size = 0x1000, .read = memory_read, .write = memory_write, .arg = card};
	const struct pci_bar bar = {
		.ports = true, .size = ports, .read = port_read, .write = port_write, .arg = card};

	pci_function_init(&card->fn, &ids, &hooks);
	pci_function_set_bar(&card->fn, 0, &memory);
	if (ports)
		pci_function_set_bar(&card->fn, 1, &bar);
}

static void setup(void)
{
	memset(cards, 0, sizeof(cards));
	pci_bus_init(&bus, WINDOW, WINDOW_SIZE);
	pci_bus_set_ports(&bus, PORTS, PORTS_SIZE);
	card_init(&cards[0], 0x100);
	card_init(&cards[1], 0x100);
	ck_assert_int_eq(pci_bus_add(&bus, 0, &cards[0].fn), 0);
	ck_assert_int_eq(pci_bus_add(&bus, 8, &cards[1].fn), 0);
}

static void teardown(void)
{
	pci_bus_fini(&bus);
}

static uint32_t config_read(unsigned int devfn, unsigned int offset)
{
	pci_port_write(&bus, 0, 4, UINT32_C(0x80000000) | devfn << 8 | offset);
	return (uint32_t)pci_port_read(&bus, 4, 4);
}

static void config_write(unsigned int devfn, unsigned int offset, uint32_t value)
{
	pci_port_write(&bus, 0, 4, UINT32_C(0x80000000) | devfn << 8 | offset);
	pci_port_write(&bus, 4, 4, value);
}

/* The two kinds have windows of their own; sizing as Linux does it (drivers/pci/probe.c, __pci_read_base()). */
START_TEST(test_placed)
{
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_0), WINDOW);
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_1), PORTS | 1);
	ck_assert_uint_eq(config_read(8, PCI_BASE_ADDRESS_0), WINDOW + 0x1000);
	ck_assert_uint_eq(config_read(8, PCI_BASE_ADDRESS_1), (PORTS + 0x100) | 1);
	config_write(8, PCI_BASE_ADDRESS_1, UINT32_MAX);
	ck_assert_uint_eq(config_read(8, PCI_BASE_ADDRESS_1), 0xffffff01);
	/* The low bits say what kind of BAR it is, not where. */
	config_write(8, PCI_BASE_ADDRESS_1, PORTS + 0x1fe);
	ck_assert_uint_eq(config_read(8, PCI_BASE_ADDRESS_1), (PORTS + 0x100) | 1);
}
END_TEST

/* Each space has a switch of its own, and only functions with ports have that for ports. */
START_TEST(test_switches)
{
	struct card plain = {0};

	ck_assert_uint_eq(pci_ports_read(&bus, 0, 4), UINT32_MAX);
	config_write(0, PCI_COMMAND, PCI_COMMAND_IO);
	ck_assert_uint_eq(cards[0].address[1], PORTS);
	ck_assert_uint_eq(cards[0].address[0], 0);
	ck_assert_uint_eq(pci_ports_read(&bus, 4, 4), 'p');
	ck_assert_uint_eq(cards[0].port_offset, 4);
	ck_assert_uint_eq(pci_window_read(&bus, 0, 4), UINT32_MAX);
	config_write(0, PCI_COMMAND, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(cards[0].address[1], 0);
	ck_assert_uint_eq(pci_ports_read(&bus, 4, 2), UINT16_MAX);
	ck_assert_uint_eq(pci_window_read(&bus, 0, 4), 'm');
	card_init(&plain, 0);
	ck_assert_int_eq(pci_bus_add(&bus, 16, &plain.fn), 0);
	config_write(16, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(config_read(16, PCI_COMMAND) & 0xffff, PCI_COMMAND_MEMORY);
}
END_TEST

/* A port and an address in memory that are the same number are two places. */
START_TEST(test_hits)
{
	config_write(0, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	config_write(8, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	pci_ports_write(&bus, 0x1fc, 4, 0x12345678);
	ck_assert_uint_eq(cards[1].port_writes, 1);
	ck_assert_uint_eq(cards[1].port_offset, 0xfc);
	ck_assert_uint_eq(cards[1].port_value, 0x12345678);
	ck_assert_uint_eq(cards[0].port_writes + cards[0].memory_writes + cards[1].memory_writes,
			  0);
	/* across the end of one, and behind the last */
	pci_ports_write(&bus, 0xfe, 4, 1);
	pci_ports_write(&bus, 0x200, 1, 1);
	ck_assert_uint_eq(cards[0].port_writes, 0);
	ck_assert_uint_eq(cards[1].port_writes, 1);
	config_write(8, PCI_BASE_ADDRESS_1, PORTS + 0x300);
	pci_ports_write(&bus, 0x3ff, 1, 7);
	ck_assert_uint_eq(cards[1].port_offset, 0xff);
	/* outside of the bus's ports, as far as the chips of the machine */
	config_write(8, PCI_BASE_ADDRESS_1, 0x300);
	ck_assert_uint_eq(cards[1].address[1], 0);
	config_write(8, PCI_BASE_ADDRESS_1, PORTS + PORTS_SIZE);
	ck_assert_uint_eq(cards[1].address[1], 0);
}
END_TEST

/* Room is found for all BARs of a function, or for none. */
START_TEST(test_full)
{
	struct card more[3] = {0};

	for (int i = 0; i < 2; i++) {
		card_init(&more[i], 0x100);
		ck_assert_int_eq(pci_bus_add(&bus, 16 + 8u * (unsigned int)i, &more[i].fn), 0);
	}
	card_init(&more[2], 0x10);
	ck_assert_int_eq(pci_bus_add(&bus, 32, &more[2].fn), -ENOSPC);
	card_init(&more[2], 0);
	ck_assert_int_eq(pci_bus_add(&bus, 32, &more[2].fn), 0);
	ck_assert_uint_eq(config_read(32, PCI_BASE_ADDRESS_0), WINDOW + 0x4000);
}
END_TEST

START_TEST(test_no_ports)
{
	struct card one = {0};
	struct pci_bus plain;

	pci_bus_init(&plain, WINDOW, WINDOW_SIZE);
	card_init(&one, 0x10);
	ck_assert_int_eq(pci_bus_add(&plain, 0, &one.fn), -ENOSPC);
	pci_bus_fini(&plain);
}
END_TEST

/* PCI 3.0, 6.2.5.1: no more than 256 ports in one BAR. */
START_TEST(test_too_many)
{
	struct card one = {0};

	card_init(&one, 0x200);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("core/pci: ports");
	TCase *tc = tcase_create("ports");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, test_placed);
	tcase_add_test(tc, test_switches);
	tcase_add_test(tc, test_hits);
	tcase_add_test(tc, test_full);
	tcase_add_test(tc, test_no_ports);
	tcase_add_test_raise_signal(tc, test_too_many, SIGABRT);
	suite_add_tcase(s, tc);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
