/*
 * A 16550A serial port: National Semiconductor PC16550D datasheet (June 1995), as a PC wires it.
 *
 * Eight byte registers, 16-byte receive FIFO, interrupts, loopback. Baud rate, parity and word length are
 * kept and read back but have no effect; a sent byte leaves at once. The chip knows a struct irq_line and a
 * struct serial_backend and nothing behind them.
 *
 * Owner: the machine, which embeds struct serial. Any thread may call any function between init and fini.
 *
 * Locking: one mutex. The interrupt line and the backend's functions are called with it held, which keeps
 * their order equal to that of the state changes; so they must not call back into the serial. Lock order:
 * serial -> whatever the irq line takes (I/O APIC), serial -> whatever the backend takes (console ring, event
 * loop). The backend calls serial_receive() and serial_tx_ready() without a lock of its own.
 *
 * Interrupt line: level = "a cause is pending and MCR.OUT2 is set", driven after each access. An
 * edge-triggered pin thus sees a new edge for each cause that appears after the last one was serviced.
 *
 * Flow to the host: while the backend has no room, THRE and TEMT read as 0; a driver waits then, as it does
 * for a slow line. A guest that writes all the same loses bytes, as on the chip.
 *
 * Flow to the guest: bytes are accepted only while somebody listens, see serial_receive(). A driver empties
 * the FIFO when it probes and opens the port, so bytes handed over earlier would be lost.
 *
 * Character time-out (datasheet 8.11) is simplified: it is signalled at once when the
 * FIFO holds bytes below the trigger level, so that no byte ever waits without an interrupt.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/core/irq.h"

/* Ports the chip takes. */
#define SERIAL_SIZE 8
#define SERIAL_FIFO 16

struct serial_backend {
	/*
	 * Takes a byte that the guest sent. Returns false when fewer than SERIAL_FIFO further bytes fit; the
	 * backend then calls serial_tx_ready() when there is room again. Up to SERIAL_FIFO - 1 more
	 * bytes may come before that and must fit, what follows them may be dropped.
	 */
	bool (*tx)(void *arg, uint8_t byte);
	/* The receive FIFO became empty, or the guest began to listen: serial_receive() may accept bytes. */
	void (*rx_room)(void *arg);
	void *arg;
};

/* All that a snapshot must save. */
struct serial_state {
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t msr; /* lines and deltas */
	uint8_t scr;
	uint8_t dll;
	uint8_t dlm;
	bool overrun;  /* LSR.OE */
	bool thri;     /* the transmitter went empty and IIR has not reported it yet */
	bool tx_full;  /* the backend has no room */
	bool flow;     /* the guest has raised DTR and RTS: RTS alone low means stop */
	uint8_t polls; /* LSR reads in a row that found nothing to do */
	uint8_t rx_head;
	uint8_t rx_count;
	uint8_t rx_data[SERIAL_FIFO];
	uint8_t rx_flags[SERIAL_FIFO]; /* LSR error bits of each byte */
};

struct serial {
	/* immutable after init */
	struct irq_line irq;
	struct serial_backend backend;
	/* under lock */
	pthread_mutex_t lock;
	struct serial_state state;
	bool irq_level; /* what the line was last driven to */
};

/* Power-on reset; both structs are copied. */
void serial_init(struct serial *serial, const struct irq_line *irq,
		 const struct serial_backend *backend);

/*
 * Register access, for a bus region of SERIAL_SIZE ports. A wider access reaches the byte at its offset: reads
 * give all ones above it, writes use the low byte.
 */
uint64_t serial_read(void *serial, uint64_t offset, unsigned int width);
void serial_write(void *serial, uint64_t offset, unsigned int width, uint64_t value);

/*
 * Offers n received bytes; returns how many fitted. 0 while the guest does not listen: it has neither enabled
 * the receive interrupt nor polls the line status, it dropped RTS with DTR up, or it is in loopback mode.
 * rx_room() is called when that changes.
 */
size_t serial_receive(struct serial *serial, const uint8_t *buf, size_t n);

/* A break on the line: a zero byte with LSR.BI. Returns false when it did not fit. */
bool serial_receive_break(struct serial *serial);

/* The backend has room for SERIAL_FIFO bytes or more again. */
void serial_tx_ready(struct serial *serial);

/* No vCPU and no backend may use the serial any more. */
void serial_fini(struct serial *serial);
