/* The console's other ends: a port beside the serial one, and a socket whose clients come and go. */
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/serial_reg.h>

#include "devices/console.h"
#include "tests/unit/evloop_settle.h"
#include "vmm/core/log.h"

#define BULK (300 * 1024)

static struct {
	struct evloop loop;
	struct serial serial;
	struct console console;
	struct sockaddr_un name;
	int listener;
	_Atomic unsigned int logs;
	/* the port; on the loop's thread */
	uint8_t taken[BULK];
	_Atomic size_t n_taken;
	_Atomic size_t room;
	_Atomic unsigned int readies;
} rig;

static uint8_t data[BULK], got[BULK];

static void on_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
	rig.logs++;
}

static size_t port_receive(void *arg, const uint8_t *buf, size_t n)
{
	ck_assert_ptr_eq(arg, &rig);
	n = n < rig.room ? n : rig.room;
	memcpy(rig.taken + rig.n_taken, buf, n);
	rig.room -= n;
	rig.n_taken += n;
	return n;
}

static void port_tx_ready(void *arg)
{
	ck_assert_ptr_eq(arg, &rig);
	rig.readies++;
}

static void line_noop(void *arg)
{
	(void)arg;
}

static void make_rig(int in_fd, int out_fd)
{
	const struct irq_line irq = {line_noop, line_noop, NULL};
	const struct console_port port = {
		.receive = port_receive, .tx_ready = port_tx_ready, .arg = &rig};
	const struct console_config config = {.loop = &rig.loop, .in_fd = in_fd, .out_fd = out_fd};
	struct serial_backend backend;

	memset((void *)&rig, 0, sizeof(rig));
	rig.listener = -1;
	rig.room = BULK;
	for (size_t i = 0; i < BULK; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	log_set_sink(on_log, NULL);
	ck_assert_int_eq(evloop_init(&rig.loop), 0);
	ck_assert_int_eq(console_init(&rig.console, &config), 0);
	backend = console_backend(&rig.console);
	serial_init(&rig.serial, &irq, &backend);
	console_set_port(&rig.console, &port);
}

static void run(void)
{
	ck_assert_int_eq(evloop_start(&rig.loop, "console"), 0);
	console_start(&rig.console, &rig.serial);
}

static void finish(void)
{
	evloop_stop(&rig.loop);
	console_fini(&rig.console);
	serial_fini(&rig.serial);
	evloop_fini(&rig.loop);
	if (rig.listener >= 0)
		close(rig.listener);
}

static size_t host_reads(int fd, size_t n, int ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	size_t have = 0;

	while (have < n && poll(&pfd, 1, ms) > 0) {
		ssize_t r = read(fd, got + have, n - have);

		if (r <= 0)
			break;
		have += (size_t)r;
	}
	return have;
}

static void await_taken(size_t n)
{
	for (unsigned int i = 0; i < 5000 && rig.n_taken < n; i++)
		usleep(1000);
	ck_assert_uint_eq(rig.n_taken, n);
}

/* Bytes of the data from from on, all of them, as a device would. */
static void port_sends(size_t from, size_t n)
{
	size_t done = 0;

	while (done < n) {
		unsigned int readies = rig.readies;
		size_t w = console_write(&rig.console, data + from + done, n - done);

		done += w;
		for (unsigned int i = 0; done < n && i < 10000 && rig.readies == readies; i++)
			usleep(500);
		ck_assert(done == n || rig.readies > readies);
	}
}

static void *reader(void *arg)
{
	const int *fd = arg;

	return (void *)(uintptr_t)host_reads(*fd, BULK, 5000);
}

/* ---- the port ---- */

START_TEST(test_port_in_bulk)
{
	pthread_t thread;
	void *read;
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	make_rig(-1, p[1]);
	run();
	pthread_create(&thread, NULL, reader, &p[0]);
	port_sends(0, BULK);
	pthread_join(thread, &read);
	ck_assert_uint_eq((uintptr_t)read, BULK);
	ck_assert_mem_eq(got, data, BULK);
	finish();
}
END_TEST

/* Nobody reads: the ring fills, keeps what the serial port was promised, and says when there is room again. */
START_TEST(test_port_and_serial_share)
{
	const size_t most = CONSOLE_OUTPUT_SIZE - 2 * CONSOLE_OUTPUT_RESERVE;
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	make_rig(-1, p[1]);
	rig.console.serial = &rig.serial;
	ck_assert_uint_eq(console_write(&rig.console, data, 1), 1);
	ck_assert_uint_eq(console_write(&rig.console, data + 1, BULK - 1), most - 1);
	ck_assert_uint_eq(console_write(&rig.console, data, 1), 0);
	for (unsigned int i = 0; i < CONSOLE_OUTPUT_RESERVE; i++)
		serial_write(&rig.serial, UART_TX, 1, 's');
	run();
	ck_assert_uint_eq(host_reads(p[0], most + CONSOLE_OUTPUT_RESERVE, 2000),
			  most + CONSOLE_OUTPUT_RESERVE);
	ck_assert_mem_eq(got, data, most);
	ck_assert_uint_eq(got[most + CONSOLE_OUTPUT_RESERVE - 1], 's');
	evloop_settle(&rig.loop);
	ck_assert_uint_ge(rig.readies, 1);
	finish();
}
END_TEST

START_TEST(test_port_discards)
{
	make_rig(-1, -1);
	ck_assert_uint_eq(console_write(&rig.console, data, BULK), BULK);
	run();
	finish();
}
END_TEST

/* Input goes to the port, not to the serial; what it does not take waits. */
START_TEST(test_port_input)
{
	int p[2];

	ck_assert_int_eq(pipe(p), 0);
	make_rig(p[0], -1);
	rig.room = 0;
	run();
	serial_write(&rig.serial, UART_IER, 1, UART_IER_RDI);
	ck_assert_int_eq(write(p[1], data, 20000), 20000);
	usleep(20000);
	ck_assert_uint_eq(rig.n_taken, 0);
	rig.room = 10000;
	console_room(&rig.console);
	await_taken(10000);
	rig.room = 20000;
	console_room(&rig.console);
	await_taken(20000);
	ck_assert_mem_eq(rig.taken, data, 20000);
	ck_assert_uint_eq(serial_read(&rig.serial, UART_LSR, 1) & UART_LSR_DR, 0);
	finish();
}
END_TEST

/* ---- the socket ---- */

static void make_socket_rig(void)
{
	make_rig(-1, -1);
	rig.name.sun_family = AF_UNIX; /* an abstract name that the kernel picks */
	rig.listener = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(rig.listener, (struct sockaddr *)&rig.name, sizeof(sa_family_t)), 0);
	console_listen(&rig.console, rig.listener);
	ck_assert_int_eq(listen(rig.listener, 4), 0);
	run();
}

static int client(void)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	ck_assert_int_eq(getsockname(rig.listener, (struct sockaddr *)&name, &len), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&name, len), 0);
	evloop_settle(&rig.loop);
	return fd;
}

static bool is_closed(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	char c;

	return poll(&pfd, 1, 2000) == 1 && read(fd, &c, 1) <= 0;
}

START_TEST(test_clients_come_and_go)
{
	make_socket_rig();
	port_sends(0, 1000); /* goes nowhere */
	for (unsigned int i = 1; i <= 5; i++) {
		int fd = client();

		port_sends(i, 2000);
		ck_assert_uint_eq(host_reads(fd, 2000, 2000), 2000);
		ck_assert_mem_eq(got, data + i, 2000);
		ck_assert_int_eq(write(fd, data + (i - 1) * 100, 100), 100);
		await_taken(i * 100);
		close(fd);
		evloop_settle(&rig.loop);
		port_sends(0, 1000);
		ck_assert_int_lt(rig.console.socket.client.fd, 0);
	}
	ck_assert_mem_eq(rig.taken, data, 500);
	ck_assert_uint_eq(rig.logs, 0);
	finish();
}
END_TEST

START_TEST(test_one_client_at_a_time)
{
	int first, second;

	make_socket_rig();
	first = client();
	second = client();
	ck_assert(is_closed(second));
	close(second);
	port_sends(0, 100);
	ck_assert_uint_eq(host_reads(first, 100, 2000), 100);
	close(first);
	evloop_settle(&rig.loop);
	second = client();
	port_sends(7, 100);
	ck_assert_uint_eq(host_reads(second, 100, 2000), 100);
	ck_assert_mem_eq(got, data + 7, 100);
	finish();
	ck_assert(is_closed(second));
	close(second);
}
END_TEST

/* Who sends and leaves has sent; who sends, closes that side and stays can read. */
START_TEST(test_last_words)
{
	int fd;

	make_socket_rig();
	fd = client();
	rig.room = 0;
	ck_assert_int_eq(write(fd, data, 20000), 20000);
	if (_i == 0)
		close(fd);
	else
		shutdown(fd, SHUT_WR);
	usleep(10000);
	rig.room = BULK;
	console_room(&rig.console);
	await_taken(20000);
	ck_assert_mem_eq(rig.taken, data, 20000);
	if (_i == 1) {
		port_sends(0, 500);
		ck_assert_uint_eq(host_reads(fd, 500, 2000), 500);
		close(fd);
	}
	evloop_settle(&rig.loop);
	ck_assert_int_lt(rig.console.socket.client.fd, 0);
	fd = client();
	port_sends(3, 500);
	ck_assert_uint_eq(host_reads(fd, 500, 2000), 500);
	close(fd);
	ck_assert_uint_eq(rig.logs, 0);
	finish();
}
END_TEST

/* A guest that takes no input does not lock others out once the client has left. */
START_TEST(test_next_client_of_a_hung_guest)
{
	int fd;

	make_socket_rig();
	rig.room = 0;
	fd = client();
	ck_assert_int_eq(write(fd, data, 20000), 20000);
	close(fd);
	evloop_settle(&rig.loop);
	fd = client();
	port_sends(5, 100);
	ck_assert_uint_eq(host_reads(fd, 100, 2000), 100);
	close(fd);
	finish();
}
END_TEST

/* A guest that has used up the descriptors, by streams say, delays the next client, and no more. */
START_TEST(test_no_descriptors)
{
	struct sockaddr_un name;
	socklen_t len = sizeof(name);
	struct rlimit limit, old;
	int fd, next;

	make_socket_rig();
	ck_assert_int_eq(getsockname(rig.listener, (struct sockaddr *)&name, &len), 0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	next = dup(fd);
	close(next);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = old;
	limit.rlim_cur = (rlim_t)next;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&name, len), 0);
	while (rig.logs == 0)
		usleep(1000);
	ck_assert_int_lt(rig.console.socket.client.fd, 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	for (int i = 0; i < 1000 && host_reads(fd, 100, 0) == 0; i++) {
		port_sends(5, 100);
		usleep(2000);
	}
	ck_assert_mem_eq(got, data + 5, 100);
	close(fd);
	finish();
}
END_TEST

/* The client leaves while it is being written to,
 or does not read at all. */
START_TEST(test_flood)
{
	int fd;

	make_socket_rig();
	fd = client();
	while (console_write(&rig.console, data, 4096) == 4096)
		usleep(100);
	close(fd);
	evloop_settle(&rig.loop);
	ck_assert_uint_eq(console_write(&rig.console, data, BULK), BULK);
	ck_assert_uint_ge(rig.readies, 1);
	fd = client();
	port_sends(9, 100);
	ck_assert_uint_eq(host_reads(fd, 100, 2000), 100);
	ck_assert_mem_eq(got, data + 9, 100);
	close(fd);
	ck_assert_uint_eq(rig.logs, 0);
	finish();
}
END_TEST

/* A child of the process may have a copy. */
START_TEST(test_end_with_a_copy)
{
	int fd, copy;

	make_socket_rig();
	fd = client();
	copy = dup(rig.console.socket.client.fd);
	ck_assert_int_ge(copy, 0);
	port_sends(0, 2000);
	ck_assert_uint_eq(host_reads(fd, 2000, 2000), 2000);
	finish();
	ck_assert(is_closed(fd));
	close(copy);
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("devices/console_socket");
	TCase *port = tcase_create("port"), *sock = tcase_create("socket");
	SRunner *runner;
	int failed;

	tcase_set_timeout(port, 60);
	tcase_add_test(port, test_port_in_bulk);
	tcase_add_test(port, test_port_and_serial_share);
	tcase_add_test(port, test_port_discards);
	tcase_add_test(port, test_port_input);
	suite_add_tcase(s, port);
	tcase_set_timeout(sock, 60);
	tcase_add_test(sock, test_clients_come_and_go);
	tcase_add_test(sock, test_one_client_at_a_time);
	tcase_add_loop_test(sock, test_last_words, 0, 2);
	tcase_add_test(sock, test_next_client_of_a_hung_guest);
	tcase_add_test(sock, test_flood);
	tcase_add_test(sock, test_no_descriptors);
	tcase_add_test(sock, test_end_with_a_copy);
	suite_add_tcase(s, sock);
	runner = srunner_create(s);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
