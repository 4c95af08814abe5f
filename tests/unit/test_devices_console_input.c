/* The console's input, of which nothing is lost, and its keys. */
#include "tests/unit/console_fixture.h"

/* More than pipe, socket or pty buffer. */
#define BULK (256 * 1024)

static void guest_opens_port(void)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	out(UART_IER, UART_IER_RDI);
}

/* As an interrupt handler does, while the line is up. Returns the bytes received in the given time. */
static size_t guest_receives(uint8_t *buf, size_t n, unsigned int ms)
{
	uint64_t end = evloop_now() + ms * MS;
	size_t got = 0;

	while (got < n && evloop_now() < end) {
		if (!rig_interrupted(ms))
			break;
		if (in(UART_IIR)&UART_IIR_NO_INT)
			continue;
		while (got < n && (in(UART_LSR)&UART_LSR_DR))
			buf[got++] = in(UART_RX);
	}
	return got;
}

/* ---- input ---- */

static void *writer_thread(void *arg)
{
	int fd = *(int *)arg;
	size_t done = 0;

	while (done < BULK) {
		ssize_t n = write(fd, rig.data + done, BULK - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	/* A pty drops what waits when one end closes. */
	if (!isatty(fd))
		close(fd);
	return NULL;
}

/* More than any of their buffers holds, through pipe, socket, pty and file; the short gap is for the test's time only. */
START_TEST(test_input_bulk)
{
	int fds[2], guest_end, host_end = -1;
	pthread_t thread;

	if (_i == 0) {
		make_pipe(fds);
		guest_end = fds[0], host_end = fds[1];
	} else if (_i == 1) {
		make_sockets(SOCK_STREAM, fds);
		guest_end = fds[0], host_end = fds[1];
	} else if (_i == 2) {
		make_pty(&host_end, &guest_end);
	} else {
		guest_end = make_file();
	}
	ck_assert_int_eq(rig_init(guest_end, -1, false), 0);
	rig.console.input.gap_min = 1000;
	if (host_end < 0) {
		ck_assert_int_eq(write(guest_end, rig.data, BULK), BULK);
		lseek(guest_end, 0, SEEK_SET);
	}
	rig_run();
	guest_opens_port();
	if (host_end >= 0)
		pthread_create(&thread, NULL, writer_thread, &host_end);
	ck_assert_uint_eq(guest_receives(rig.got, BULK, 60000), BULK);
	ck_assert_mem_eq(rig.got, rig.data, BULK);
	if (host_end >= 0)
		pthread_join(thread, NULL);
	ck_assert_uint_eq(guest_receives(rig.got, 1, 20), 0);
	ck_assert_int_eq(atomic_load(&rig.logs), 0);
	rig_stop();
}
END_TEST

/* With the real gap: sixteen bytes at a time, 200 us apart at least; a lone key goes at once. */
START_TEST(test_input_pace)
{
	uint64_t begin, best = UINT64_MAX;
	int p[2];

	make_pipe(p);
	rig_start(p[0], -1, false);
	guest_opens_port();
	nap(10);
	begin = evloop_now();
	ck_assert_int_eq(write(p[1], rig.data, 1600), 1600);
	ck_assert_uint_eq(guest_receives(rig.got, 1600, 5000), 1600);
	ck_assert_mem_eq(rig.got, rig.data, 1600);
	ck_assert_uint_ge(evloop_now() - begin, 99 * CONSOLE_INPUT_GAP_MIN);
	for (int i = 0; i < 5; i++) {
		nap(10);
		begin = evloop_now();
		ck_assert_int_eq(write(p[1], "k", 1), 1);
		ck_assert_uint_eq(guest_receives(rig.got, 1, 2000), 1);
		if (evloop_now() - begin < best)
			best = evloop_now() - begin;
	}
	ck_assert_uint_lt(best, 20 * MS);
	rig_stop();
}
END_TEST

/* Before the guest listens, and while it holds RTS low, at most the small buffer is read from the host. */
START_TEST(test_input_waits_for_guest)
{
	int p[2], left = 0;

	make_pipe(p);
	ck_assert_int_eq(write(p[1], "head", 4), 4);
	rig_start(p[0], -1, false);
	ck_assert_int_eq(write(p[1], rig.data, 60000), 60000);
	nap(30);
	ioctl(p[0], FIONREAD, &left);
	ck_assert_int_ge(left, 60004 - CONSOLE_INPUT_SIZE);
	/* A driver's probe enables interrupts for a moment and empties the FIFO. */
	out(UART_IER, 0x0f);
	out(UART_IER, 0);
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	nap(10);
	guest_opens_port();
	out(UART_MCR, UART_MCR_DTR | UART_MCR_OUT2);
	nap(10);
	in(UART_LSR);
	while (in(UART_LSR)&UART_LSR_DR)
		in(UART_RX);
	ck_assert_uint_eq(guest_receives(rig.got, 1, 20), 0);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	ck_assert_uint_eq(guest_receives(rig.got, 60004, 30000), 60004);
	ck_assert_mem_eq(rig.got, "head", 4);
	ck_assert_mem_eq(rig.got + 4, rig.data, 60000);
	rig_stop();
}
END_TEST

START_TEST(test_input_ends)
{
	int fd, p[2];

	if (_i == 0) {
		fd = open("/dev/null", O_RDWR);
	} else if (_i == 1) {
		make_pipe(p);
		fd = p[0];
	} else if (_i == 2) {
		fd = make_file();
	} else {
		make_sockets(SOCK_STREAM, p);
		fd = p[0];
	}
	if (_i == 1 || _i == 3) {
		ck_assert_int_eq(write(p[1], "bye", 3), 3);
		close(p[1]);
	}
	rig_start(fd, -1, false);
	guest_opens_port();
	if (_i & 1)
		ck_assert_uint_eq(guest_receives(rig.got, 3, 5000), 3);
	ck_assert_uint_eq(guest_receives(rig.got, 1, 50), 0);
	ck_assert_int_eq(atomic_load(&rig.logs), 0);
	/* An ended input costs nothing: the loop sleeps. */
	ck_assert(!rig.console.input.timer.armed);
	rig_stop();
}
END_TEST

START_TEST(test_input_fails)
{
	int fd = open("/", O_RDONLY | O_DIRECTORY);

	rig_start(fd, -1, false);
	ck_assert(comes_to(&rig.logs, 1));
	ck_assert_ptr_nonnull(strstr(rig.log, strerror(EISDIR)));
	rig_stop();
}
END_TEST

/* A pty whose other end nobody has opened yet answers EIO; it is asked again later. */
START_TEST(test_input_pty_master)
{
	int master, slave;
	char name[64];

	make_pty(&master, &slave);
	snprintf(name, sizeof(name), "%s", ptsname(master));
	close(slave);
	rig_start(master, -1, false);
	guest_opens_port();
	nap(20);
	slave = open(name, O_RDWR | O_NOCTTY);
	ck_assert_int_eq(write(slave, "hi", 2), 2);
	ck_assert_uint_eq(guest_receives(rig.got, 2, 3000), 2);
	ck_assert_mem_eq(rig.got, "hi", 2);
	ck_assert_int_eq(atomic_load(&rig.logs), 0);
	rig_stop();
}
END_TEST

/* Both ways over one descriptor, as a terminal or a socket is. */
START_TEST(test_one_descriptor)
{
	int host, guest, s[2];

	if (_i == 0) {
		make_pty(&host, &guest);
	} else if (_i == 1) {
		make_pty(&guest, &host); /* the master's side: cannot be reopened */
	} else {
		make_sockets(SOCK_STREAM, s);
		host = s[0], guest = s[1];
	}
	rig_start(guest, guest, false);
	guest_opens_port();
	ck_assert_int_eq(write(host, rig.data, 1000), 1000);
	ck_assert_uint_eq(guest_receives(rig.got, 1000, 5000), 1000);
	ck_assert_mem_eq(rig.got, rig.data, 1000);
	ck_assert_uint_eq(guest_sends(1000, 5000), 1000);
	ck_assert_uint_eq(host_reads(host, rig.got, 1000, 2000), 1000);
	ck_assert_mem_eq(rig.got, rig.data, 1000);
	rig_stop();
}
END_TEST

/* ---- keys ---- */

static const struct {
	const char *name;
	const char *pieces[4]; /* read one by one */
	const char *guest;     /* what the guest gets */
	unsigned int pressed;
} sequences[] = {
	{"no key", {"abc"}, "abc", 0},
	{"quit", {"a\1xb"}, "ab", CONSOLE_KEY_QUIT},
	{"quit, split", {"a\1", "xb"}, "ab", CONSOLE_KEY_QUIT},
	{"help", {"\1h"}, "", CONSOLE_KEY_HELP},
	{"show", {"a\1db"}, "ab", CONSOLE_KEY_SHOW},
	{"help and quit", {"\1h\1x"}, "", CONSOLE_KEY_HELP | CONSOLE_KEY_QUIT},
	{"break", {"\1b"}, "", CONSOLE_KEY_BREAK},
	{"break, split", {"\1", "bh"}, "h", CONSOLE_KEY_BREAK},
	{"text around breaks", {"ls\1b\1bh\1\1b"}, "h\1b", CONSOLE_KEY_BREAK},
	{"break behind another letter", {"\1l\1bh"}, "h", CONSOLE_KEY_BREAK},
	{"one Ctrl-A", {"a\1\1b"}, "a\1b", 0},
	{"one Ctrl-A, split", {"a\1", "\1", "b"}, "a\1b", 0},
	{"two of them", {"\1\1\1\1"}, "\1\1", 0},
	{"then x is text", {"\1\1x"}, "\1x", 0},
	{"another letter", {"\1lq"}, "\1lq", 0},
	{"another letter, split", {"\1", "l", "\1", "q"}, "\1l\1q", 0},
	{"pending at the end", {"a\1"}, "a", 0},
	{"capitals are letters", {"\1X"}, "\1X", 0},
};

START_TEST(test_key_sequences)
{
	struct console_keys keys = {0};
	uint8_t buf[64], got[64];
	unsigned int pressed = 0, now;
	size_t n = 0;

	for (int i = 0; i < 4 && sequences[_i].pieces[i]; i++) {
		size_t len = strlen(sequences[_i].pieces[i]), stored;

		memcpy(buf + 1, sequences[_i].pieces[i], len);
		stored = console_keys_filter(&keys, buf + 1, len, buf, &now);
		memcpy(got + n, buf, stored);
		n += stored;
		pressed |= now;
	}
	ck_assert_msg(n == strlen(sequences[_i].guest) && !memcmp(got, sequences[_i].guest, n),
		      "%s: what the guest gets", sequences[_i].name);
	ck_assert_msg(pressed == sequences[_i].pressed, "%s: the keys", sequences[_i].name);
}
END_TEST

START_TEST(test_keys_on_the_console)
{
	int p[2], o[2];
	size_t n;

	make_pipe(p);
	make_pipe(o);
	rig_start(p[0], o[1], true);
	guest_opens_port();
	ck_assert_int_eq(write(p[1], "ls\1", 3), 3);
	nap(20);
	ck_assert_int_eq(write(p[1], "h", 1), 1);
	n = host_reads(o[0], rig.got, 1, 5000);
	n += host_reads(o[0], rig.got + n, sizeof(rig.got) - 1 - n, 200);
	rig.got[n] = 0;
	ck_assert_ptr_nonnull(strstr((char *)rig.got, "Ctrl-A x"));
	ck_assert_uint_eq(guest_receives(rig.got, 2, 5000), 2);
	ck_assert_mem_eq(rig.got, "ls", 2);
	/* Also when the guest does not listen and has not taken what was typed before. */
	out(UART_IER, 0);
	ck_assert_int_eq(write(p[1], "still", 5), 5);
	nap(20);
	ck_assert_int_eq(atomic_load(&rig.quits), 0);
	ck_assert_int_eq(write(p[1], "\1x", 2), 2);
	ck_assert(comes_to(&rig.quits, 1));
	ck_assert_int_eq(write(p[1], " here", 5), 5);
	guest_opens_port();
	ck_assert_uint_eq(guest_receives(rig.got, 10, 2000), 10);
	ck_assert_mem_eq(rig.got, "still here", 10);
	rig_stop();
}
END_TEST

/* Reads what the console shows until there is nothing more. */
static const char *shown(int fd)
{
	size_t n = host_reads(fd, rig.got, 1, 5000);

	n += host_reads(fd, rig.got + n, sizeof(rig.got) - 1 - n, 200);
	rig.got[n] = 0;
	return (const char *)rig.got;
}

START_TEST(test_break)
{
	int p[2], o[2];

	make_pipe(p);
	make_pipe(o);
	rig_start(p[0], o[1], true);
	guest_opens_port();
	ck_assert_int_eq(write(p[1], "ls\1bh", 5), 5);
	ck_assert(rig_interrupted(5000));
	ck_assert_uint_eq(in(UART_LSR) & (UART_LSR_DR | UART_LSR_BI), UART_LSR_DR | UART_LSR_BI);
	ck_assert_uint_eq(in(UART_RX), 0);
	ck_assert_uint_eq(guest_receives(rig.got, 1, 5000), 1);
	ck_assert_uint_eq(rig.got[0], 'h');
	ck_assert_uint_eq(host_reads(o[0], rig.got, 1, 20), 0);
	/* Whoever does not listen gets none, nor what was typed before. */
	out(UART_IER, 0);
	out(UART_MCR, UART_MCR_DTR);
	ck_assert_int_eq(write(p[1], "still", 5), 5);
	nap(20);
	ck_assert_int_eq(write(p[1], "\1bhere", 6), 6);
	ck_assert_ptr_nonnull(strstr(shown(o[0]), "no break"));
	guest_opens_port();
	ck_assert_uint_eq(guest_receives(rig.got, 5, 100), 4);
	ck_assert_mem_eq(rig.got, "here", 4);
	rig_stop();
}
END_TEST

static size_t port_receive(void *arg, const uint8_t *buf, size_t n)
{
	(void)buf;
	atomic_fetch_add((_Atomic int *)arg, (int)n);
	return n;
}

START_TEST(test_break_of_a_virtio_console)
{
	static _Atomic int received;
	const struct console_port port = {.receive = port_receive, .arg = &received};
	int p[2], o[2];

	make_pipe(p);
	make_pipe(o);
	ck_assert_int_eq(rig_init(p[0], o[1], true), 0);
	console_set_port(&rig.console, &port);
	rig_run();
	guest_opens_port(); /* the serial port is there too, and not meant */
	ck_assert_int_eq(write(p[1], "\1bh", 3), 3);
	ck_assert_ptr_nonnull(strstr(shown(o[0]), "no break"));
	ck_assert(comes_to(&received, 1));
	ck_assert(!(in(UART_LSR)&UART_LSR_DR));
	rig_stop();
}
END_TEST

/* A full buffer of input that begins with the second half of an escape is the longest case. */
START_TEST(test_keys_long_input)
{
	int p[2];

	make_pipe(p);
	memset(rig.got, 'q', 60000);
	ck_assert_int_eq(rig_init(p[0], -1, true), 0);
	rig.console.input.gap_min = 1000;
	rig_run();
	ck_assert_int_eq(write(p[1], "\1", 1), 1);
	nap(20);
	ck_assert_int_eq(write(p[1], rig.got, 60000), 60000);
	guest_opens_port();
	memset(rig.data, 'q', 60001);
	rig.data[0] = 1;
	ck_assert_uint_eq(guest_receives(rig.got, 60001, 30000), 60001);
	ck_assert_mem_eq(rig.got, rig.data, 60001);
	rig_stop();
}
END_TEST

/* Our own text does not take the room that the guest was promised. */
START_TEST(test_text_leaves_the_reserve)
{
	const size_t filled = CONSOLE_OUTPUT_SIZE - 1000;
	char text[1000] = {0};
	int p[2];

	make_pipe(p);
	fcntl(p[0], F_SETPIPE_SZ, 1024 * 1024);
	ck_assert_int_eq(rig_init(-1, p[1], false), 0);
	rig.console.serial = &rig.serial;
	ck_assert_uint_eq(guest_sends(filled, 100), filled);
	memset(text, 't', 990);
	console_output_text(&rig.console.output, text);
	text[900] = 0;
	console_output_text(&rig.console.output, text);
	console_flush(&rig.console, 1000);
	ck_assert_uint_eq(host_reads(p[0], rig.got, sizeof(rig.got), 50), filled + 900);
	ck_assert_mem_eq(rig.got, rig.data, filled);
	ck_assert_mem_eq(rig.got + filled, text, 900);
	rig_stop();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("devices/console, input");
	TCase *tc = add_case(suite, "input");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tc, test_input_bulk, 0, 4);
	tcase_add_test(tc, test_input_pace);
	tcase_add_test(tc, test_input_waits_for_guest);
	tcase_add_loop_test(tc, test_input_ends, 0, 4);
	tcase_add_test(tc, test_input_fails);
	tcase_add_test(tc, test_input_pty_master);
	tcase_add_loop_test(tc, test_one_descriptor, 0, 3);
	tc = add_case(suite, "keys");
	tcase_add_loop_test(tc, test_key_sequences, 0, sizeof(sequences) / sizeof(sequences[0]));
	tcase_add_test(tc, test_keys_on_the_console);
	tcase_add_test(tc, test_break);
	tcase_add_test(tc, test_break_of_a_virtio_console);
	tcase_add_test(tc, test_keys_long_input);
	tcase_add_test(tc, test_text_leaves_the_reserve);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
