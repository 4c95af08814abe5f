/*
 * The console between a real event loop, real descriptors and the 16550A: bursts, back pressure, input without
 * loss, keys. The main thread plays the vCPU.
 */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <linux/serial_reg.h>

#include "devices/console.h"
#include "vmm/core/log.h"

#define MS UINT64_C(1000000)

/* More than ring, pipe and socket buffers together, and than all indexes of 16 bits count. */
#define FLOOD (2 * 1024 * 1024)

/* More than pipe, socket or pty buffer. */
#define BULK (256 * 1024)

static struct rig {
	struct evloop loop;
	struct serial serial;
	struct console console;
	_Atomic int quits, logs;
	pthread_mutex_t lock; /* level; inside the serial's lock */
	pthread_cond_t raised;
	int level;
	char log[256];
	uint8_t data[1024 * 1024];
	uint8_t got[1024 * 1024];
} rig;

static void rig_raise(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&rig.lock);
	rig.level = 1;
	pthread_cond_signal(&rig.raised);
	pthread_mutex_unlock(&rig.lock);
}

static void rig_lower(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&rig.lock);
	rig.level = 0;
	pthread_mutex_unlock(&rig.lock);
}

/* Whether the interrupt line is up, within ms. */
static bool rig_interrupted(unsigned int ms)
{
	struct timespec end;
	bool level;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += (long)(ms % 1000 * MS);
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&rig.lock);
	while (!rig.level && pthread_cond_timedwait(&rig.raised, &rig.lock, &end) == 0)
		;
	level = rig.level;
	pthread_mutex_unlock(&rig.lock);
	return level;
}

static void rig_quit(void *arg)
{
	ck_assert_ptr_eq(arg, &rig);
	atomic_fetch_add(&rig.quits, 1);
}

static void rig_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	snprintf(rig.log, sizeof(rig.log), "%s", line);
	atomic_fetch_add(&rig.logs, 1);
}

static void nap(unsigned int ms)
{
	poll(NULL, 0, (int)ms);
}

/* Waits until value is reached; for what another thread does sooner or later on a busy machine. */
static bool comes_to(const _Atomic int *counter, int value)
{
	for (int i = 0; i < 5000 && atomic_load(counter) < value; i++)
		nap(1);
	return atomic_load(counter) == value;
}

static uint8_t in(unsigned int reg)
{
	return (uint8_t)serial_read(&rig.serial, reg, 1);
}

static void out(unsigned int reg, uint8_t value)
{
	serial_write(&rig.serial, reg, 1, value);
}

static void guest_opens_port(void)
{
	out(UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_TRIGGER_8);
	out(UART_MCR, UART_MCR_DTR | UART_MCR_RTS | UART_MCR_OUT2);
	out(UART_IER, UART_IER_RDI);
}

static int rig_init(int in_fd, int out_fd, bool keys)
{
	const struct irq_line irq = {rig_raise, rig_lower, &rig};
	struct serial_backend backend;
	struct console_config config = {
		.loop = &rig.loop,
		.in_fd = in_fd,
		.out_fd = out_fd,
		.keys = keys,
		.on_quit = rig_quit,
		.arg = &rig,
	};
	int err;

	/* The loop's thread inherits it: the 50 us of every timer by default would be most of what these tests take. */
	prctl(PR_SET_TIMERSLACK, 1);
	log_set_sink(rig_log, NULL);
	pthread_mutex_init(&rig.lock, NULL);
	pthread_cond_init(&rig.raised, NULL);
	ck_assert_int_eq(evloop_init(&rig.loop), 0);
	err = console_init(&rig.console, &config);
	if (err < 0)
		return err;
	backend = console_backend(&rig.console);
	serial_init(&rig.serial, &irq, &backend);
	for (size_t i = 0; i < sizeof(rig.data); i++)
		rig.data[i] = (uint8_t)(i * 7 + i / 251);
	return 0;
}

static void rig_run(void)
{
	ck_assert_int_eq(evloop_start(&rig.loop, "console"), 0);
	console_start(&rig.console, &rig.serial);
}

static void rig_start(int in_fd, int out_fd, bool keys)
{
	ck_assert_int_eq(rig_init(in_fd, out_fd, keys), 0);
	rig_run();
}

static void rig_stop(void)
{
	evloop_stop(&rig.loop);
	console_fini(&rig.console);
	serial_fini(&rig.serial);
	evloop_fini(&rig.loop);
}

/* As a driver does: up to 16 bytes each time THRE is up. Gives up after ms without room; returns the bytes sent. */
static size_t guest_sends(size_t n, unsigned int ms)
{
	uint64_t end = evloop_now() + ms * MS;
	size_t sent = 0;

	while (sent < n) {
		if (!(in(UART_LSR)&UART_LSR_THRE)) {
			if (evloop_now() > end)
				break;
			nap(1);
			continue;
		}
		for (int i = 0; i < SERIAL_FIFO && sent < n; i++, sent++)
			out(UART_TX, rig.data[sent % sizeof(rig.data)]);
		end = evloop_now() + ms * MS;
	}
	return sent;
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

static size_t host_reads(int fd, uint8_t *buf, size_t n, int ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	size_t got = 0;

	while (got < n && poll(&pfd, 1, ms) > 0) {
		ssize_t r = read(fd, buf + got, n - got);

		if (r <= 0)
			break;
		got += (size_t)r;
	}
	return got;
}

static void make_pipe(int fds[2])
{
	ck_assert_int_eq(pipe(fds), 0);
}

static void make_sockets(int type, int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, type, 0, fds), 0);
}

static void make_pty(int *master, int *slave)
{
	struct termios t;

	*master = posix_openpt(O_RDWR | O_NOCTTY);
	ck_assert_int_ge(*master, 0);
	ck_assert_int_eq(grantpt(*master) | unlockpt(*master), 0);
	*slave = open(ptsname(*master), O_RDWR | O_NOCTTY);
	ck_assert_int_ge(*slave, 0);
	tcgetattr(*slave, &t);
	cfmakeraw(&t);
	tcsetattr(*slave, TCSANOW, &t);
}

static int make_file(void)
{
	char name[] = "/tmp/test_console.XXXXXX";
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	return fd;
}

/* ---- output ---- */

/* A message per write() shows how many there are. */
START_TEST(test_output_in_bursts)
{
	const size_t total = 100 * 1024;
	size_t got = 0;
	int s[2], writes = 0;

	make_sockets(SOCK_SEQPACKET, s);
	rig_start(-1, s[0], false);
	ck_assert_uint_eq(guest_sends(total, 5000), total);
	while (got < total) {
		struct pollfd pfd = {.fd = s[1], .events = POLLIN};

		ck_assert_int_eq(poll(&pfd, 1, 2000), 1);
		got += (size_t)recv(s[1], rig.got + got, sizeof(rig.got) - got, 0);
		writes++;
	}
	ck_assert_mem_eq(rig.got, rig.data, total);
	ck_assert_int_le(writes, (int)(total / CONSOLE_OUTPUT_BURST) * 2);
	rig_stop();
}
END_TEST

START_TEST(test_output_is_prompt)
{
	int p[2];

	make_pipe(p);
	rig_start(-1, p[1], false);
	for (int i = 0; i < 10; i++) {
		uint64_t begin = evloop_now();

		out(UART_TX, (uint8_t)('a' + i));
		ck_assert_uint_eq(host_reads(p[0], rig.got, 1, 2000), 1);
		ck_assert_uint_eq(rig.got[0], 'a' + i);
		ck_assert_uint_lt(evloop_now() - begin, 500 * MS);
	}
	rig_stop();
}
END_TEST

/* The reader stops: memory stays what it is, the vCPU goes on; then it reads again and nothing is missing. */
START_TEST(test_output_stopped_reader)
{
	size_t sent, more, got;
	uint64_t begin;
	int p[2];

	make_pipe(p);
	fcntl(p[0], F_SETPIPE_SZ, 65536);
	rig_start(-1, p[1], false);
	sent = guest_sends(FLOOD, 300);
	ck_assert_uint_le(sent, CONSOLE_OUTPUT_SIZE + 65536);
	ck_assert_uint_ge(sent, CONSOLE_OUTPUT_SIZE);
	out(UART_MCR, UART_MCR_OUT2);
	out(UART_IER, UART_IER_THRI);
	ck_assert(!rig_interrupted(0));
	/* Read again, and the guest is told. */
	got = host_reads(p[0], rig.got, sent, 500);
	ck_assert_uint_eq(got, sent);
	ck_assert_mem_eq(rig.got, rig.data, sent);
	ck_assert(rig_interrupted(2000));
	/* Stopped again, with a guest that does not care for THRE: two megabytes without waiting. */
	more = guest_sends(FLOOD, 300);
	begin = evloop_now();
	for (size_t i = 0; i < FLOOD; i++)
		out(UART_TX, 'z');
	ck_assert_uint_lt(evloop_now() - begin, 20000 * MS);
	got = host_reads(p[0], rig.got, sizeof(rig.got), 500);
	ck_assert_uint_ge(got, more);
	ck_assert_uint_lt(got, more + SERIAL_FIFO);
	rig_stop();
}
END_TEST

static void *reader_thread(void *arg)
{
	int fd = *(int *)arg;
	size_t got = 0;

	while (got < FLOOD) {
		ssize_t n = read(fd, rig.got, 65536);

		if (n <= 0)
			break;
		for (ssize_t i = 0; i < n; i++, got++)
			if (rig.got[i] != rig.data[got % sizeof(rig.data)])
				return NULL;
	}
	return got == FLOOD ? &rig : NULL;
}

static void flood_through(int guest_end, int host_end)
{
	pthread_t thread;
	void *whole;

	rig_start(-1, guest_end, false);
	pthread_create(&thread, NULL, reader_thread, &host_end);
	ck_assert_uint_eq(guest_sends(FLOOD, 60000), FLOOD);
	console_flush(&rig.console, 5000);
	pthread_join(thread, &whole);
	ck_assert_ptr_eq(whole, &rig);
	rig_stop();
}

START_TEST(test_output_flood_arrives)
{
	int fds[2];

	if (_i == 0)
		make_pipe(fds);
	else if (_i == 1)
		make_sockets(SOCK_STREAM, fds);
	else
		make_pty(&fds[0], &fds[1]);
	if (_i == 1)
		flood_through(fds[0], fds[1]);
	else
		flood_through(fds[1], fds[0]);
}
END_TEST

/* The other users of our descriptors must not notice us. */
START_TEST(test_descriptor_flags_untouched)
{
	int fds[2][2], master, slave;

	make_pipe(fds[0]);
	make_pty(&master, &slave);
	for (int i = 0; i < 2; i++) {
		int in_fd = i ? slave : fds[0][0], out_fd = i ? slave : fds[0][1];

		rig_start(in_fd, out_fd, false);
		out(UART_TX, 'x');
		nap(10);
		ck_assert_int_eq(fcntl(in_fd, F_GETFL) & O_NONBLOCK, 0);
		ck_assert_int_eq(fcntl(out_fd, F_GETFL) & O_NONBLOCK, 0);
		rig_stop();
		ck_assert_int_eq(fcntl(in_fd, F_GETFL) & O_NONBLOCK, 0);
		ck_assert_int_ge(fcntl(out_fd, F_GETFD), 0);
	}
}
END_TEST

START_TEST(test_output_reader_gone)
{
	int fds[2];

	if (_i == 0)
		make_pipe(fds);
	else
		make_sockets(SOCK_STREAM, fds);
	rig_start(-1, fds[1], false);
	/* With the ring full and the guest waiting. */
	guest_sends(FLOOD, 300);
	ck_assert_uint_eq(in(UART_LSR)&UART_LSR_THRE, 0);
	close(fds[0]);
	ck_assert_uint_eq(guest_sends(FLOOD, 5000), FLOOD);
	ck_assert_int_eq(atomic_load(&rig.logs), 1);
	ck_assert_ptr_nonnull(strstr(rig.log, "reader"));
	rig_stop();
}
END_TEST

START_TEST(test_output_disk_full)
{
	int fd = open("/dev/full", O_WRONLY);

	ck_assert_int_ge(fd, 0);
	rig_start(-1, fd, false);
	ck_assert_uint_eq(guest_sends(FLOOD, 5000), FLOOD);
	ck_assert(comes_to(&rig.logs, 1));
	ck_assert_ptr_nonnull(strstr(rig.log, strerror(ENOSPC)));
	rig_stop();
}
END_TEST

/* A file is continued where others stopped writing, because the offset is shared. */
START_TEST(test_output_to_file)
{
	const size_t total = 300 * 1024;
	int fd = make_file();

	ck_assert_int_eq(write(fd, "head", 4), 4);
	rig_start(-1, fd, false);
	ck_assert_uint_eq(guest_sends(total, 5000), total);
	console_flush(&rig.console, 1000);
	ck_assert_int_eq(write(fd, "tail", 4), 4);
	ck_assert_int_eq(pread(fd, rig.got, sizeof(rig.got), 0), (ssize_t)total + 8);
	ck_assert_mem_eq(rig.got, "head", 4);
	ck_assert_mem_eq(rig.got + 4, rig.data, total);
	ck_assert_mem_eq(rig.got + 4 + total, "tail", 4);
	rig_stop();
}
END_TEST

START_TEST(test_no_output)
{
	int fd = _i ? 999 : -1;

	rig_start(fd, fd, false);
	ck_assert_uint_eq(guest_sends(FLOOD, 5000), FLOOD);
	console_flush(&rig.console, 1000);
	ck_assert_int_eq(atomic_load(&rig.logs), 0);
	rig_stop();
}
END_TEST

START_TEST(test_flush_is_bounded)
{
	uint64_t begin;
	int p[2];

	make_pipe(p);
	rig_start(-1, p[1], false);
	guest_sends(FLOOD, 300);
	begin = evloop_now();
	console_flush(&rig.console, 100);
	ck_assert_uint_ge(evloop_now() - begin, 100 * MS);
	ck_assert_uint_lt(evloop_now() - begin, 2000 * MS);
	ck_assert_int_eq(atomic_load(&rig.logs), 1);
	rig_stop();
}
END_TEST

/* Without a running loop, on this thread, whose SIGPIPE would kill us. */
START_TEST(test_flush_without_loop)
{
	sigset_t pending;
	int p[2];

	make_pipe(p);
	ck_assert_int_eq(rig_init(-1, p[1], false), 0);
	rig.console.serial = &rig.serial;
	guest_sends(1000, 100);
	console_flush(&rig.console, 100);
	ck_assert_uint_eq(host_reads(p[0], rig.got, 1000, 100), 1000);
	ck_assert_mem_eq(rig.got, rig.data, 1000);
	close(p[0]);
	signal(SIGPIPE, SIG_DFL);
	out(UART_TX, 'x');
	console_flush(&rig.console, 100);
	ck_assert_int_eq(atomic_load(&rig.logs), 1);
	sigpending(&pending);
	ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
	rig_stop();
}
END_TEST

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
	{"help and quit", {"\1h\1x"}, "", CONSOLE_KEY_HELP | CONSOLE_KEY_QUIT},
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

/* ---- descriptors ---- */

START_TEST(test_descriptor_kinds)
{
	struct hostfd host;
	int fds[2], master, slave;

	ck_assert_int_eq(hostfd_open(&host, 999, O_RDONLY), -EBADF);
	/* Neither file, pipe, socket nor terminal: polled, and written in pieces that a pipe would take. */
	ck_assert_int_eq(hostfd_open(&host, open("/dev/null", O_RDWR), O_WRONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_POLLED);
	ck_assert_int_eq(hostfd_write(&host, rig.data, 10000), 4096);
	ck_assert_int_eq(hostfd_read(&host, rig.got, 100), 0);
	hostfd_close(&host);
	ck_assert_int_eq(hostfd_open(&host, make_file(), O_WRONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_PLAIN);
	hostfd_close(&host);
	make_sockets(SOCK_STREAM, fds);
	ck_assert_int_eq(hostfd_open(&host, fds[0], O_RDONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_SOCKET);
	ck_assert_int_eq(hostfd_read(&host, rig.got, 100), -EAGAIN);
	hostfd_close(&host);
	make_pipe(fds);
	ck_assert_int_eq(hostfd_open(&host, fds[0], O_RDONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_PLAIN);
	ck_assert(!host.tty);
	ck_assert_int_eq(hostfd_read(&host, rig.got, 100), -EAGAIN);
	hostfd_close(&host);
	/* A pty's master side is not reopened: that would be another pty. */
	make_pty(&master, &slave);
	ck_assert_int_eq(hostfd_open(&host, master, O_WRONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_POLLED_TTY);
	ck_assert(host.tty);
	ck_assert_int_eq(hostfd_read(&host, rig.got, 100), -EAGAIN);
	ck_assert_int_eq(hostfd_write(&host, rig.data, 1000), 64);
	hostfd_close(&host);
	ck_assert_int_eq(hostfd_open(&host, slave, O_RDONLY), 0);
	ck_assert_int_eq(host.kind, HOSTFD_PLAIN);
	hostfd_close(&host);
}
END_TEST

/* ---- life ---- */

START_TEST(test_never_started)
{
	ck_assert_int_eq(rig_init(STDIN_FILENO, STDOUT_FILENO, false), 0);
	rig_stop();
}
END_TEST

/* Descriptors run out at the output, then at the input. */
START_TEST(test_init_fails_cleanly)
{
	struct console_config config = {.loop = &rig.loop, .on_quit = rig_quit};
	struct rlimit limit = {.rlim_cur = 64, .rlim_max = 64};
	int p[2], last = 0, fd;

	make_pipe(p);
	config.in_fd = p[0];
	config.out_fd = p[1];
	ck_assert_int_eq(evloop_init(&rig.loop), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((fd = dup(p[0])) >= 0)
		last = fd;
	ck_assert_int_eq(console_init(&rig.console, &config), -EMFILE);
	close(last);
	ck_assert_int_eq(console_init(&rig.console, &config), -EMFILE);
	/* What the output had opened is free again. */
	ck_assert_int_eq(dup(p[0]), last);
	evloop_fini(&rig.loop);
}
END_TEST

static TCase *add_case(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 120);
	suite_add_tcase(suite, tc);
	return tc;
}

int main(void)
{
	Suite *suite = suite_create("devices/console");
	TCase *tc = add_case(suite, "output");
	SRunner *runner;
	int failed;

	tcase_add_test(tc, test_output_in_bursts);
	tcase_add_test(tc, test_output_is_prompt);
	tcase_add_test(tc, test_output_stopped_reader);
	tcase_add_loop_test(tc, test_output_flood_arrives, 0, 3);
	tcase_add_test(tc, test_descriptor_flags_untouched);
	tcase_add_loop_test(tc, test_output_reader_gone, 0, 2);
	tcase_add_test(tc, test_output_disk_full);
	tcase_add_test(tc, test_output_to_file);
	tcase_add_loop_test(tc, test_no_output, 0, 2);
	tcase_add_test(tc, test_flush_is_bounded);
	tcase_add_test(tc, test_flush_without_loop);
	tc = add_case(suite, "input");
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
	tcase_add_test(tc, test_keys_long_input);
	tcase_add_test(tc, test_text_leaves_the_reserve);
	tc = add_case(suite, "descriptors");
	tcase_add_test(tc, test_descriptor_kinds);
	tc = add_case(suite, "life");
	tcase_add_test(tc, test_never_started);
	tcase_add_test(tc, test_init_fails_cleanly);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
