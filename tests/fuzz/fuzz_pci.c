/*
 * A guest against the configuration space and the BARs of a PCI bus with a few cards, and against the routing of ports and
 * memory in front of them.
 *
 * Fuzzes: vmm/core/pci.c vmm/core/bus.c
 */
#include <errno.h>
#include <linux/pci_regs.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"
#include "vmm/core/pci.h"

#define WINDOW	    UINT64_C(0xc0000000)
#define WINDOW_SIZE UINT64_C(0x100000)
#define PORTS	    0xc000
#define PORTS_SIZE  0x1000
#define CARDS	    5

/* Sizes of BARs; ports have bit 0 set. */
static const struct {
	uint8_t devfn;
	uint32_t bar[3];
} plan[CARDS] = {{PCI_DEVFN(0, 0), {0}},
		 {PCI_DEVFN(1, 0), {0x1000, 0x100 | 1, 0x10}},
		 {PCI_DEVFN(1, 3), {0x10000, 0, 0x20 | 1}},
		 {PCI_DEVFN(4, 0), {0x10 | 1, 0x40000}},
		 {PCI_DEVFN(31, 7), {0x8000, 0x100 | 1, 0x4000}}};

static struct card {
	struct pci_function fn;
	uint8_t at_first[PCI_CONFIG_SIZE];
	uint64_t address[PCI_MAX_BARS]; /* as bar_moved() was told */
} cards[CARDS];

static struct pci_bus pci;
static struct bus ports, memory;

/* ---- the cards ---- */

static void on_moved(void *arg, unsigned int bar, uint64_t address)
{
	struct card *card = arg;

	FUZZ_CHECK(bar < PCI_MAX_BARS && card->address[bar] != address);
	card->address[bar] = address;
}

static void on_config(void *arg, unsigned int offset, unsigned int width)
{
	(void)arg;
	FUZZ_CHECK(offset + width <= PCI_CONFIG_SIZE);
	FUZZ_CHECK(width == 1 || width == 2 || width == 4);
}

static bool on_window(void *arg, unsigned int offset, unsigned int width, uint32_t *target)
{
	on_config(arg, offset, width);
	*target = 0;
	return false;
}

/* arg is a BAR. */
static uint64_t on_read(void *arg, uint64_t offset, unsigned int width)
{
	const struct pci_bar *bar = arg;

	FUZZ_CHECK(offset < bar->size && width <= bar->size - offset);
	return UINT64_MAX;
}

static void on_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	const struct pci_bar *bar = arg;

	(void)value;
	FUZZ_CHECK(offset < bar->size && width <= bar->size - offset);
}

static int plug(unsigned int i)
{
	static const uint8_t cap[8] = {PCI_CAP_ID_VNDR, 0, 8, 1, 2, 3, 4, 5};
	static const uint8_t writable[8] = {0, 0, 0, 0xff, 0x0f, 0, 0xff};
	const struct pci_ids ids = {.vendor = 0x1af4, .device = (uint16_t)(0x1000 + i)};
	struct card *card = &cards[i];
	const struct pci_hooks hooks = {.bar_moved = on_moved,
					.config_written = on_config,
					.config_window = on_window,
					.arg = card};

	memset(card, 0, sizeof(*card));
	pci_function_init(&card->fn, &ids, i ? &hooks : NULL);
	for (unsigned int j = 0; j < 3; j++) {
		const struct pci_bar bar = {.ports = plan[i].bar[j] & 1,
					    .size = plan[i].bar[j] & ~1u,
					    .read = on_read,
					    .write = on_write,
					    .arg = &card->fn.bar[j]};

		if (bar.size)
			pci_function_set_bar(&card->fn, j, &bar);
	}
	pci_function_add_capability(&card->fn, cap, sizeof(cap), NULL);
	pci_function_add_capability(&card->fn, cap, sizeof(cap), writable);
	return pci_bus_add(&pci, plan[i].devfn, &card->fn);
}

/* ---- the machine ---- */

static void add_region(struct bus *bus, uint64_t base, uint64_t size, bus_read_fn *read,
		       bus_write_fn *write)
{
	const struct bus_region region = {
		.base = base, .size = size, .read = read, .write = write, .arg = &pci};

	FUZZ_CHECK(bus_add(bus, &region) == 0);
}

/* Regions of nobody, where there is room, for a look at the order that they are kept in. */
static void add_others(struct fuzz_input *in)
{
	uint8_t n = fuzz_u8(in) % 72;

	for (unsigned int i = 0; i < n; i++) {
		struct bus_region region = {.base = 0x1000u * i, .size = 0x1000};
		int err;

		if (i == 0)
			region.base = fuzz_u64(in);
		if (i > 0 && i < 4) {
			region.base = fuzz_u16(in);
			region.size = fuzz_u8(in);
		}
		err = bus_add(&ports, &region);
		FUZZ_CHECK(err == 0 || err == -EEXIST || err == -ENOSPC || err == -EINVAL);
	}
	for (unsigned int i = 1; i < ports.n_regions; i++)
		FUZZ_CHECK(ports.regions[i - 1].base + (ports.regions[i - 1].size - 1) <
			   ports.regions[i].base);
	bus_init(&ports);
}

static void build(struct fuzz_input *in)
{
	bus_init(&ports);
	bus_init(&memory);
	pci_bus_init(&pci, WINDOW, WINDOW_SIZE);
	pci_bus_set_ports(&pci, PORTS, PORTS_SIZE);
	add_others(in);
	add_region(&ports, PCI_PORT_BASE, PCI_PORT_SIZE, pci_port_read, pci_port_write);
	add_region(&ports, PORTS, PORTS_SIZE, pci_ports_read, pci_ports_write);
	add_region(&memory, WINDOW, WINDOW_SIZE, pci_window_read, pci_window_write);
	bus_seal(&ports);
	bus_seal(&memory);
	for (unsigned int i = 0; i < CARDS; i++)
		FUZZ_CHECK(plug(i) == 0);
	FUZZ_CHECK(pci_bus_add(&pci, plan[0].devfn, &cards[0].fn) == -EEXIST);
	for (unsigned int i = 0; i < CARDS; i++)
		memcpy(cards[i].at_first, cards[i].fn.config, PCI_CONFIG_SIZE);
}

/* ---- the guest ---- */

static void op_config(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in), offset = fuzz_u8(in);
	unsigned int width = 1u << (how & 3), port = PCI_PORT_BASE + 4;
	uint32_t devfn = how & 4 ? fuzz_u16(in) : plan[(how >> 4) % CARDS].devfn;

	bus_write(&ports, PCI_PORT_BASE, how >= 0xf8 ? 2 : 4,
		  (how & 0xc ? 0x80000000u : fuzz_u32(in)) | devfn << 8 | (offset & 0xfc));
	if (how & 8)
		bus_write(&ports, port + (offset & 3), width, fuzz_u32(in));
	else
		bus_read(&ports, port + (offset & 3), width);
}

/* A BAR where it may be, or near the border of the window. */
static void op_move(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	uint32_t to = (how & 0x80 ? PORTS - 0x100u + fuzz_u16(in) % 0x1200u
				  : (uint32_t)WINDOW - 0x8000u + fuzz_u32(in) % 0x110000u);
	uint32_t at = 0x80000000u | (uint32_t)plan[how % CARDS].devfn << 8;

	if (how & 0x40) {
		bus_write(&ports, PCI_PORT_BASE, 4, at | PCI_COMMAND);
		bus_write(&ports, PCI_PORT_BASE + 4, 2, how >> 3 & 7);
	}
	bus_write(&ports, PCI_PORT_BASE, 4, at | (PCI_BASE_ADDRESS_0 + 4 * (how >> 4 & 3) % 3));
	bus_write(&ports, PCI_PORT_BASE + 4, 4, to);
}

static void op_access(struct fuzz_input *in)
{
	uint8_t how = fuzz_u8(in);
	unsigned int width = 1u << (how & 3);
	const struct card *card = &cards[(how >> 2) % CARDS];
	unsigned int bar = fuzz_u8(in) % 3;
	uint64_t at = card->fn.bar_address[bar] + (uint64_t)(int64_t)(int16_t)fuzz_u16(in);
	const struct bus *bus = card->fn.bar[bar].ports ? &ports : &memory;

	if (how >= 0xe0)
		at = fuzz_u64(in);
	else if (how >= 0xc0)
		at = PCI_PORT_BASE + how % 16;
	if (how & 0x20)
		bus_write(bus, at, width, fuzz_u8(in));
	else
		FUZZ_CHECK((bus_read(bus, at, width) & ~bus_ones(width)) == 0);
}

/* ---- what must be so ---- */

static void check_bar(const struct card *card, unsigned int i)
{
	const struct pci_bar *bar = &card->fn.bar[i];
	const struct pci_window *window = bar->ports ? &pci.ports : &pci.memory;
	uint64_t at = card->fn.bar_address[i];
	uint8_t enable = bar->ports ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;

	FUZZ_CHECK(card->address[i] == (card->fn.hooks.bar_moved ? at : 0));
	if (at == 0)
		return;
	FUZZ_CHECK(at % bar->size == 0 && (card->fn.config[PCI_COMMAND] & enable));
	FUZZ_CHECK(at >= window->base && at + bar->size <= window->base + window->size);
}

static void check(void)
{
	for (unsigned int i = 0; i < CARDS; i++) {
		const struct card *card = &cards[i];

		for (unsigned int j = 0; j < PCI_MAX_BARS; j++)
			check_bar(card, j);
		for (unsigned int j = 0; j < PCI_CONFIG_SIZE; j++)
			FUZZ_CHECK(((card->fn.config[j] ^ card->at_first[j]) &
				    ~card->fn.writable[j]) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};

	build(&in);
	while (fuzz_more(&in)) {
		uint8_t what = fuzz_u8(&in) % 4;

		if (what == 0)
			op_move(&in);
		else if (what == 1)
			op_config(&in);
		else
			op_access(&in);
		check();
	}
	pci_bus_fini(&pci);
	return 0;
}
