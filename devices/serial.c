#include "devices/serial.h"

#include <string.h>

#include <linux/serial_reg.h>

#include "vmm/core/bus.h"

/* IER and MCR have no more bits than these on a 16550A; the rest reads as 0. */
#define IER_BITS (UART_IER_RDI | UART_IER_THRI | UART_IER_RLSI | UART_IER_MSI)
#define MCR_BITS (UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT1 | UART_MCR_OUT2 | UART_MCR_LOOP)

/* What FCR keeps; the reset bits clear themselves. */
#define FCR_BITS (UART_FCR_ENABLE_FIFO | UART_FCR_DMA_SELECT | UART_FCR_TRIGGER_MASK)

/* IIR bits 7:6 with the FIFOs enabled: what tells a 16550A from a 16450 and a 16550. */
#define IIR_FIFOS 0xc0

/*
 * A guest without interrupts shows that it waits for input by reading LSR over and over. Linux's polled
 * output reads it at most twice between two other accesses (wait_for_xmitr()).
 */
#define POLLS_LISTEN 8

static bool serial_loops(const struct serial_state *st)
{
	return st->mcr & UART_MCR_LOOP;
}

static unsigned int serial_rx_size(const struct serial_state *st)
{
	return st->fcr & UART_FCR_ENABLE_FIFO ? SERIAL_FIFO : 1;
}

static unsigned int serial_rx_trigger(const struct serial_state *st)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	if (!(st->fcr & UART_FCR_ENABLE_FIFO))
		return 1;
	return levels[st->fcr >> 6];
}

/* Error bits of the byte that RBR gives next. */
static uint8_t serial_rx_errors(const struct serial_state *st)
{
	return st->rx_count ? st->rx_flags[st->rx_head] : 0;
}

static bool serial_tx_empty(const struct serial_state *st)
{
	return serial_loops(st) || !st->tx_full;
}

/* Somebody will read what we put into the FIFO. */
static bool serial_listens(const struct serial_state *st)
{
	if (serial_loops(st))
		return false;
	if (st->flow && !(st->mcr & UART_MCR_RTS))
		return false;
	return (st->ier & UART_IER_RDI) || st->polls >= POLLS_LISTEN;
}

/* The pending interrupt of highest priority as IIR bits 3:0 (datasheet table IV). */
static uint8_t serial_cause(const struct serial_state *st)
{
	if ((st->ier & UART_IER_RLSI) && (st->overrun || serial_rx_errors(st)))
		return UART_IIR_RLSI;
	if ((st->ier & UART_IER_RDI) && st->rx_count >= serial_rx_trigger(st))
		return UART_IIR_RDI;
	if ((st->ier & UART_IER_RDI) && st->rx_count)
		return UART_IIR_RX_TIMEOUT;
	if ((st->ier & UART_IER_THRI) && st->thri)
		return UART_IIR_THRI;
	if ((st->ier & UART_IER_MSI) && (st->msr & UART_MSR_ANY_DELTA))
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static void serial_drive_irq(struct serial *serial)
{
	const struct serial_state *st = &serial->state;
	bool level = serial_cause(st) != UART_IIR_NO_INT && (st->mcr & UART_MCR_OUT2);

	if (level == serial->irq_level)
		return;
	serial->irq_level = level;
	if (level)
		irq_raise(&serial->irq);
	else
		irq_lower(&serial->irq);
}

/* Modem lines that the chip sees: its own outputs in loopback (datasheet 8.8), else a ready peer. */
static uint8_t serial_modem_lines(uint8_t mcr)
{
	uint8_t lines = 0;

	if (!(mcr & UART_MCR_LOOP))
		return UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS;
	if (mcr & UART_MCR_DTR)
		lines |= UART_MSR_DSR;
	if (mcr & UART_MCR_RTS)
		lines |= UART_MSR_CTS;
	if (mcr & UART_MCR_OUT1)
		lines |= UART_MSR_RI;
	if (mcr & UART_MCR_OUT2)
		lines |= UART_MSR_DCD;
	return lines;
}

/* Sets the lines and latches what changed; RI latches its trailing edge only. */
static uint8_t serial_modem_update(uint8_t msr, uint8_t lines)
{
	uint8_t changed = (msr ^ lines) & 0xf0;
	uint8_t deltas = msr & UART_MSR_ANY_DELTA;

	if (changed & UART_MSR_CTS)
		deltas |= UART_MSR_DCTS;
	if (changed & UART_MSR_DSR)
		deltas |= UART_MSR_DDSR;
	if (changed & UART_MSR_DCD)
		deltas |= UART_MSR_DDCD;
	if ((changed & UART_MSR_RI) && !(lines & UART_MSR_RI))
		deltas |= UART_MSR_TERI;
	return lines | deltas;
}

/* There is room. */
static void serial_rx_push(struct serial_state *st, uint8_t byte, uint8_t flags)
{
	unsigned int at = (st->rx_head + st->rx_count) % SERIAL_FIFO;

	st->rx_data[at] = byte;
	st->rx_flags[at] = flags;
	st->rx_count++;
}

/*
 * A byte that loopback brings, whether it fits or not: with the FIFO full the new byte is lost, without the
 * FIFO it replaces the old one (datasheet 8.4, OE).
 */
static void serial_rx_loop(struct serial_state *st, uint8_t byte)
{
	if (st->rx_count < serial_rx_size(st)) {
		serial_rx_push(st, byte, 0);
		return;
	}
	st->overrun = true;
	if (!(st->fcr & UART_FCR_ENABLE_FIFO))
		st->rx_data[st->rx_head] = byte;
}

static uint8_t serial_read_rbr(struct serial *serial)
{
	struct serial_state *st = &serial->state;
	uint8_t byte;

	if (!st->rx_count)
		return 0;
	byte = st->rx_data[st->rx_head];
	st->rx_head = (st->rx_head + 1) % SERIAL_FIFO;
	st->rx_count--;
	if (!st->rx_count && serial_listens(st))
		serial->backend.rx_room(serial->backend.arg);
	return byte;
}

static uint8_t serial_read_iir(struct serial_state *st)
{
	uint8_t cause = serial_cause(st);

	if (cause == UART_IIR_THRI)
		st->thri = false;
	return cause | (st->fcr & UART_FCR_ENABLE_FIFO ? IIR_FIFOS : 0);
}

static uint8_t serial_lsr(const struct serial_state *st)
{
	uint8_t lsr = serial_rx_errors(st);
	unsigned int i;

	if (st->rx_count)
		lsr |= UART_LSR_DR;
	if (st->overrun)
		lsr |= UART_LSR_OE;
	if (serial_tx_empty(st))
		lsr |= UART_LSR_THRE | UART_LSR_TEMT;
	if (!(st->fcr & UART_FCR_ENABLE_FIFO))
		return lsr;
	for (i = 0; i < st->rx_count; i++)
		if (st->rx_flags[(st->rx_head + i) % SERIAL_FIFO])
			lsr |= UART_LSR_FIFOE;
	return lsr;
}

static void serial_count_poll(struct serial *serial, uint8_t lsr)
{
	struct serial_state *st = &serial->state;

	if ((lsr & UART_LSR_DR) || !(lsr & UART_LSR_THRE) || st->polls >= POLLS_LISTEN)
		return;
	st->polls++;
	if (st->polls == POLLS_LISTEN && serial_listens(st))
		serial->backend.rx_room(serial->backend.arg);
}

static uint8_t serial_read_lsr(struct serial *serial)
{
	struct serial_state *st = &serial->state;
	uint8_t lsr = serial_lsr(st);

	st->overrun = false;
	if (st->rx_count)
		st->rx_flags[st->rx_head] = 0;
	serial_count_poll(serial, lsr);
	return lsr;
}

static uint8_t serial_read_msr(struct serial_state *st)
{
	uint8_t msr = st->msr;

	st->msr &= ~UART_MSR_ANY_DELTA;
	return msr;
}

static void serial_write_thr(struct serial *serial, uint8_t byte)
{
	struct serial_state *st = &serial->state;

	if (serial_loops(st))
		serial_rx_loop(st, byte);
	else
		st->tx_full = !serial->backend.tx(serial->backend.arg, byte);
	/* The write ends the old THRE interrupt; the byte that left at once begins a new one. */
	st->thri = serial_tx_empty(st);
}

static void serial_write_ier(struct serial_state *st, uint8_t value)
{
	uint8_t set = value & ~st->ier;

	st->ier = value & IER_BITS;
	/* Enabling the interrupt with THR empty raises it: Linux tests for it when it opens the port. */
	if ((set & UART_IER_THRI) && serial_tx_empty(st))
		st->thri = true;
}

static void serial_write_fcr(struct serial *serial, uint8_t value)
{
	struct serial_state *st = &serial->state;
	bool enable = value & UART_FCR_ENABLE_FIFO;
	bool toggled = (value ^ st->fcr) & UART_FCR_ENABLE_FIFO;
	bool flush = toggled || (enable && (value & UART_FCR_CLEAR_RCVR));
	bool had_data = st->rx_count;

	/* Without bit 0 the other bits are not programmed (datasheet 8.5). */
	st->fcr = enable ? value & FCR_BITS : 0;
	if (!flush)
		return;
	/* The transmit FIFO is always empty here: what the guest sent belongs to the backend. */
	st->rx_count = 0;
	if (had_data && serial_listens(st))
		serial->backend.rx_room(serial->backend.arg);
}

static void serial_write_mcr(struct serial_state *st, uint8_t value)
{
	st->mcr = value & MCR_BITS;
	st->msr = serial_modem_update(st->msr, serial_modem_lines(st->mcr));
	/*
	 * RTS low while DTR stays up is flow control, but only from a guest that has used the lines before.
	 * Both low is a closed port.
	 */
	if (!(st->mcr & UART_MCR_DTR))
		st->flow = false;
	else if (st->mcr & UART_MCR_RTS)
		st->flow = true;
}

static uint8_t serial_read_reg(struct serial *serial, uint64_t offset)
{
	struct serial_state *st = &serial->state;
	bool dlab = st->lcr & UART_LCR_DLAB;

	switch (offset) {
	case UART_RX:
		return dlab ? st->dll : serial_read_rbr(serial);
	case UART_IER:
		return dlab ? st->dlm : st->ier;
	case UART_IIR:
		return serial_read_iir(st);
	case UART_LCR:
		return st->lcr;
	case UART_MCR:
		return st->mcr;
	case UART_LSR:
		return serial_read_lsr(serial);
	case UART_MSR:
		return serial_read_msr(st);
	case UART_SCR:
		return st->scr;
	default:
		return 0xff;
	}
}

static void serial_write_reg(struct serial *serial, uint64_t offset, uint8_t value)
{
	struct serial_state *st = &serial->state;
	bool dlab = st->lcr & UART_LCR_DLAB;

	st->polls = 0;
	switch (offset) {
	case UART_TX:
		if (dlab)
			st->dll = value;
		else
			serial_write_thr(serial, value);
		return;
	case UART_IER:
		if (dlab)
			st->dlm = value;
		else
			serial_write_ier(st, value);
		return;
	case UART_FCR:
		serial_write_fcr(serial, value);
		return;
	case UART_LCR:
		st->lcr = value;
		return;
	case UART_MCR:
		serial_write_mcr(st, value);
		return;
	case UART_SCR:
		st->scr = value;
		return;
	default:
		/* LSR and MSR are for reading (datasheet 8.4: writing is for factory tests). */
		return;
	}
}

void serial_init(struct serial *serial, const struct irq_line *irq,
		 const struct serial_backend *backend)
{
	memset(serial, 0, sizeof(*serial));
	serial->irq = *irq;
	serial->backend = *backend;
	pthread_mutex_init(&serial->lock, NULL);
	serial->state.msr = serial_modem_lines(0);
	/* 115200 baud: Linux's earlycon divides by the divisor it finds. */
	serial->state.dll = 1;
}

uint64_t serial_read(void *arg, uint64_t offset, unsigned int width)
{
	struct serial *serial = arg;
	uint8_t value;

	pthread_mutex_lock(&serial->lock);
	value = serial_read_reg(serial, offset);
	serial_drive_irq(serial);
	pthread_mutex_unlock(&serial->lock);
	return (bus_ones(width) & ~UINT64_C(0xff)) | value;
}

void serial_write(void *arg, uint64_t offset, unsigned int width, uint64_t value)
{
	struct serial *serial = arg;
	bool listened;

	(void)width;
	pthread_mutex_lock(&serial->lock);
	listened = serial_listens(&serial->state);
	serial_write_reg(serial, offset, (uint8_t)value);
	if (!listened && serial_listens(&serial->state))
		serial->backend.rx_room(serial->backend.arg);
	serial_drive_irq(serial);
	pthread_mutex_unlock(&serial->lock);
}

/* lsr: what is wrong with them. */
static size_t serial_take(struct serial *serial, const uint8_t *buf, size_t n, uint8_t lsr)
{
	struct serial_state *st = &serial->state;
	size_t taken = 0;

	pthread_mutex_lock(&serial->lock);
	if (serial_listens(st))
		for (; taken < n && st->rx_count < serial_rx_size(st); taken++)
			serial_rx_push(st, buf[taken], lsr);
	serial_drive_irq(serial);
	pthread_mutex_unlock(&serial->lock);
	return taken;
}

size_t serial_receive(struct serial *serial, const uint8_t *buf, size_t n)
{
	return serial_take(serial, buf, n, 0);
}

bool serial_receive_break(struct serial *serial)
{
	static const uint8_t zero;

	return serial_take(serial, &zero, 1, UART_LSR_BI) == 1;
}

void serial_tx_ready(struct serial *serial)
{
	struct serial_state *st = &serial->state;

	pthread_mutex_lock(&serial->lock);
	if (st->tx_full) {
		st->tx_full = false;
		st->thri = true;
	}
	serial_drive_irq(serial);
	pthread_mutex_unlock(&serial->lock);
}

void serial_fini(struct serial *serial)
{
	pthread_mutex_destroy(&serial->lock);
}
