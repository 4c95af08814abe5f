/* The 16550A against its datasheet and against the sequences of Linux's 8250 driver. */
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

static void fake_raise(void *arg)
{
	ck_assert_ptr_eq(arg, &fx);
	ck_assert_int_eq(fx.level, 0);
	fx.level = 1;
	fx.edges++;
}

static void fake_lower(void *arg)
{
	(void)arg;
	ck_assert_int_eq(fx.level, 1);
	fx.level = 0;
}

static bool fake_tx(void *arg, uint8_t byte)
{
	(void)arg;
	if (fx.n_sent < sizeof(fx.sent))
		fx.sent[fx.n_sent++] = byte;
	return fx.n_sent + SERIAL_FIFO <= fx.room;
}

static void fake_rx_room(void *arg)
{
	(void)arg;
	fx.rx_rooms++;
}

static void setup(void)
{
	const struct irq_line irq = {fake_raise, fake_lower, &fx};
	const struct serial_backend backend = {fake_tx, fake_rx_room, &fx};

	memset(&fx, 0, sizeof(fx));
	fx.room = sizeof(fx.sent);
	serial_init(&fx.serial, &irq, &backend);
}

static void teardown(void)
{
	serial_fini(&fx.serial);
}

static uint8_t in(unsigned int reg)
{
	return (uint8_t)serial_read(&fx.serial, reg, 1);
}

static void out(unsigned int reg, uint8_t value)
{
	serial_write(&fx.serial, reg, 1, value);
}

static size_t feed(const char *text)
{
	return serial_receive(&fx.serial, (const uint8_t *)text, strlen(text));
}

/* What a driver does when it opens the port: FIFOs with trigger 8, lines up, interrupts of IER. */
static void open_port(uint8_t ier)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	out(UART_LCR, UART_LCR_WLEN8);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	out(UART_IER, ier);
}

static const struct {
	const char *name;
	unsigned int reg;
	bool dlab;
	uint8_t reset;
	uint8_t kept_of_ff; /* what reads back after 0xff was written */
	uint8_t kept_of_00;
} registers[] = {
	{"RBR", UART_RX, false, 0x00, 0x00, 0x00},
	{"IER", UART_IER, false, 0x00, 0x0f, 0x00},
	{"IIR", UART_IIR, false, 0x01, 0xc1, 0x01},
	{"LCR", UART_LCR, false, 0x00, 0xff, 0x00},
	{"MCR", UART_MCR, false, 0x00, 0x1f, 0x00},
	{"LSR", UART_LSR, false, 0x60, 0x60, 0x60},
	{"MSR", UART_MSR, false, 0xb0, 0xb0, 0xb0},
	{"SCR", UART_SCR, false, 0x00, 0xff, 0x00},
	{"DLL", UART_DLL, true, 0x01, 0xff, 0x00},
	{"DLM", UART_DLM, true, 0x00, 0xff, 0x00},
	{"IIR with DLAB", UART_IIR, true, 0x01, 0xc1, 0x01},
	{"SCR with DLAB", UART_SCR, true, 0x00, 0xff, 0x00},
};

START_TEST(test_registers)
{
	out(UART_LCR, registers[_i].dlab ? UART_LCR_DLAB : 0);
	if (registers[_i].reg != UART_LCR)
		ck_assert_msg(in(registers[_i].reg) == registers[_i].reset, "%s: reset value",
			      registers[_i].name);
	out(registers[_i].reg, 0xff);
	ck_assert_msg(in(registers[_i].reg) == registers[_i].kept_of_ff, "%s: 0xff gives %#x",
		      registers[_i].name, in(registers[_i].reg));
	out(registers[_i].reg, 0x00);
	ck_assert_msg(in(registers[_i].reg) == registers[_i].kept_of_00, "%s: 0 gives %#x",
		      registers[_i].name, in(registers[_i].reg));
}
END_TEST

START_TEST(test_lcr_reset_value)
{
	ck_assert_uint_eq(in(UART_LCR), 0);
	ck_assert_int_eq(fx.level, 0);
}
END_TEST

START_TEST(test_divisor_hides_data_and_ier)
{
	out(UART_IER, UART_IER_THRI);
	out(UART_LCR, UART_LCR_DLAB);
	out(UART_DLL, 0x34);
	out(UART_DLM, 0x12);
	ck_assert_uint_eq(fx.n_sent, 0);
	ck_assert_uint_eq(in(UART_DLL), 0x34);
	ck_assert_uint_eq(in(UART_DLM), 0x12);
	out(UART_LCR, 0);
	ck_assert_uint_eq(in(UART_IER), UART_IER_THRI);
}
END_TEST

START_TEST(test_widths)
{
	static const unsigned int widths[] = {1, 2, 4, 8};

	for (uint64_t offset = 0; offset < 2 * SERIAL_SIZE; offset++) {
		for (int w = 0; w < 4; w++) {
			uint64_t value;

			serial_write(&fx.serial, offset, widths[w], UINT64_C(0xa5a5a5a5a5a5a5a5));
			serial_write(&fx.serial, UART_LCR, 1, 0);
			value = serial_read(&fx.serial, offset, widths[w]);
			ck_assert_uint_eq(value & ~bus_ones(widths[w]), 0);
			ck_assert_uint_eq(value | 0xff, bus_ones(widths[w]));
			if (offset >= SERIAL_SIZE)
				ck_assert_uint_eq(value, bus_ones(widths[w]));
		}
	}
	serial_write(&fx.serial, UART_SCR, 4, 0x11223344);
	ck_assert_uint_eq(serial_read(&fx.serial, UART_SCR, 4), 0xffffff44);
}
END_TEST

/* drivers/tty/serial/8250/8250_port.c: size_fifo() */
static int size_fifo(void)
{
	uint8_t old_lcr = in(UART_LCR), old_mcr, old_fcr, old_dll, old_dlm;
	int count;

	out(UART_LCR, 0);
	old_fcr = in(UART_FCR);
	old_mcr = in(UART_MCR);
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
	out(UART_MCR, UART_MCR_LOOP);
	out(UART_LCR, UART_LCR_CONF_MODE_A);
	old_dll = in(UART_DLL);
	old_dlm = in(UART_DLM);
	out(UART_DLL, 1);
	out(UART_DLM, 0);
	out(UART_LCR, 0x03);
	for (count = 0; count < 256; count++)
		out(UART_TX, (uint8_t)count);
	for (count = 0; (in(UART_LSR)&UART_LSR_DR) && count < 256; count++)
		ck_assert_uint_eq(in(UART_RX), count);
	out(UART_FCR, old_fcr);
	out(UART_MCR, old_mcr);
	out(UART_LCR, UART_LCR_CONF_MODE_A);
	out(UART_DLL, old_dll);
	out(UART_DLM, old_dlm);
	out(UART_LCR, old_lcr);
	return count;
}

/* autoconfig_16550a() of the same file, each probe for something better than a 16550A. */
static const char *autoconfig_16550a(void)
{
	uint8_t status1, status2, ier;

	out(UART_LCR, UART_LCR_CONF_MODE_A);
	if (in(UART_EFR) == 0)
		return "16650";
	out(UART_LCR, UART_LCR_CONF_MODE_B);
	if (in(UART_EFR) == 0)
		return "16C950, 16850, 16654 or 16650V2";
	out(UART_LCR, 0);
	status1 = in(UART_MCR);
	out(UART_LCR, 0xe0);
	status2 = in(0x02);
	if (!((status2 ^ status1) & UART_MCR_LOOP)) {
		out(UART_LCR, 0);
		out(UART_MCR, status1 ^ UART_MCR_LOOP);
		out(UART_LCR, 0xe0);
		status2 = in(0x02);
		out(UART_LCR, 0);
		out(UART_MCR, status1);
		if ((status2 ^ status1) & UART_MCR_LOOP)
			return "NS16550A";
	}
	out(UART_LCR, 0);
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	status1 = in(UART_IIR) >> 5;
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	out(UART_LCR, UART_LCR_CONF_MODE_A);
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE);
	status2 = in(UART_IIR) >> 5;
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	out(UART_LCR, 0);
	ck_assert_uint_eq(status1, 6);
	if (status2 != 6)
		return "16750";
	ier = in(UART_IER);
	out(UART_IER, ier & (uint8_t)~UART_IER_UUE);
	out(UART_IER, ier | UART_IER_UUE);
	if (in(UART_IER)&UART_IER_UUE)
		return "XScale";
	out(UART_IER, ier);
	return size_fifo() == 64 ? "U6_16550A" : "16550A";
}

/* autoconfig() */
static const char *autoconfig(void)
{
	uint8_t scratch = in(UART_IER), off, on, mcr, lcr, status;

	out(UART_IER, 0);
	off = in(UART_IER);
	out(UART_IER, 0x0f);
	on = in(UART_IER);
	out(UART_IER, scratch);
	if (off != 0 || on != 0x0f)
		return "nothing (IER)";
	mcr = in(UART_MCR);
	lcr = in(UART_LCR);
	out(UART_MCR, UART_MCR_LOOP | 0x0a);
	status = in(UART_MSR)&0xf0;
	out(UART_MCR, mcr);
	if (status != 0x90)
		return "nothing (loopback)";
	out(UART_LCR, UART_LCR_CONF_MODE_B);
	out(UART_EFR, 0);
	out(UART_LCR, 0);
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	if (in(UART_IIR) >> 6 != 3)
		return "8250, 16450 or 16550";
	out(UART_LCR, lcr);
	return autoconfig_16550a();
}

START_TEST(test_linux_autoconfig)
{
	ck_assert_str_eq(autoconfig(), "16550A");
	ck_assert_int_eq(size_fifo(), 16);
	ck_assert_uint_eq(fx.n_sent, 0);
	ck_assert_int_eq(fx.edges, 0);
}
END_TEST

/* serial8250_do_startup(): the tests for UART_BUG_THRE and UART_BUG_TXEN find neither. */
START_TEST(test_linux_startup)
{
	uint8_t iir1, iir, lsr;

	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_THRE, UART_LSR_THRE);
	out(UART_IER, UART_IER_THRI);
	iir1 = in(UART_IIR);
	out(UART_IER, 0);
	out(UART_IER, UART_IER_THRI);
	iir = in(UART_IIR);
	out(UART_IER, 0);
	ck_assert_uint_eq(iir1 & UART_IIR_NO_INT, 0);
	ck_assert_uint_eq(iir & UART_IIR_NO_INT, 0);
	out(UART_MCR, UART_MCR_OUT2);
	out(UART_IER, UART_IER_THRI);
	lsr = in(UART_LSR);
	iir = in(UART_IIR);
	out(UART_IER, 0);
	ck_assert(!((lsr & UART_LSR_TEMT) && (iir & UART_IIR_NO_INT)));
	ck_assert_int_eq(fx.level, 0);
}
END_TEST

/* autoconfig_irq(): with all interrupts on, sending one byte raises the line. */
START_TEST(test_linux_autoconfig_irq)
{
	out(UART_MCR, UART_MCR_OUT1 | UART_MCR_OUT2);
	out(UART_MCR, 0);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	out(UART_IER, 0x0f);
	in(UART_LSR);
	in(UART_RX);
	in(UART_IIR);
	in(UART_MSR);
	ck_assert_int_eq(fx.level, 0);
	out(UART_TX, 0xff);
	ck_assert_int_eq(fx.level, 1);
}
END_TEST

START_TEST(test_thre_interrupt)
{
	open_port(UART_IER_THRI);
	ck_assert_int_eq(fx.edges, 1);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_THRI);
	ck_assert_int_eq(fx.level, 0);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_NO_INT);
	/* A burst of 16 bytes costs one edge. */
	for (int i = 0; i < SERIAL_FIFO; i++)
		out(UART_TX, (uint8_t)('a' + i));
	ck_assert_int_eq(fx.edges, 2);
	ck_assert_uint_eq(fx.n_sent, SERIAL_FIFO);
	ck_assert_mem_eq(fx.sent, "abcdefghijklmnop", SERIAL_FIFO);
	/* Reading IIR clears THRE only when it is the cause reported. */
	out(UART_IER, UART_IER_THRI | UART_IER_RDI);
	feed("x");
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
	in(UART_RX);
	ck_assert_int_eq(fx.level, 1);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_THRI);
	ck_assert_int_eq(fx.level, 0);
	/* Writing IER again with the bit set is no new cause. */
	out(UART_IER, UART_IER_THRI);
	ck_assert_int_eq(fx.level, 0);
}
END_TEST

START_TEST(test_back_pressure)
{
	fx.room = 40;
	open_port(UART_IER_THRI);
	in(UART_IIR);
	for (int i = 0; i < 24; i++)
		out(UART_TX, 'x');
	ck_assert_uint_eq(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	out(UART_TX, 'y');
	/* Byte 25 left room for 15: THRE is off and the interrupt waits. */
	ck_assert_uint_eq(in(UART_LSR), 0);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_NO_INT);
	ck_assert_int_eq(fx.level, 0);
	/* The rest of the burst still arrives. */
	for (int i = 0; i < 15; i++)
		out(UART_TX, 'z');
	ck_assert_uint_eq(fx.n_sent, 40);
	/* Enabling THRI anew does not pretend that there is room. */
	out(UART_IER, 0);
	out(UART_IER, UART_IER_THRI);
	ck_assert_int_eq(fx.level, 0);
	fx.n_sent = 0;
	serial_tx_ready(&fx.serial);
	ck_assert_int_eq(fx.level, 1);
	ck_assert_uint_eq(in(UART_LSR), UART_LSR_THRE | UART_LSR_TEMT);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_THRI);
	/* Without need it changes nothing. */
	serial_tx_ready(&fx.serial);
	ck_assert_int_eq(fx.level, 0);
}
END_TEST

START_TEST(test_rx_fifo_and_triggers)
{
	static const struct {
		uint8_t fcr;
		int level;
	} triggers[] = {
		{UART_FCR_TRIGGER_1, 1},
		{UART_FCR_TRIGGER_4, 4},
		{UART_FCR_TRIGGER_8, 8},
		{UART_FCR_TRIGGER_14, 14},
	};

	open_port(UART_IER_RDI);
	out(UART_FCR, UART_FCR_ENABLE_FIFO | triggers[_i].fcr);
	for (int i = 1; i <= SERIAL_FIFO; i++) {
		ck_assert_uint_eq(feed("k"), 1);
		ck_assert_uint_eq(in(UART_IIR), 0xc0 | (i < triggers[_i].level ? UART_IIR_RX_TIMEOUT
									       : UART_IIR_RDI));
	}
	ck_assert_uint_eq(feed("full"), 0);
	ck_assert_int_eq(fx.edges, 1);
	for (int i = SERIAL_FIFO; i > 0; i--) {
		ck_assert_int_eq(fx.level, 1);
		ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR);
		ck_assert_uint_eq(in(UART_RX), 'k');
	}
	ck_assert_int_eq(fx.level, 0);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, 0);
	ck_assert_uint_eq(in(UART_RX), 0);
	/* A new byte after service is a new edge. */
	feed("n");
	ck_assert_int_eq(fx.edges, 2);
}
END_TEST

START_TEST(test_rx_order_across_wrap)
{
	char text[] = "0123456789";

	open_port(UART_IER_RDI);
	for (int round = 0; round < 10; round++) {
		ck_assert_uint_eq(feed(text), 10);
		for (int i = 0; i < 10; i++)
			ck_assert_uint_eq(in(UART_RX), text[i]);
	}
}
END_TEST

START_TEST(test_rx_without_fifo)
{
	open_port(UART_IER_RDI);
	out(UART_FCR, 0);
	ck_assert_uint_eq(feed("ab"), 1);
	ck_assert_uint_eq(in(UART_IIR), UART_IIR_RDI);
	ck_assert_uint_eq(in(UART_RX), 'a');
	ck_assert_uint_eq(in(UART_IIR), UART_IIR_NO_INT);
}
END_TEST

START_TEST(test_rx_room)
{
	open_port(UART_IER_RDI);
	ck_assert_int_eq(fx.rx_rooms, 1); /* began to listen */
	feed("ab");
	in(UART_RX);
	ck_assert_int_eq(fx.rx_rooms, 1);
	in(UART_RX);
	ck_assert_int_eq(fx.rx_rooms, 2);
	feed("ab");
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	ck_assert_int_eq(fx.rx_rooms, 3);
}
END_TEST

START_TEST(test_fcr_flushes)
{
	open_port(UART_IER_RDI);
	feed("abc");
	/* Reset bits without the enable bit are not programmed, but switching the FIFOs off flushes. */
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_XMIT);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR);
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, 0);
	ck_assert_int_eq(fx.level, 0);
	feed("abc");
	out(UART_FCR, 0);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, 0);
	feed("a");
	out(UART_FCR, UART_FCR_CLEAR_RCVR);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR);
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, 0);
}
END_TEST

START_TEST(test_listening)
{
	/* Nobody listens yet. */
	ck_assert_uint_eq(feed("early"), 0);
	out(UART_IER, UART_IER_RDI);
	ck_assert_int_eq(fx.rx_rooms, 1);
	ck_assert_uint_eq(feed("a"), 1);
	in(UART_RX);
	out(UART_IER, 0);
	ck_assert_uint_eq(feed("a"), 0);
	/* Who polls the line status listens; output alone does not count as such. */
	for (int i = 0; i < 100; i++) {
		in(UART_LSR);
		in(UART_LSR);
		out(UART_TX, '.');
	}
	ck_assert_uint_eq(feed("a"), 0);
	fx.rx_rooms = 0;
	for (int i = 0; i < 10; i++)
		in(UART_LSR);
	ck_assert_int_eq(fx.rx_rooms, 1);
	ck_assert_uint_eq(feed("a"), 1);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, UART_LSR_DR);
	ck_assert_uint_eq(in(UART_RX), 'a');
	out(UART_TX, 'a');
	ck_assert_uint_eq(feed("b"), 0);
}
END_TEST

START_TEST(test_rts_holds_input)
{
	/* A guest that never raised RTS is not held. */
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	out(UART_MCR, UART_MCR_OUT2);
	out(UART_IER, UART_IER_RDI);
	ck_assert_uint_eq(feed("a"), 1);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_OUT2);
	ck_assert_uint_eq(feed("a"), 1);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	ck_assert_uint_eq(feed("a"), 1);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_OUT2);
	ck_assert_uint_eq(feed("a"), 0);
	fx.rx_rooms = 0;
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	ck_assert_int_eq(fx.rx_rooms, 1);
	ck_assert_uint_eq(feed("a"), 1);
	/* Both lines down is a closed port, after which RTS alone means nothing again. */
	out(UART_MCR, UART_MCR_OUT2);
	ck_assert_uint_eq(feed("a"), 1);
}
END_TEST

START_TEST(test_out2_gates_the_line)
{
	open_port(UART_IER_RDI);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS);
	feed("a");
	ck_assert_int_eq(fx.level, 0);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	ck_assert_int_eq(fx.level, 1);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS);
	ck_assert_int_eq(fx.level, 0);
}
END_TEST

START_TEST(test_priorities)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO);
	out(UART_MCR, UART_MCR_OUT2);
	out(UART_IER, UART_IER_RDI);
	ck_assert(serial_receive_break(&fx.serial));
	/* Everything at once: break and byte received, THR empty, modem lines moved. */
	out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2);
	out(UART_IER, 0x0f);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_RLSI);
	ck_assert_uint_eq(in(UART_LSR), UART_LSR_DR | UART_LSR_BI | UART_LSR_THRE | UART_LSR_TEMT |
						UART_LSR_FIFOE);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_RDI);
	ck_assert_uint_eq(in(UART_RX), 0);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_THRI);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_MSI);
	ck_assert_int_eq(fx.level, 1);
	ck_assert_uint_ne(in(UART_MSR)&UART_MSR_ANY_DELTA, 0);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_NO_INT);
	ck_assert_int_eq(fx.level, 0);
}
END_TEST

START_TEST(test_break_and_fifo_error)
{
	open_port(UART_IER_RDI | UART_IER_RLSI);
	feed("a");
	ck_assert(serial_receive_break(&fx.serial));
	feed("b");
	/* The flag belongs to its byte; FIFOE tells that one is coming. */
	ck_assert_uint_eq(in(UART_LSR) & (UART_LSR_BI | UART_LSR_FIFOE), UART_LSR_FIFOE);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_RX_TIMEOUT);
	ck_assert_uint_eq(in(UART_RX), 'a');
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_RLSI);
	ck_assert_uint_eq(in(UART_LSR) & (UART_LSR_BI | UART_LSR_FIFOE),
			  UART_LSR_BI | UART_LSR_FIFOE);
	ck_assert_uint_eq(in(UART_LSR) & (UART_LSR_BI | UART_LSR_FIFOE), 0);
	ck_assert_uint_eq(in(UART_RX), 0);
	ck_assert_uint_eq(in(UART_RX), 'b');
	feed("0123456789abcdef");
	ck_assert(!serial_receive_break(&fx.serial));
}
END_TEST

START_TEST(test_loopback_data)
{
	open_port(UART_IER_RDI | UART_IER_RLSI);
	out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_DTR | UART_MCR_RTS);
	out(UART_TX, 'l');
	ck_assert_uint_eq(fx.n_sent, 0);
	ck_assert_uint_eq(feed("outside"), 0);
	ck_assert_int_eq(fx.level, 1);
	ck_assert_uint_eq(in(UART_RX), 'l');
	for (int i = 0; i < SERIAL_FIFO + 1; i++)
		out(UART_TX, (uint8_t)i);
	ck_assert_uint_eq(in(UART_IIR), 0xc0 | UART_IIR_RLSI);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_OE, UART_LSR_OE);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_OE, 0);
	for (int i = 0; i < SERIAL_FIFO; i++)
		ck_assert_uint_eq(in(UART_RX), i);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_DR, 0);
	/* Without the FIFO the new byte takes the place of the old one. */
	out(UART_FCR, 0);
	out(UART_TX, 'o');
	out(UART_TX, 'n');
	ck_assert_uint_eq(in(UART_LSR) & (UART_LSR_OE | UART_LSR_DR), UART_LSR_OE | UART_LSR_DR);
	ck_assert_uint_eq(in(UART_RX), 'n');
}
END_TEST

/* Loopback sends although the sink is full, and the sink's state is back afterwards. */
START_TEST(test_loopback_with_full_sink)
{
	fx.room = 0;
	out(UART_TX, 'x');
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_THRE, 0);
	out(UART_MCR, UART_MCR_LOOP);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_THRE, UART_LSR_THRE);
	out(UART_TX, 'y');
	ck_assert_uint_eq(in(UART_RX), 'y');
	out(UART_MCR, 0);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_THRE, 0);
	ck_assert_uint_eq(fx.n_sent, 1);
}
END_TEST

START_TEST(test_loopback_modem_lines)
{
	static const struct {
		uint8_t mcr, lines;
	} map[] = {
		{0, 0},
		{UART_MCR_DTR, UART_MSR_DSR},
		{UART_MCR_RTS, UART_MSR_CTS},
		{UART_MCR_OUT1, UART_MSR_RI},
		{UART_MCR_OUT2, UART_MSR_DCD},
		{0x0f, 0xf0},
	};

	for (int i = 0; i < 6; i++) {
		out(UART_MCR, UART_MCR_LOOP | map[i].mcr);
		ck_assert_uint_eq(in(UART_MSR)&0xf0, map[i].lines);
		ck_assert_uint_eq(in(UART_MSR), map[i].lines);
	}
	/* RI latches when it falls. */
	out(UART_MCR, UART_MCR_LOOP);
	ck_assert_uint_eq(in(UART_MSR),
			  UART_MSR_TERI | UART_MSR_DCTS | UART_MSR_DDSR | UART_MSR_DDCD);
	out(UART_MCR, UART_MCR_LOOP | UART_MCR_OUT1);
	ck_assert_uint_eq(in(UART_MSR), UART_MSR_RI);
	out(UART_IER, UART_IER_MSI);
	out(UART_MCR, 0);
	ck_assert_uint_eq(in(UART_IIR), UART_IIR_MSI);
	ck_assert_uint_eq(in(UART_MSR), 0xb0 | UART_MSR_ANY_DELTA);
	ck_assert_uint_eq(in(UART_MSR), 0xb0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("devices/serial");
	TCase *tc = tcase_create("serial");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, test_registers, 0, sizeof(registers) / sizeof(registers[0]));
	tcase_add_test(tc, test_lcr_reset_value);
	tcase_add_test(tc, test_divisor_hides_data_and_ier);
	tcase_add_test(tc, test_widths);
	tcase_add_test(tc, test_linux_autoconfig);
	tcase_add_test(tc, test_linux_startup);
	tcase_add_test(tc, test_linux_autoconfig_irq);
	tcase_add_test(tc, test_thre_interrupt);
	tcase_add_test(tc, test_back_pressure);
	tcase_add_loop_test(tc, test_rx_fifo_and_triggers, 0, 4);
	tcase_add_test(tc, test_rx_order_across_wrap);
	tcase_add_test(tc, test_rx_without_fifo);
	tcase_add_test(tc, test_rx_room);
	tcase_add_test(tc, test_fcr_flushes);
	tcase_add_test(tc, test_listening);
	tcase_add_test(tc, test_rts_holds_input);
	tcase_add_test(tc, test_out2_gates_the_line);
	tcase_add_test(tc, test_priorities);
	tcase_add_test(tc, test_break_and_fifo_error);
	tcase_add_test(tc, test_loopback_data);
	tcase_add_test(tc, test_loopback_with_full_sink);
	tcase_add_test(tc, test_loopback_modem_lines);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
