/*
 * A 16550A on a fake interrupt line and a fake backend, for tests.
 */
#pragma once

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <linux/serial_reg.h>

#include "devices/serial.h"
#include "vmm/core/bus.h"

static struct fixture {
	struct serial serial;
	int level, edges;
	uint8_t sent[512];
	size_t n_sent, room; /* the sink takes bytes while n_sent + SERIAL_FIFO <= room */
	int rx_rooms;
} fx;

static inline void fake_raise(void *arg)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_int_eq(fx.level, 0);
	fx.level = 1;
	fx.edges++;
}

static inline void fake_lower(void *arg)
{
	(void)arg;
	ck_assert_int_eq(fx.level, 1);
	fx.level = 0;
}

static inline bool fake_tx(void *arg, uint8_t byte)
{
	(void)arg;
	if (fx.n_sent < sizeof(fx.sent))
		fx.sent[fx.n_sent++] = byte;
	return fx.n_sent + SERIAL_FIFO <= fx.room;
}

static inline void fake_rx_room(void *arg)
{
	(void)arg;
	fx.rx_rooms++;
}

static inline void setup(void)
{
	const struct irq_line irq = {fake_raise, fake_lower, &fx};
	const struct serial_backend backend = {fake_tx, fake_rx_room, &fx};

	memset(&fx, 0, sizeof(fx));
	fx.room = sizeof(fx.sent);
	serial_init(&fx.serial, &irq, &backend);
}

static inline void teardown(void)
{
	serial_fini(&fx.serial);
}

static inline uint8_t in(unsigned int reg)
{
	return (uint8_t)serial_read(&fx.serial, reg, 1);
}

static inline void out(unsigned int reg, uint8_t value)
{
	serial_write(&fx.serial, reg, 1, value);
}

static inline size_t feed(const char *text)
{
	return serial_receive(&fx.serial, (const uint8_t *)text, strlen(text));
}

/* What a driver does when it opens the port: FIFOs with trigger 8, lines up, interrupts of IER. */
static inline void open_port(uint8_t ier)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	out(UART_LCR, UART_LCR_WLEN8);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	out(UART_IER, ier);
}
