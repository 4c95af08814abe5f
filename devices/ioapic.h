/*
 * An I/O APIC in user space, for KVM's split irqchip: Intel 82093AA datasheet (290566-001), with version 0x20's
 * EOI register (ICH9 datasheet, EOIR).
 *
 * Up to 64 pins, where the 82093AA has 24, so that no two devices share one. Drivers read their number in the version
 * register and go through all of them several times, at the price of an exit for each access: the fewer, the better.
 * A pin's redirection table entry (RTE) is delivered as the MSI that says the same. Polarity is kept and ignored: a
 * raised line is an asserted one.
 *
 * Owner: the machine. Any thread may call any function between init and fini; the irq lines as well.
 *
 * Locking: one mutex; both callbacks are called with it held, so that messages leave in the order of their
 * causes and a route is known before its first message. They must not call back. Lock
 * order: device -> ioapic -> whatever the callbacks take.
 *
 * Edges on a masked pin: the 82093AA drops them (3.2.4), and so do QEMU and KVM. Here the edge is kept while the
 * line stays up and delivered on unmasking; it is forgotten when the line falls. A device that holds its line
 * for as long as its cause lasts (the serial does) thus never loses an interrupt in the moment when the guest masks
 * a pin to change its affinity, and the worst price is one interrupt that finds nothing to do.
 *
 * Level pins: Remote IRR is set by a delivery and cleared by the EOI. With KVM's split irqchip the EOI leaves
 * the kernel (KVM_EXIT_IOAPIC_EOI -> ioapic_eoi()) only for vectors found in a level-triggered
 * KVM_IRQ_ROUTING_MSI entry of a GSI below the pin count, so the machine must keep such routes equal to the RTEs:
 * that is what route_changed() is for. Edge pins need no route.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/irq.h"

#define IOAPIC_PINS 64
#define IOAPIC_SIZE 0x1000

/* MMIO registers. */
#define IOAPIC_REGSEL 0x00
#define IOAPIC_WINDOW 0x10
#define IOAPIC_EOIR   0x40

/* What a pin's RTE says, as an MSI. */
struct ioapic_route {
	uint64_t address;
	uint32_t data;
	bool level;
	bool masked;
};

struct ioapic_config {
	/* Sends an MSI (KVM_SIGNAL_MSI). Returns > 0 when a CPU took it, 0 when none did, or negative errno. */
	int (*deliver)(void *arg, uint64_t address, uint32_t data);
	/* May be NULL. The guest changed what pin sends; called before anything is sent by the new RTE. */
	void (*route_changed)(void *arg, unsigned int pin, const struct ioapic_route *route);
	void *arg;
	uint8_t id;
};

/* All that a snapshot must save. */
struct ioapic_state {
	uint8_t regsel;
	uint8_t id;
	uint64_t lines;	  /* one bit per pin: asserted */
	uint64_t pending; /* edges not yet delivered; a subset of lines */
	uint64_t rte[IOAPIC_PINS];
};

struct ioapic;

struct ioapic_pin {
	struct ioapic *ioapic;
	unsigned int index;
};

struct ioapic {
	/* immutable after init */
	struct ioapic_config config;
	unsigned int n_pins; /* that the guest sees */
	/* under lock */
	pthread_mutex_t lock;
	struct ioapic_state state;
	/* immutable after init, too */
	struct ioapic_pin pins[IOAPIC_PINS];
};

/* Reset state: all pins masked. The ioapic must not move afterwards. */
void ioapic_init(struct ioapic *ioapic, const struct ioapic_config *config);

/* Before the guest runs: it sees the first n_pins alone. Until then it is all of them. */
void ioapic_limit_pins(struct ioapic *ioapic, unsigned int n_pins);

/* The line into a pin. It has one user: two devices that shared it would overwrite each other's level. */
struct irq_line ioapic_irq_line(struct ioapic *ioapic, unsigned int pin);

/*
 * Register access, for a bus region of IOAPIC_SIZE bytes. Registers are 32 bits wide; narrower reads give their low
 * bytes, narrower writes reach IOREGSEL and EOIR but not the window. All else reads as all ones.
 */
uint64_t ioapic_read(void *ioapic, uint64_t offset, unsigned int width);
void ioapic_write(void *ioapic, uint64_t offset, unsigned int width, uint64_t value);

/* A CPU ended the interrupt of this vector: level pins that are still asserted are delivered again. */
void ioapic_eoi(struct ioapic *ioapic, uint8_t vector);

void ioapic_fini(struct ioapic *ioapic);
