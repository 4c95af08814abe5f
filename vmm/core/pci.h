/*
 * A PCI bus 0 with configuration mechanism #1, its functions' configuration space and their BARs.
 *
 * Functions are added while the machine is being built; the set is immutable afterwards. The guest may move
 * BARs inside the bus's two windows, of memory and of ports, which are claimed on the MMIO and the port bus once and for
 * all; a window finds the function by the current BAR addresses.
 *
 * Threads: accesses come on vCPU threads. Lock order: pci_bus.lock, then whatever a function's hooks take. BAR
 * handlers are called without the lock.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/bus.h"

#define PCI_CONFIG_SIZE 256
#define PCI_MAX_BARS	6
#define PCI_MAX_DEVFN	256

#define PCI_DEVFN(slot, function) ((slot) << 3 | (function))

struct pci_ids {
	uint16_t vendor;
	uint16_t device;
	uint16_t subsystem_vendor;
	uint16_t subsystem;
	uint32_t class_code; /* base class, subclass, interface: 0x010000 */
	uint8_t revision;
};

struct pci_hooks {
	/* All are optional and are called on a vCPU thread under the bus lock. */
	/* The guest sees the BAR at this address from now on; 0: not at all. */
	void (*bar_moved)(void *arg, unsigned int bar, uint64_t address);
	/* After a write of these bytes; config holds what was let through. */
	void (*config_written)(void *arg, unsigned int offset, unsigned int width);
	/* Whether an access to these bytes is one to BAR 0, and where in it; asked before a read and after a write. */
	bool (*config_window)(void *arg, unsigned int offset, unsigned int width, uint32_t *target);
	void *arg;
};

/* A 32-bit, non-prefetchable memory BAR, or one of ports. */
struct pci_bar {
	bool ports;
	uint32_t
		size; /* power of two, at least 16, at most 256 for ports (PCI 3.0, 6.2.5.1); 0: not there */
	bus_read_fn *read;
	bus_write_fn *write;
	void *arg;
};

struct pci_function {
	/* immutable after pci_bus_add() */
	struct pci_hooks hooks;
	struct pci_bar bar[PCI_MAX_BARS];
	uint8_t writable[PCI_CONFIG_SIZE]; /* which bits the guest may change */
	unsigned int capabilities_end;
	unsigned int last_capability; /* offset of its "next" byte; 0: none */
	/* under the bus lock; what a snapshot saves */
	uint8_t config[PCI_CONFIG_SIZE];
	/* under the bus lock, follows from config */
	uint64_t bar_address[PCI_MAX_BARS];
};

/* A range of guest addresses or ports for BARs. */
struct pci_window {
	uint64_t base;
	uint64_t size;
	uint64_t used; /* from the start */
};

struct pci_bus {
	/* immutable after the machine is built */
	struct pci_function *function[PCI_MAX_DEVFN]; /* by devfn */
	struct pci_function *present[PCI_MAX_DEVFN];  /* the same without the gaps */
	unsigned int n_present;
	struct pci_window memory;
	struct pci_window ports;
	pthread_mutex_t lock;
	/* under lock */
	uint32_t config_address; /* port 0xcf8 */
};

/* For devices: starts a type 0 header. */
void pci_function_init(struct pci_function *fn, const struct pci_ids *ids,
		       const struct pci_hooks *hooks);

/* For devices, before pci_bus_add(). */
void pci_function_set_bar(struct pci_function *fn, unsigned int index, const struct pci_bar *bar);

/*
 * For devices. Appends a capability: cap[0] is its id, cap[1] (the link) is filled in, writable says which bits
 * the guest may change (NULL: none). Returns its offset; there must be room (checked by assert).
 */
unsigned int pci_function_add_capability(struct pci_function *fn, const void *cap, unsigned int len,
					 const void *writable);

/* Little-endian fields of the configuration space, under the bus lock or before pci_bus_add(). */
uint32_t pci_config_get(const struct pci_function *fn, unsigned int offset, unsigned int width);
void pci_config_set(struct pci_function *fn, unsigned int offset, unsigned int width,
		    uint32_t value);

/* window: the MMIO range from which memory BARs get their first address. */
void pci_bus_init(struct pci_bus *bus, uint64_t window_base, uint64_t window_size);

/* Before pci_bus_add(). The ports from which BARs of ports get their first address; without them there is no room for any. */
void pci_bus_set_ports(struct pci_bus *bus, uint16_t base, uint16_t size);

/*
 * Puts the function at devfn and gives its BARs an address. The bus borrows fn until pci_bus_fini(). Returns 0,
 * -EEXIST when the place is taken, -ENOSPC when a window is full.
 */
int pci_bus_add(struct pci_bus *bus, unsigned int devfn, struct pci_function *fn);

/* Handlers for ports 0xcf8 to 0xcff and for the two windows; arg is the struct pci_bus. */
#define PCI_PORT_BASE 0xcf8
#define PCI_PORT_SIZE 8
uint64_t pci_port_read(void *arg, uint64_t offset, unsigned int width);
void pci_port_write(void *arg, uint64_t offset, unsigned int width, uint64_t value);
uint64_t pci_window_read(void *arg, uint64_t offset, unsigned int width);
void pci_window_write(void *arg, uint64_t offset, unsigned int width, uint64_t value);
uint64_t pci_ports_read(void *arg, uint64_t offset, unsigned int width);
void pci_ports_write(void *arg, uint64_t offset, unsigned int width, uint64_t value);

void pci_bus_fini(struct pci_bus *bus);
