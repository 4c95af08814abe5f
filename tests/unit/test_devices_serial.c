/* The 16550A against its datasheet and against the sequences of Linux's 8250 driver. */
#include "tests/unit/serial_fixture.h"

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
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
