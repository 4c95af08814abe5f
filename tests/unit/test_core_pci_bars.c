/* vmm/core/pci: BARs as a driver sizes and moves them, and the window. */
#include "tests/unit/pci_fixture.h"

/* ---- as a driver does it ---- */

static uint64_t mmio_read(uint64_t address, unsigned int width)
{
	return pci_window_read(&bus, address - WINDOW, width);
}

static void mmio_write(uint64_t address, unsigned int width, uint64_t value)
{
	pci_window_write(&bus, address - WINDOW, width, value);
}

/* Whether an access at address goes to card, at offset. */
static void check_hit(struct card *card, uint64_t address, unsigned int width, uint64_t offset)
{
	unsigned int reads = card->bar_reads, writes = card->bar_writes;

	ck_assert_uint_eq(mmio_read(address, width), 0x40 + (uint64_t)(card - cards));
	ck_assert_uint_eq(card->bar_reads, reads + 1);
	ck_assert_uint_eq(card->bar_offset, offset);
	card->bar_offset = UINT64_MAX;
	mmio_write(address, width, 0x55);
	ck_assert_uint_eq(card->bar_writes, writes + 1);
	ck_assert_uint_eq(card->bar_offset, offset);
	ck_assert_uint_eq(card->bar_width, width);
	ck_assert_uint_eq(card->bar_value, 0x55);
}

static void check_miss(uint64_t address, unsigned int width)
{
	unsigned int before = 0, after = 0;

	for (int i = 0; i < 3; i++)
		before += cards[i].bar_reads + cards[i].bar_writes;
	ck_assert_uint_eq(mmio_read(address, width), bus_ones(width));
	mmio_write(address, width, 0);
	for (int i = 0; i < 3; i++)
		after += cards[i].bar_reads + cards[i].bar_writes;
	ck_assert_uint_eq(after, before);
}

/* ---- BARs ---- */

/* Sizing as Linux does it, decoding switched off meanwhile (drivers/pci/probe.c, __pci_read_base()). */
START_TEST(test_sizing)
{
	static const uint32_t sizes[] = {0x10, 0x100, 0x1000, 0x8000, 0x80000};
	uint32_t old, got;

	card_init(&cards[0], sizes[_i]);
	plug(0, &cards[0]);
	enable_memory(0);
	ck_assert_uint_eq(cards[0].moves, 1);
	config_write(0, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	ck_assert_uint_eq(cards[0].moves, 2);
	ck_assert_uint_eq(cards[0].address, 0);
	old = config_read(0, PCI_BASE_ADDRESS_0, 4);
	config_write(0, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	got = config_read(0, PCI_BASE_ADDRESS_0, 4);
	config_write(0, PCI_BASE_ADDRESS_0, 4, old);
	ck_assert_uint_eq(got & ~PCI_BASE_ADDRESS_MEM_MASK & 0xffffffff, 0);
	ck_assert_uint_eq(~got + 1, sizes[_i]);
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_0, 4), old);
	/* Nothing moved behind the switch. */
	ck_assert_uint_eq(cards[0].moves, 2);
	enable_memory(0);
	ck_assert_uint_eq(cards[0].address, WINDOW);
	/* With decoding on it is gone while it holds all ones, and comes back. */
	config_write(0, PCI_BASE_ADDRESS_0, 4, UINT32_MAX);
	ck_assert_uint_eq(cards[0].address, 0);
	check_miss(WINDOW, 4);
	config_write(0, PCI_BASE_ADDRESS_0, 4, old);
	ck_assert_uint_eq(cards[0].address, WINDOW);
	check_hit(&cards[0], WINDOW, 4, 0);
	/* Registers of BARs that are not there read as nothing. */
	config_write(0, PCI_BASE_ADDRESS_1, 4, UINT32_MAX);
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_1, 4), 0);
	config_write(0, PCI_ROM_ADDRESS, 4, UINT32_MAX);
	ck_assert_uint_eq(config_read(0, PCI_ROM_ADDRESS, 4), 0);
}
END_TEST

START_TEST(test_memory_enable)
{
	card_init(&cards[0], 0x1000);
	plug(0, &cards[0]);
	check_miss(WINDOW, 4);
	config_write(0, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	ck_assert_uint_eq(cards[0].moves, 0);
	check_miss(WINDOW, 4);
	config_write(0, PCI_COMMAND, 1, PCI_COMMAND_MEMORY);
	ck_assert_uint_eq(cards[0].moves, 1);
	ck_assert_uint_eq(cards[0].bar, 0);
	ck_assert_uint_eq(cards[0].address, WINDOW);
	check_hit(&cards[0], WINDOW, 4, 0);
	config_write(0, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE);
	ck_assert_uint_eq(cards[0].moves, 1);
	config_write(0, PCI_COMMAND, 2, 0);
	ck_assert_uint_eq(cards[0].address, 0);
	check_miss(WINDOW, 4);
}
END_TEST

/* At the borders of the BAR, every width. */
START_TEST(test_edges)
{
	static const unsigned int widths[] = {1, 2, 4, 8};

	card_init(&cards[0], 0x1000);
	card_init(&cards[1], 0x10);
	plug(8, &cards[0]);
	plug(16, &cards[1]);
	enable_memory(8);
	enable_memory(16);
	ck_assert_uint_eq(cards[1].address, WINDOW + 0x1000);
	for (int w = 0; w < 4; w++) {
		unsigned int width = widths[w];

		check_hit(&cards[0], WINDOW, width, 0);
		check_hit(&cards[0], WINDOW + 0x1000 - width, width, 0x1000 - width);
		check_hit(&cards[1], WINDOW + 0x1000, width, 0);
		check_hit(&cards[1], WINDOW + 0x1010 - width, width, 0x10 - width);
		check_miss(WINDOW + 0x1010, width);
		/* Half here, half there, or half nowhere, is nobody's. */
		if (width > 1) {
			check_miss(WINDOW + 0x1000 - width + 1, width);
			check_miss(WINDOW + 0x1000 - 1, width);
			check_miss(WINDOW + 0x1010 - 1, width);
		}
	}
	check_miss(WINDOW + WINDOW_SIZE - 8, 8);
}
END_TEST

START_TEST(test_move)
{
	card_init(&cards[0], 0x1000);
	plug(0, &cards[0]);
	enable_memory(0);
	config_write(0, PCI_BASE_ADDRESS_0, 4, 0xc0042000);
	ck_assert_uint_eq(cards[0].address, 0xc0042000);
	check_hit(&cards[0], 0xc0042ff8, 8, 0xff8);
	config_write(0, PCI_BASE_ADDRESS_0, 4, moves[_i].to);
	/* Wherever it is, the register says what was written. */
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_0, 4), moves[_i].to);
	ck_assert_uint_eq(cards[0].address, moves[_i].there ? moves[_i].to : 0);
	check_miss(0xc0042000, 4);
	if (moves[_i].there)
		check_hit(&cards[0], moves[_i].to + 4, 4, 4);
	else
		for (uint64_t at = WINDOW; at < WINDOW + WINDOW_SIZE; at += 0x1000)
			ck_assert_uint_eq(mmio_read(at, 4), UINT32_MAX);
	/* The low bits say what kind of BAR it is, not where. */
	config_write(0, PCI_BASE_ADDRESS_0, 4, 0xc0042fff);
	ck_assert_uint_eq(config_read(0, PCI_BASE_ADDRESS_0, 4), 0xc0042000);
	check_hit(&cards[0], 0xc0042000, 4, 0);
}
END_TEST

/* Laid over one another, one of them answers, and both are there again afterwards. */
START_TEST(test_overlap)
{
	card_init(&cards[0], 0x1000);
	card_init(&cards[1], 0x4000);
	plug(8, &cards[0]);
	plug(16, &cards[1]);
	enable_memory(8);
	enable_memory(16);
	ck_assert_uint_eq(cards[1].address, WINDOW + 0x4000);
	config_write(8, PCI_BASE_ADDRESS_0, 4, (uint32_t)WINDOW + 0x5000);
	ck_assert_uint_eq(cards[0].address, WINDOW + 0x5000);
	ck_assert_uint_ne(mmio_read(WINDOW + 0x5000, 4), UINT32_MAX);
	ck_assert_uint_eq(cards[0].bar_reads + cards[1].bar_reads, 1);
	check_hit(&cards[1], WINDOW + 0x4ffc, 4, 0xffc);
	check_hit(&cards[1], WINDOW + 0x6000, 4, 0x2000);
	config_write(8, PCI_BASE_ADDRESS_0, 4, (uint32_t)WINDOW);
	check_hit(&cards[0], WINDOW, 4, 0);
	check_hit(&cards[1], WINDOW + 0x5000, 4, 0x1000);
}
END_TEST

/* Several BARs of one function, in an order that needs gaps. */
START_TEST(test_several_bars)
{
	static const uint32_t sizes[] = {0x100, 0x4000, 0x10, 0x1000};
	uint64_t end = WINDOW;

	card_init(&cards[0], 0);
	for (unsigned int i = 0; i < 4; i++) {
		const struct pci_bar bar = {.size = sizes[i],
					    .read = card_bar_read,
					    .write = card_bar_write,
					    .arg = &cards[0]};

		pci_function_set_bar(&cards[0].fn, i + 1, &bar);
	}
	plug(0, &cards[0]);
	enable_memory(0);
	ck_assert_uint_eq(cards[0].moves, 4);
	for (unsigned int i = 0; i < 4; i++) {
		uint32_t at = config_read(0, PCI_BASE_ADDRESS_0 + 4 * (i + 1), 4);

		ck_assert_uint_eq(at % sizes[i], 0);
		ck_assert_uint_ge(at, end);
		end = at + (uint64_t)sizes[i];
		check_hit(&cards[0], at + sizes[i] - 4, 4, sizes[i] - 4);
	}
}
END_TEST

START_TEST(test_window_full)
{
	card_init(&cards[0], (uint32_t)WINDOW_SIZE / 2);
	card_init(&cards[1], (uint32_t)WINDOW_SIZE);
	card_init(&cards[2], (uint32_t)WINDOW_SIZE / 2);
	plug(0, &cards[0]);
	ck_assert_int_eq(pci_bus_add(&bus, 8, &cards[1].fn), -ENOSPC);
	ck_assert_uint_eq(config_read(8, 0, 4), UINT32_MAX);
	plug(16, &cards[2]);
	ck_assert_uint_eq(config_read(16, PCI_BASE_ADDRESS_0, 4), WINDOW + WINDOW_SIZE / 2);
	card_init(&cards[1], 0x10);
	ck_assert_int_eq(pci_bus_add(&bus, 8, &cards[1].fn), -ENOSPC);
	/* Without a BAR there is always room. */
	card_init(&cards[1], 0);
	plug(8, &cards[1]);
	enable_memory(16);
	check_hit(&cards[2], WINDOW + WINDOW_SIZE - 8, 8, WINDOW_SIZE / 2 - 8);
}
END_TEST

START_TEST(test_window_larger_bar)
{
	card_init(&cards[0], UINT32_C(0x80000000));
	ck_assert_int_eq(pci_bus_add(&bus, 0, &cards[0].fn), -ENOSPC);
}
END_TEST

/* A window that ends in the middle of where the next BAR would go. */
START_TEST(test_window_odd_end)
{
	struct pci_bus odd;

	pci_bus_init(&odd, WINDOW, 0x18000);
	card_init(&cards[0], 0x10000);
	card_init(&cards[1], 0x10000);
	card_init(&cards[2], 0x8000);
	ck_assert_int_eq(pci_bus_add(&odd, 0, &cards[0].fn), 0);
	ck_assert_int_eq(pci_bus_add(&odd, 8, &cards[1].fn), -ENOSPC);
	ck_assert_int_eq(pci_bus_add(&odd, 8, &cards[2].fn), 0);
	pci_bus_fini(&odd);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("core/pci, BARs");
	TCase *bars = tcase_create("bars");

	tcase_add_checked_fixture(bars, setup, teardown);
	tcase_add_loop_test(bars, test_sizing, 0, 5);
	tcase_add_test(bars, test_memory_enable);
	tcase_add_test(bars, test_edges);
	tcase_add_loop_test(bars, test_move, 0, sizeof(moves) / sizeof(moves[0]));
	tcase_add_test(bars, test_overlap);
	tcase_add_test(bars, test_several_bars);
	tcase_add_test(bars, test_window_full);
	tcase_add_test(bars, test_window_larger_bar);
	tcase_add_test(bars, test_window_odd_end);
	suite_add_tcase(s, bars);
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
