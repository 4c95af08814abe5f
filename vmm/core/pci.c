#include "vmm/core/pci.h"

#include <errno.h>
#include <string.h>
#include <linux/pci_regs.h>

#include "vmm/core/assert.h"

#define PCI_ADDRESS_ENABLE UINT32_C(0x80000000)
/*
 * From bit 16 on: other buses, and the upper bits of registers from 0x100 on, which no function has. AMD's CPUs lead there, so Linux
 * looks for them on these.
 */
#define PCI_ADDRESS_OTHERS 0x7fffu
#define PCI_PORTS_MAX	   256u

uint32_t pci_config_get(const struct pci_function *fn, unsigned int offset, unsigned int width)
{
	uint32_t value = 0;

	assert(offset + width <= PCI_CONFIG_SIZE && width <= 4);
	for (unsigned int i = 0; i < width; i++)
		value |= (uint32_t)fn->config[offset + i] << (8 * i);
	return value;
}

void pci_config_set(struct pci_function *fn, unsigned int offset, unsigned int width,
		    uint32_t value)
{
	assert(offset + width <= PCI_CONFIG_SIZE && width <= 4);
	for (unsigned int i = 0; i < width; i++)
		fn->config[offset + i] = (uint8_t)(value >> (8 * i));
}

static void pci_writable_set(struct pci_function *fn, unsigned int offset, unsigned int width,
			     uint32_t bits)
{
	for (unsigned int i = 0; i < width; i++)
		fn->writable[offset + i] = (uint8_t)(bits >> (8 * i));
}

void pci_function_init(struct pci_function *fn, const struct pci_ids *ids,
		       const struct pci_hooks *hooks)
{
	memset(fn, 0, sizeof(*fn));
	if (hooks)
		fn->hooks = *hooks;
	fn->capabilities_end = PCI_STD_HEADER_SIZEOF;
	pci_config_set(fn, PCI_VENDOR_ID, 2, ids->vendor);
	pci_config_set(fn, PCI_DEVICE_ID, 2, ids->device);
	pci_config_set(fn, PCI_CLASS_REVISION, 4, ids->class_code << 8 | ids->revision);
	pci_config_set(fn, PCI_SUBSYSTEM_VENDOR_ID, 2, ids->subsystem_vendor);
	pci_config_set(fn, PCI_SUBSYSTEM_ID, 2, ids->subsystem);
	pci_writable_set(fn, PCI_COMMAND, 2,
			 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
	pci_writable_set(fn, PCI_INTERRUPT_LINE, 1, 0xff);
}

void pci_function_set_bar(struct pci_function *fn, unsigned int index, const struct pci_bar *bar)
{
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * index;

	assert(index < PCI_MAX_BARS && bar->size >= 16 && (bar->size & (bar->size - 1)) == 0);
	assert(!bar->ports || bar->size <= PCI_PORTS_MAX);
	fn->bar[index] = *bar;
	pci_writable_set(fn, at, 4, ~(bar->size - 1));
	if (bar->ports) {
		fn->config[at] = PCI_BASE_ADDRESS_SPACE_IO;
		fn->writable[PCI_COMMAND] |= PCI_COMMAND_IO;
	}
}

unsigned int pci_function_add_capability(struct pci_function *fn, const void *cap, unsigned int len,
					 const void *writable)
{
	unsigned int offset = (fn->capabilities_end + 3) & ~3u;

	assert(len >= 2 && offset + len <= PCI_CONFIG_SIZE);
	memcpy(&fn->config[offset], cap, len);
	if (writable)
		memcpy(&fn->writable[offset], writable, len);
	fn->config[offset + PCI_CAP_LIST_NEXT] = 0;
	if (fn->last_capability)
		fn->config[fn->last_capability + PCI_CAP_LIST_NEXT] = (uint8_t)offset;
	else
		fn->config[PCI_CAPABILITY_LIST] = (uint8_t)offset;
	pci_config_set(fn, PCI_STATUS, 2, pci_config_get(fn, PCI_STATUS, 2) | PCI_STATUS_CAP_LIST);
	fn->last_capability = offset;
	fn->capabilities_end = offset + len;
	return offset;
}

void pci_bus_init(struct pci_bus *bus, uint64_t window_base, uint64_t window_size)
{
	assert(window_base + window_size <= UINT64_C(0x100000000));
	memset(bus, 0, sizeof(*bus));
	bus->memory = (struct pci_window){.base = window_base, .size = window_size};
	pthread_mutex_init(&bus->lock, NULL);
}

void pci_bus_set_ports(struct pci_bus *bus, uint16_t base, uint16_t size)
{
	bus->ports = (struct pci_window){.base = base, .size = size};
}

/* Where the guest sees the BAR now; 0: nowhere. What lies outside the window is not ours to answer. */
static uint64_t pci_bar_now(const struct pci_bus *bus, const struct pci_function *fn,
			    unsigned int index)
{
	bool ports = fn->bar[index].ports;
	const struct pci_window *window = ports ? &bus->ports : &bus->memory;
	uint8_t enable = ports ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	uint64_t address, size = fn->bar[index].size;

	if (size == 0 || !(fn->config[PCI_COMMAND] & enable))
		return 0;
	address = pci_config_get(fn, PCI_BASE_ADDRESS_0 + 4 * index, 4) & ~(size - 1);
	if (address < window->base || address + size > window->base + window->size)
		return 0;
	return address;
}

static void pci_update_bars(const struct pci_bus *bus, struct pci_function *fn)
{
	for (unsigned int i = 0; i < PCI_MAX_BARS; i++) {
		uint64_t now = pci_bar_now(bus, fn, i);

		if (now == fn->bar_address[i])
			continue;
		fn->bar_address[i] = now;
		if (fn->hooks.bar_moved)
			fn->hooks.bar_moved(fn->hooks.arg, i, now);
	}
}

/* Function 0 tells whether a slot has more functions. */
static void pci_mark_multifunction(struct pci_bus *bus, unsigned int devfn)
{
	struct pci_function *first = bus->function[devfn & ~7u];

	for (unsigned int i = 1; first && i < 8; i++) {
		if (bus->function[(devfn & ~7u) + i])
			first->config[PCI_HEADER_TYPE] |= 0x80;
	}
}

/* Gives the BAR the window's next address. Returns 0 or -ENOSPC. */
static int pci_place_bar(struct pci_function *fn, unsigned int index, struct pci_window *window)
{
	unsigned int at = PCI_BASE_ADDRESS_0 + 4 * index;
	uint64_t size = fn->bar[index].size;
	uint64_t start = (window->used + size - 1) & ~(size - 1);

	if (size > window->size || start > window->size - size)
		return -ENOSPC;
	pci_config_set(fn, at, 4, (uint32_t)(window->base + start) | fn->bar[index].ports);
	window->used = start + size;
	return 0;
}

int pci_bus_add(struct pci_bus *bus, unsigned int devfn, struct pci_function *fn)
{
	struct pci_window memory = bus->memory, ports = bus->ports;
	int err = 0;

	assert(devfn < PCI_MAX_DEVFN);
	if (bus->function[devfn])
		return -EEXIST;
	for (unsigned int i = 0; i < PCI_MAX_BARS && err == 0; i++) {
		if (fn->bar[i].size > 0)
			err = pci_place_bar(fn, i, fn->bar[i].ports ? &ports : &memory);
	}
	if (err < 0)
		return err;
	bus->memory = memory;
	bus->ports = ports;
	bus->function[devfn] = fn;
	bus->present[bus->n_present++] = fn;
	pci_mark_multifunction(bus, devfn);
	return 0;
}

/* The BAR that an access to these bytes goes on to, after the lock was let go of: its handler may wait. NULL: none. */
static const struct pci_bar *pci_config_window(const struct pci_function *fn, unsigned int offset,
					       unsigned int width, uint32_t *target)
{
	if (!fn->hooks.config_window ||
	    !fn->hooks.config_window(fn->hooks.arg, offset, width, target))
		return NULL;
	return &fn->bar[0];
}

static void pci_config_write(const struct pci_bus *bus, struct pci_function *fn,
			     unsigned int offset, unsigned int width, uint32_t value)
{
	for (unsigned int i = 0; i < width; i++) {
		uint8_t mask = fn->writable[offset + i];
		uint8_t byte = (uint8_t)(value >> (8 * i));

		fn->config[offset + i] = (uint8_t)((fn->config[offset + i] & ~mask) |
						   (byte & mask));
	}
	pci_update_bars(bus, fn);
	if (fn->hooks.config_written)
		fn->hooks.config_written(fn->hooks.arg, offset, width);
}

/* The function that port 0xcf8 selects; NULL: none. Called under the lock. */
static struct pci_function *pci_selected(const struct pci_bus *bus)
{
	uint32_t address = bus->config_address;

	if (!(address & PCI_ADDRESS_ENABLE) || (address >> 16 & PCI_ADDRESS_OTHERS) != 0)
		return NULL;
	return bus->function[address >> 8 & 0xff];
}

/* Data accesses stay inside the 4 bytes at 0xcfc, and the address register takes 4 bytes at once (PCI 3.0, 3.2.2.3.2). */
static bool pci_is_data(uint64_t offset, unsigned int width)
{
	return offset >= 4 && offset + width <= 8;
}

uint64_t pci_port_read(void *arg, uint64_t offset, unsigned int width)
{
	struct pci_bus *bus = arg;
	const struct pci_bar *window = NULL;
	uint64_t value = bus_ones(width);
	struct pci_function *fn;
	uint32_t target;

	pthread_mutex_lock(&bus->lock);
	fn = pci_selected(bus);
	if (offset == 0 && width == 4) {
		value = bus->config_address;
	} else if (fn && pci_is_data(offset, width)) {
		unsigned int at = (bus->config_address & 0xfc) + (unsigned int)offset - 4;

		value = pci_config_get(fn, at, width);
		window = pci_config_window(fn, at, width, &target);
	}
	pthread_mutex_unlock(&bus->lock);
	return window ? window->read(window->arg, target, width) : value;
}

void pci_port_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	const struct pci_bar *window = NULL;
	struct pci_bus *bus = arg;
	struct pci_function *fn;
	uint32_t target;

	pthread_mutex_lock(&bus->lock);
	fn = pci_selected(bus);
	if (offset == 0 && width == 4) {
		bus->config_address = (uint32_t)value;
	} else if (fn && pci_is_data(offset, width)) {
		unsigned int at = (bus->config_address & 0xfc) + (unsigned int)offset - 4;

		pci_config_write(bus, fn, at, width, (uint32_t)value);
		window = pci_config_window(fn, at, width, &target);
	}
	pthread_mutex_unlock(&bus->lock);
	if (window)
		window->write(window->arg, target, width, value);
}

/* The BAR of fn that holds the whole access; NULL: none. */
static const struct pci_bar *pci_match_bar(const struct pci_function *fn, bool ports,
					   uint64_t address, unsigned int width, uint64_t *offset)
{
	for (unsigned int i = 0; i < PCI_MAX_BARS; i++) {
		uint64_t base = fn->bar_address[i];

		if (base == 0 || fn->bar[i].ports != ports || address < base ||
		    address - base >= fn->bar[i].size)
			continue;
		*offset = address - base;
		return width <= fn->bar[i].size - *offset ? &fn->bar[i] : NULL;
	}
	return NULL;
}

/* Copies the BAR out, so that its handler runs without the lock. */
static bool pci_find_bar(struct pci_bus *bus, bool ports, uint64_t address, unsigned int width,
			 struct pci_bar *bar, uint64_t *offset)
{
	const struct pci_bar *found = NULL;

	pthread_mutex_lock(&bus->lock);
	for (unsigned int i = 0; i < bus->n_present && !found; i++)
		found = pci_match_bar(bus->present[i], ports, address, width, offset);
	if (found)
		*bar = *found;
	pthread_mutex_unlock(&bus->lock);
	return found != NULL;
}

static uint64_t pci_read(struct pci_bus *bus, bool ports, uint64_t address, unsigned int width)
{
	uint64_t offset;
	struct pci_bar bar;

	if (!pci_find_bar(bus, ports, address, width, &bar, &offset))
		return bus_ones(width);
	return bar.read(bar.arg, offset, width);
}

static void pci_write(struct pci_bus *bus, bool ports, uint64_t address, unsigned int width,
		      uint64_t value)
{
	uint64_t offset;
	struct pci_bar bar;

	if (pci_find_bar(bus, ports, address, width, &bar, &offset))
		bar.write(bar.arg, offset, width, value);
}

uint64_t pci_window_read(void *arg, uint64_t offset, unsigned int width)
{
	struct pci_bus *bus = arg;

	return pci_read(bus, false, bus->memory.base + offset, width);
}

void pci_window_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct pci_bus *bus = arg;

	pci_write(bus, false, bus->memory.base + offset, width, value);
}

uint64_t pci_ports_read(void *arg, uint64_t offset, unsigned int width)
{
	struct pci_bus *bus = arg;

	return pci_read(bus, true, bus->ports.base + offset, width);
}

void pci_ports_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct pci_bus *bus = arg;

	pci_write(bus, true, bus->ports.base + offset, width, value);
}

void pci_bus_fini(struct pci_bus *bus)
{
	pthread_mutex_destroy(&bus->lock);
}
