/*
 * A bus with functions whose BARs keep book, and a driver that sizes and moves them, for tests.
 */
#pragma once

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
	unsigned int asked, writings, offset, width;
	bool window; /* all of its configuration space is one to its BAR */
	unsigned int bar_reads, bar_writes, bar_width;
	uint64_t bar_offset, bar_value;
} cards[3];

static struct pci_bus bus;

static inline void card_moved(void *arg, unsigned int bar, uint64_t address)
{
	struct card *card = arg;

	card->moves++;
	card->bar = bar;
	card->address = address;
}

static inline bool card_window(void *arg, unsigned int offset, unsigned int width, uint32_t *target)
{
	struct card *card = arg;

	card->asked++;
	card->offset = offset;
	card->width = width;
	*target = 0x100 + offset;
	return card->window;
}

static inline void card_written(void *arg, unsigned int offset, unsigned int width)
{
	struct card *card = arg;

	card->writings++;
	card->offset = offset;
	card->width = width;
}

static inline uint64_t card_bar_read(void *arg, uint64_t offset, unsigned int width)
{
	struct card *card = arg;

	card->bar_reads++;
	card->bar_offset = offset;
	card->bar_width = width;
	return 0x40 + (uint64_t)(card - cards);
}

static inline void card_bar_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct card *card = arg;

	card->bar_writes++;
	card->bar_offset = offset;
	card->bar_width = width;
	card->bar_value = value;
}

static inline void card_init(struct card *card, uint32_t bar_size)
{
	const struct pci_hooks hooks = {.bar_moved = card_moved,
					.config_written = card_written,
					.config_window = card_window,
					.arg = card};
	const struct pci_bar bar = {
		.size = bar_size, .read = card_bar_read, .write = card_bar_write, .arg = card};

	pci_function_init(&card->fn, &ids, &hooks);
	if (bar_size)
		pci_function_set_bar(&card->fn, 0, &bar);
}

static inline void setup(void)
{
	memset(cards, 0, sizeof(cards));
	pci_bus_init(&bus, WINDOW, WINDOW_SIZE);
}

static inline void teardown(void)
{
	pci_bus_fini(&bus);
}

/* ---- as a driver does it ---- */

static inline void select_config(unsigned int devfn, unsigned int offset)
{
	pci_port_write(&bus, 0, 4, ENABLE | devfn << 8 | (offset & 0xfc));
}

static inline uint32_t config_read(unsigned int devfn, unsigned int offset, unsigned int width)
{
	select_config(devfn, offset);
	return (uint32_t)pci_port_read(&bus, 4 + (offset & 3), width);
}

static inline void config_write(unsigned int devfn, unsigned int offset, unsigned int width,
				uint32_t value)
{
	select_config(devfn, offset);
	pci_port_write(&bus, 4 + (offset & 3), width, value);
}

static inline void plug(unsigned int devfn, struct card *card)
{
	ck_assert_int_eq(pci_bus_add(&bus, devfn, &card->fn), 0);
}

static inline void enable_memory(unsigned int devfn)
{
	config_write(devfn, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

/* ---- BARs ---- */

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
