/* The 16550A: its receiver, its modem lines, priorities of interrupts, loopback. */
#include "tests/unit/serial_fixture.h"

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
	Suite *suite = suite_create("devices/serial, receiver and lines");
	TCase *tc = tcase_create("serial");
	SRunner *runner;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
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
