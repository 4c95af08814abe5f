/*
 * The console between a real event loop, real descriptors and the 16550A, for tests. The main thread plays the vCPU.
 */
#pragma once

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

static inline void rig_raise(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&rig.lock);
	rig.level = 1;
	pthread_cond_signal(&rig.raised);
	pthread_mutex_unlock(&rig.lock);
}

static inline void rig_lower(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&rig.lock);
	rig.level = 0;
	pthread_mutex_unlock(&rig.lock);
}

/* Whether the interrupt line is up, within ms. */
static inline bool rig_interrupted(unsigned int ms)
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

static inline void rig_keys(void *arg, unsigned int pressed)
{
	ck_assert_ptr_eq(arg, &rig);
	if (pressed & CONSOLE_KEY_QUIT)
		atomic_fetch_add(&rig.quits, 1);
}

static inline void rig_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	snprintf(rig.log, sizeof(rig.log), "%s", line);
	atomic_fetch_add(&rig.logs, 1);
}

static inline void nap(unsigned int ms)
{
	poll(NULL, 0, (int)ms);
}

/* Waits until value is reached; for what another thread does sooner or later on a busy machine. */
static inline bool comes_to(const _Atomic int *counter, int value)
{
	for (int i = 0; i < 5000 && atomic_load(counter) < value; i++)
		nap(1);
	return atomic_load(counter) == value;
}

static inline uint8_t in(unsigned int reg)
{
	return (uint8_t)serial_read(&rig.serial, reg, 1);
}

static inline void out(unsigned int reg, uint8_t value)
{
	serial_write(&rig.serial, reg, 1, value);
}

static inline int rig_init(int in_fd, int out_fd, bool keys)
{
	const struct irq_line irq = {rig_raise, rig_lower, &rig};
	struct serial_backend backend;
	struct console_config config = {
		.loop = &rig.loop,
		.in_fd = in_fd,
		.out_fd = out_fd,
		.keys = keys,
		.on_keys = rig_keys,
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

static inline void rig_run(void)
{
	ck_assert_int_eq(evloop_start(&rig.loop, "console"), 0);
	console_start(&rig.console, &rig.serial);
}

static inline void rig_start(int in_fd, int out_fd, bool keys)
{
	ck_assert_int_eq(rig_init(in_fd, out_fd, keys), 0);
	rig_run();
}

static inline void rig_stop(void)
{
	evloop_stop(&rig.loop);
	console_fini(&rig.console);
	serial_fini(&rig.serial);
	evloop_fini(&rig.loop);
}

/* As a driver does: up to 16 bytes each time THRE is up. Gives up after ms without room; returns the bytes sent. */
static inline size_t guest_sends(size_t n, unsigned int ms)
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

static inline size_t host_reads(int fd, uint8_t *buf, size_t n, int ms)
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

static inline void make_pipe(int fds[2])
{
	ck_assert_int_eq(pipe(fds), 0);
}

static inline void make_sockets(int type, int fds[2])
{
	ck_assert_int_eq(socketpair(AF_UNIX, type, 0, fds), 0);
}

static inline void make_pty(int *master, int *slave)
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

static inline int make_file(void)
{
	char name[] = "/tmp/test_console.XXXXXX";
	int fd = mkstemp(name);

	ck_assert_int_ge(fd, 0);
	unlink(name);
	return fd;
}

/* ---- life ---- */

static inline TCase *add_case(Suite *suite, const char *name)
{
	TCase *tc = tcase_create(name);

	tcase_set_timeout(tc, 120);
	suite_add_tcase(suite, tc);
	return tc;
}
