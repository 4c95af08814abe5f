/* vmm/core/pci: configuration space and its mechanism, BARs as a driver sizes and moves them, the window. */
#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "vmm/core/pci.h"

#define WINDOW	    UINT64_C(0xc0000000)
#define WINDOW_SIZE UINT64_C(0x100000)
#define ENABLE	    UINT32_C(0x80000000)

static const struct pci_ids ids = {.vendor = 0x1af4,
				   .device = 0x1042,
				   .subsystem_vendor = 0x1af5,
				   .subsystem = 0x1043,
				   .class_code = 0x018002,
				   .revision = 7};

/* A function whose hooks and BARs note what they were called with. */
static struct card {
	struct pci_function fn;
	unsigned int moves, bar;
	uint64_t address;
	unsigned int readings, writings, offset, width;
	unsigned int bar_reads, bar_writes, bar_width;
	uint64_t bar_offset, bar_value;
} cards[3];

static struct pci_bus bus;

static void card_moved(void *arg, unsigned int bar, uint64_t address)
{
	struct card *card = arg;

	card->moves++;
	card->bar = bar;
	card->address = address;
}

static void card_reading(void *arg, unsigned int offset, unsigned int width)
{
	struct card *card = arg;

	card->readings++;
	card->offset = offset;
	card->width = width;
}

static void card_written(void *arg, unsigned int offset, unsigned int width)
{
	struct card *card = arg;

	card->writings++;
	card->offset = offset;
	card->width = width;
}

static uint64_t card_bar_read(void *arg, uint64_t offset, unsigned int width)
{
	struct card *card = arg;

	card->bar_reads++;
	card->bar_offset = offset;
	card->bar_width = width;
	return 0x40 + (uint64_t)(card - cards);
}

static void card_bar_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct card *card = arg;

	card->bar_writes++;
	card->bar_offset = offset;
	card->bar_width = width;
	card->bar_value = value;
}

static void card_init(struct card *card, uint32_t bar_size)
{
	const struct pci_hooks hooks = {.bar_moved = card_moved,
					.config_reading = card_reading,
					.config_written = card_written,
					.arg = card};
	const struct pci_bar bar = {
		.size = bar_size, .read = card_bar_read, .write = card_bar_write, .arg = card};

	pci_function_init(&card->fn, &ids, &hooks);
	if (bar_size)
		pci_function_set_bar(&card->fn, 0, &bar);
}

static void setup(void)
{
	memset(cards, 0, sizeof(cards));
	pci_bus_init(&bus, WINDOW, WINDOW_SIZE);
}

static void teardown(void)
{
	pci_bus_fini(&bus);
}

/* ---- as a driver does it ---- */

static void select_config(unsigned int devfn, unsigned int offset)
{
	pci_port_write(&bus, 0, 4, ENABLE | devfn << 8 | (offset & 0xfc));
}

static uint32_t config_read(unsigned int devfn, unsigned int offset, unsigned int width)
{
	select_config(devfn, offset);
	return (uint32_t)pci_port_read(&bus, 4 + (offset & 3), width);
}

static void config_write(unsigned int devfn, unsigned int offset, unsigned int width,
			 uint32_t value)
{
	select_config(devfn, offset);
	pci_port_write(&bus, 4 + (offset & 3), width, value);
}

static void plug(unsigned int devfn, struct card *card)
{
	ck_assert_int_eq(pci_bus_add(&bus, devfn, &card->fn), 0);
}

static void enable_memory(unsigned int devfn)
{
	config_write(devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

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
	ck_assert_uint_eq(cards[0].readings, 1);
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
	ck_assert_uint_eq(cards[0].readings + cards[0].writings, 2);
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
			n = cards[0].readings;
			value = pci_port_read(&bus, offset, width);
			ck_assert_uint_eq(cards[0].readings, n + data);
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
		0,		       /* disabled */
		0x800,		       /* disabled */
		ENABLE | 0x010000,     /* bus 1 */
		ENABLE | 0xff0000,     /* bus 255 */
		ENABLE | 0x800,	       /* device 1 */
		ENABLE | 0x100,	       /* function 1 */
		ENABLE | 0xff00,       /* device 31, function 7 */
		ENABLE | 0xff00 | 0x40 /* one of its registers */
	};

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
	ck_assert_uint_eq(cards[0].readings + cards[0].writings, 0);
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

static const struct {
	uint32_t to;
	bool there;
} moves[] = {
	{0xc0000000, true},  {0xc0001000, true},  {0xc0080000, true},
	{0xc00ff000, true},  /* the last place */
	{0xc0100000, false}, /* right behind */
	{0xbffff000, false}, /* right before */
	{0x00000000, false}, {0x00001000, false}, {0x80000000, false},
	{0xfee00000, false}, {0xfffff000, false},
};

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
	Suite *s = suite_create("core/pci");
	TCase *config = tcase_create("configuration"), *bars = tcase_create("bars");

	tcase_add_checked_fixture(config, setup, teardown);
	tcase_add_test(config, test_header);
	tcase_add_test(config, test_masks);
	tcase_add_test(config, test_partial_writes);
	tcase_add_test(config, test_capabilities);
	tcase_add_test_raise_signal(config, test_capabilities_full, SIGABRT);
	tcase_add_test(config, test_config_hooks);
	tcase_add_test(config, test_no_hooks);
	tcase_add_test(config, test_ports);
	tcase_add_test(config, test_last_register);
	tcase_add_test(config, test_not_there);
	tcase_add_loop_test(config, test_multifunction, 0, 2);
	tcase_add_test(config, test_add_taken);
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
	suite_add_tcase(s, config);
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
