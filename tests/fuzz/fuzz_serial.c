/*
 * A guest and a host at the two ends of the serial port.
 *
 * Fuzzes: devices/serial.c
 */
#include <linux/serial_reg.h>

#include "devices/serial.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"

static struct serial serial;
static bool level, inside;
static unsigned int room, rooms;

static void on_raise(void *arg)
{
	(void)arg;
	FUZZ_CHECK(!level);
	level = true;
}

static void on_lower(void *arg)
{
	(void)arg;
	FUZZ_CHECK(level);
	level = false;
}

static bool on_tx(void *arg, uint8_t byte)
{
	(void)arg;
	(void)byte;
	FUZZ_CHECK(inside);
	room -= room > 0;
	return room > 0;
}

static void on_rx_room(void *arg)
{
	(void)arg;
	FUZZ_CHECK(inside);
	rooms++;
}

static void op_guest(struct fuzz_input *in, uint8_t what)
{
	uint8_t reg = what >> 2 & 7;
	unsigned int width = what & 0x80 ? 1u << (what >> 5 & 3) : 1;

	inside = true;
	if (what & 2)
		serial_write(&serial, reg, width, fuzz_u8(in));
	else
		serial_read(&serial, reg, width);
	inside = false;
}

/* As Linux opens the port. */
static void op_open(uint8_t ier)
{
	inside = true;
	serial_write(&serial, UART_LCR, 1, UART_LCR_WLEN8);
	serial_write(&serial, UART_FCR, 1, UART_FCR_ENABLE_FIFO | (ier & 0xc0));
	serial_write(&serial, UART_MCR, 1, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	serial_write(&serial, UART_IER, 1, ier & 0xf);
	inside = false;
}

static void op_host(struct fuzz_input *in, uint8_t what)
{
	static const uint8_t bytes[64];
	size_t n = what >> 2;

	switch (fuzz_u8(in) % 8) {
	case 0:
		serial_receive_break(&serial);
		break;
	case 1:
		room = n;
		serial_tx_ready(&serial);
		break;
	case 2:
		op_open(fuzz_u8(in));
		break;
	default:
		FUZZ_CHECK(serial_receive(&serial, bytes, n) <= n);
	}
}

static void check(void)
{
	const struct serial_state *st = &serial.state;

	FUZZ_CHECK(st->rx_count <= SERIAL_FIFO && st->rx_head < SERIAL_FIFO);
	FUZZ_CHECK(level == serial.irq_level);
	if (level)
		FUZZ_CHECK((st->mcr & UART_MCR_OUT2) && (st->ier & 0xf));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct irq_line irq = {on_raise, on_lower, NULL};
	const struct serial_backend backend = {on_tx, on_rx_room, NULL};
	struct fuzz_input in = {.at = data, .left = size};

	level = false;
	room = fuzz_u8(&in);
	serial_init(&serial, &irq, &backend);
	check();
	while (fuzz_more(&in)) {
		uint8_t what = fuzz_u8(&in);

		if (what & 1)
			op_host(&in, what);
		else
			op_guest(&in, what);
		check();
	}
	serial_fini(&serial);
	return 0;
}
