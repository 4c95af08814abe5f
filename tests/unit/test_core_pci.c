/* vmm/core/pci: configuration space and its mechanism. */
#include "tests/unit/pci_fixture.h"

/* ---- configuration space ---- */

START_TEST(test_header)
{
	card_init(&cards[0], 0x1000);
	plug(PCI_DEVFN(3, 0), &cards[0]);
	ck_assert_uint_eq(config_read(24, PCI_VENDOR_ID, 4), 0x10421af4);
	ck_assert_uint_eq(config_read(24, PCI_DEVICE_ID, 2), 0x1042);
	ck_assert_uint_eq(config_read(24, PCI_CLASS_REVISION, 4), 0x01800207);
	ck_assert_uint_eq(config_read(24, PCI_CLASS_PROG, 1), 2);
	ck_assert_uint_eq(config_read(24, PCI_CLASS_DEVICE, 2), 0x0180);
	ck_assert_uint_eq(config_read(24, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x10431af5);
	ck_assert_uint_eq(config_read(24, PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(config_read(24, PCI_COMMAND, 2), 0);
	ck_assert_uint_eq(config_read(24, PCI_STATUS, 2), 0);
	ck_assert_uint_eq(config_read(24, PCI_CAPABILITY_LIST, 1), 0);
	ck_assert_uint_eq(config_read(24, PCI_INTERRUPT_PIN, 1), 0);
	/* A 32-bit memory BAR with an address in the window, before anybody wrote one. */
	ck_assert_uint_eq(config_read(24, PCI_BASE_ADDRESS_0, 4), WINDOW);
	ck_assert_uint_eq(config_read(24, PCI_BASE_ADDRESS_1, 4), 0);
	ck_assert_uint_eq(config_read(24, PCI_ROM_ADDRESS, 4), 0);
}
END_TEST

/* What the guest may change, byte by byte, for a function with one BAR of 4 KiB and one capability at 0x40. */
static uint8_t writable_bits(unsigned int offset)
{
	switch (offset) {
	case PCI_COMMAND:
		return PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	case PCI_COMMAND + 1:
		return PCI_COMMAND_INTX_DISABLE >> 8;
	case PCI_BASE_ADDRESS_0 + 1:
		return 0xf0;
	case PCI_BASE_ADDRESS_0 + 2:
	case PCI_BASE_ADDRESS_0 + 3:
	case PCI_INTERRUPT_LINE:
		return 0xff;
	case 0x43:
		return 0xa5;
	default:
		return 0;
	}
}

START_TEST(test_masks)
{
	static const uint8_t cap[] = {PCI_CAP_ID_VNDR, 0xee, 4, 0x0f}, writable[] = {0, 0, 0, 0xa5};
	uint8_t before[PCI_CONFIG_SIZE];

	card_init(&cards[0], 0x1000);
	ck_assert_uint_eq(pci_function_add_capability(&cards[0].fn, cap, 4, writable), 0x40);
	plug(0, &cards[0]);
	memcpy(before, cards[0].fn.config, sizeof(before));
	for (unsigned int at = 0; at < PCI_CONFIG_SIZE; at++) {
		uint8_t mask = writable_bits(at);

		config_write(0, at, 1, 0xff);
		ck_assert_uint_eq(config_read(0, at, 1), before[at] | mask);
		config_write(0, at, 1, 0);
		ck_assert_uint_eq(config_read(0, at, 1), before[at] & ~mask);
		/* and no byte besides */
		before[at] &= (uint8_t)~mask;
		ck_assert_mem_eq(cards[0].fn.config, before, sizeof(before));
	}
	/* All of it at once, by words and dwords. */
	for (unsigned int width = 2; width <= 4; width += 2) {
		for (unsigned int at = 0; at < PCI_CONFIG_SIZE; at += width)
			config_write(0, at, width, UINT32_MAX);
		for (unsigned int at = 0; at < PCI_CONFIG_SIZE; at++)
			ck_assert_uint_eq(config_read(0, at, 1), before[at] | writable_bits(at));
	}
}
END_TEST

/* Bits between those of a register that is written in part stay. */
START_TEST(test_partial_writes)
{
	card_init(&cards[0], 0x10);
	plug(0, &cards[0]);
	config_write(0, PCI_BASE_ADDRESS_0, 4, 0xc0011110);
	config_write(0, PCI_BASE_ADDRESS_0 + 1, 1, 0x22);
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_0, 4), 0xc0012210);
	config_write(0, PCI_BASE_ADDRESS_0 + 2, 2, 0xc003);
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_0, 4), 0xc0032210);
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_0 + 1, 2), 0x0322);
}
END_TEST

START_TEST(test_capabilities)
{
	static const uint8_t first[] = {PCI_CAP_ID_VNDR, 0, 7, 1, 2, 3, 4};
	static const uint8_t second[] = {PCI_CAP_ID_MSIX, 0}, third[] = {PCI_CAP_ID_PM, 0, 9, 9};
	static const uint8_t want[] = {PCI_CAP_ID_VNDR, PCI_CAP_ID_MSIX, PCI_CAP_ID_PM};
	unsigned int at, n = 0;

	card_init(&cards[0], 0);
	ck_assert_uint_eq(pci_function_add_capability(&cards[0].fn, first, 7, NULL), 0x40);
	ck_assert_uint_eq(pci_function_add_capability(&cards[0].fn, second, 2, NULL), 0x48);
	ck_assert_uint_eq(pci_function_add_capability(&cards[0].fn, third, 4, NULL), 0x4c);
	plug(8, &cards[0]);
	ck_assert_uint_eq(config_read(8, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	for (at = config_read(8, PCI_CAPABILITY_LIST, 1); at != 0; at = config_read(8, at + 1, 1)) {
		ck_assert_uint_lt(n, 3);
		ck_assert_uint_eq(at % 4, 0);
		ck_assert_uint_eq(config_read(8, at, 1), want[n]);
		n++;
	}
	ck_assert_uint_eq(n, 3);
	ck_assert_uint_eq(config_read(8, 0x44, 4), 0x00040302);
}
END_TEST

START_TEST(test_capabilities_full)
{
	static const uint8_t cap[48] = {PCI_CAP_ID_VNDR};

	card_init(&cards[0], 0);
	for (int i = 0; i < 4; i++)
		pci_function_add_capability(&cards[0].fn, cap, 48, NULL);
	ck_assert_uint_eq(cards[0].fn.capabilities_end, PCI_CONFIG_SIZE);
	pci_function_add_capability(&cards[0].fn, cap, 2, NULL); /* asserts */
}
END_TEST

START_TEST(test_config_hooks)
{
	card_init(&cards[0], 0);
	plug(5, &cards[0]);
	config_read(5, 0x62, 2);
	ck_assert_uint_eq(cards[0].asked, 1);
	ck_assert_uint_eq(cards[0].offset, 0x62);
	ck_assert_uint_eq(cards[0].width, 2);
	config_write(5, 0x81, 1, 3);
	ck_assert_uint_eq(cards[0].writings, 1);
	ck_assert_uint_eq(cards[0].offset, 0x81);
	ck_assert_uint_eq(cards[0].width, 1);
	/* Other functions hear nothing, and neither does this one when it is not meant. */
	config_read(6, 0, 4);
	config_write(6, 0, 4, 0);
	select_config(5, 0);
	pci_port_read(&bus, 0, 4);
	ck_assert_uint_eq(cards[0].asked, 2);
	ck_assert_uint_eq(cards[0].writings, 1);
}
END_TEST

/* An access that goes on to BAR 0 has what it wrote in the configuration space as well. */
START_TEST(test_config_window)
{
	card_init(&cards[0], 0x1000);
	plug(5, &cards[0]);
	cards[0].window = true;
	ck_assert_uint_eq(config_read(5, 0x62, 2), 0x40);
	ck_assert_uint_eq(cards[0].bar_reads, 1);
	ck_assert_uint_eq(cards[0].bar_offset, 0x162);
	ck_assert_uint_eq(cards[0].bar_width, 2);
	config_write(5, PCI_INTERRUPT_LINE, 1, 3);
	ck_assert_uint_eq(cards[0].bar_writes, 1);
	ck_assert_uint_eq(cards[0].bar_offset, 0x100 + PCI_INTERRUPT_LINE);
	ck_assert_uint_eq(cards[0].bar_value, 3);
	cards[0].window = false;
	ck_assert_uint_eq(config_read(5, PCI_INTERRUPT_LINE, 1), 3);
	ck_assert_uint_eq(cards[0].bar_reads + cards[0].bar_writes, 2);
}
END_TEST

START_TEST(test_no_hooks)
{
	pci_function_init(&cards[0].fn, &ids, NULL);
	plug(0, &cards[0]);
	enable_memory(0);
	ck_assert_uint_eq(config_read(0, 0, 4), 0x10421af4);
	ck_assert_uint_eq(config_read(0, PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}
END_TEST

/* ---- mechanism #1 ---- */

/* Every offset and width at the eight ports, with an enabled address: what is a data access, and where it goes. */
START_TEST(test_ports)
{
	static const unsigned int widths[] = {1, 2, 4, 8};

	card_init(&cards[0], 0);
	plug(0, &cards[0]);
	for (uint64_t offset = 0; offset < 8; offset++) {
		for (int w = 0; w < 4; w++) {
			unsigned int width = widths[w], n;
			bool data = offset >= 4 && offset + width <= 8;
			uint64_t value;

			select_config(0, 0x40);
			for (unsigned int i = 0; i < 4; i++)
				cards[0].fn.config[0x40 + i] = (uint8_t)(0x10 + i);
			n = cards[0].asked;
			value = pci_port_read(&bus, offset, width);
			ck_assert_uint_eq(cards[0].asked, n + data);
			if (data)
				ck_assert_uint_eq(value, UINT64_C(0x13121110) >> 8 * (offset - 4) &
								 bus_ones(width));
			else if (offset == 0 && width == 4)
				ck_assert_uint_eq(value, ENABLE | 0x40);
			else
				ck_assert_uint_eq(value, bus_ones(width));
			n = cards[0].writings;
			pci_port_write(&bus, offset, width, 0);
			ck_assert_uint_eq(cards[0].writings, n + data);
			if (offset != 0 || width != 4)
				ck_assert_uint_eq(pci_port_read(&bus, 0, 4), ENABLE | 0x40);
		}
	}
}
END_TEST

/* The last bytes of the space; the two low bits of the address mean nothing. */
START_TEST(test_last_register)
{
	card_init(&cards[0], 0);
	cards[0].fn.config[0xff] = 0xab;
	plug(0, &cards[0]);
	ck_assert_uint_eq(config_read(0, 0xfc, 4), 0xab000000);
	ck_assert_uint_eq(config_read(0, 0xff, 1), 0xab);
	pci_port_write(&bus, 0, 4, ENABLE | 0xff);
	ck_assert_uint_eq(pci_port_read(&bus, 4, 4), 0xab000000);
	ck_assert_uint_eq(pci_port_read(&bus, 7, 1), 0xab);
	ck_assert_uint_eq(pci_port_read(&bus, 7, 2), 0xffff);
}
END_TEST

START_TEST(test_not_there)
{
	static const uint32_t addresses[] = {
		0,			/* disabled */
		0x800,			/* disabled */
		ENABLE | 0x010000,	/* bus 1 */
		ENABLE | 0xff0000,	/* bus 255 */
		ENABLE | 0x800,		/* device 1 */
		ENABLE | 0x100,		/* function 1 */
		ENABLE | 0xff00,	/* device 31, function 7 */
		ENABLE | 0xff00 | 0x40, /* one of its registers */
		ENABLE | 0x01000000,	/* registers 0x100 and 0xf00 of what is there */
		ENABLE | 0x0f000000};

	card_init(&cards[0], 0);
	plug(0, &cards[0]);
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
		pci_port_write(&bus, 0, 4, addresses[i]);
		ck_assert_uint_eq(pci_port_read(&bus, 0, 4), addresses[i]);
		for (unsigned int width = 1; width <= 4; width *= 2) {
			ck_assert_uint_eq(pci_port_read(&bus, 4, width), bus_ones(width));
			pci_port_write(&bus, 4, width, 0);
		}
	}
	ck_assert_uint_eq(cards[0].asked + cards[0].writings, 0);
}
END_TEST

START_TEST(test_multifunction)
{
	/* Function 0 first or last: a scan finds the others either way. */
	for (int i = 0; i < 3; i++)
		card_init(&cards[i], 0);
	plug(PCI_DEVFN(2, _i ? 5 : 0), &cards[0]);
	ck_assert_uint_eq(cards[0].fn.config[PCI_HEADER_TYPE], 0);
	plug(PCI_DEVFN(2, _i ? 0 : 5), &cards[1]);
	plug(PCI_DEVFN(3, 0), &cards[2]);
	ck_assert_uint_eq(config_read(PCI_DEVFN(2, 0), PCI_HEADER_TYPE, 1), 0x80);
	ck_assert_uint_eq(config_read(PCI_DEVFN(2, 5), PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(config_read(PCI_DEVFN(3, 0), PCI_HEADER_TYPE, 1), 0);
	ck_assert_uint_eq(config_read(PCI_DEVFN(2, 1), PCI_VENDOR_ID, 4), UINT32_MAX);
}
END_TEST

START_TEST(test_add_taken)
{
	card_init(&cards[0], 0);
	card_init(&cards[1], 0);
	plug(255, &cards[0]);
	ck_assert_int_eq(pci_bus_add(&bus, 255, &cards[1].fn), -EEXIST);
	ck_assert_uint_eq(bus.n_present, 1);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/pci");
	TCase *config = tcase_create("configuration");

	tcase_add_checked_fixture(config, setup, teardown);
	tcase_add_test(config, test_header);
	tcase_add_test(config, test_masks);
	tcase_add_test(config, test_partial_writes);
	tcase_add_test(config, test_capabilities);
	tcase_add_test_raise_signal(config, test_capabilities_full, SIGABRT);
	tcase_add_test(config, test_config_hooks);
	tcase_add_test(config, test_config_window);
	tcase_add_test(config, test_no_hooks);
	tcase_add_test(config, test_ports);
	tcase_add_test(config, test_last_register);
	tcase_add_test(config, test_not_there);
	tcase_add_loop_test(config, test_multifunction, 0, 2);
	tcase_add_test(config, test_add_taken);
	suite_add_tcase(s, config);
	return s;
}

int main(void)
{
	SRunner *runner = srunner_create(suite());
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
