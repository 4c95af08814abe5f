/* The serial port: registers in any order from both CPUs, while the host types without end. */
#include "guest.h"
#include "themes.h"

#include <linux/serial_reg.h>

#define COM1 0x3f8

static void scramble(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		uint16_t port = (uint16_t)(COM1 + rnd_below(8));

		if (chance(50))
			port_write(port, 1u << rnd_below(3), rnd());
		else
			port_read(port, 1u << rnd_below(3));
	}
}

static void scramble_on(void)
{
	while (!second_stopping())
		scramble(16);
}

/* As much as comes in a while, with and without the FIFO. */
static unsigned int swallow(uint8_t fcr, uint64_t ticks)
{
	unsigned int n = 0;

	out8(COM1 + UART_LCR, UART_LCR_WLEN8);
	out8(COM1 + UART_MCR, UART_MCR_DTR | UART_MCR_RTS);
	out8(COM1 + UART_FCR, fcr);
	out8(COM1 + UART_IER, UART_IER_RDI);
	for (uint64_t since = now(); now() - since < ticks;) {
		if (in8(COM1 + UART_LSR) & UART_LSR_DR) {
			in8(COM1 + UART_RX);
			n++;
		}
	}
	return n;
}

void attack_serial(void)
{
	unsigned int rounds = (unsigned int)param("rounds", 1);

	second_start(scramble_on);
	scramble(4000 * rounds);
	second_stop();
	OK("registers of the serial port");
	EXPECT(swallow(0, SECOND / 4) > 0, "no input came");
	EXPECT(swallow(UART_FCR_ENABLE_FIFO, SECOND / 4) > 0, "no input came into the FIFO");
	OK("input without end");
	/* Loopback feeds the port with its own output. */
	out8(COM1 + UART_MCR, UART_MCR_LOOP);
	for (unsigned int i = 0; i < 500; i++)
		out8(COM1 + UART_TX, (uint8_t)i);
	out8(COM1 + UART_MCR, UART_MCR_DTR | UART_MCR_RTS);
	for (unsigned int i = 0; i < 8000 * rounds; i++)
		out8(COM1 + UART_TX, 'x'); /* without asking whether there is room */
	OK("output without end");
}
