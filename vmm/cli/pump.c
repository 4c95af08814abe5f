#include "vmm/cli/pump.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "vmm/api/vmm.h"
#include "vmm/cli/report.h"

#define PUMP_SIZE 65536
#define PUMP_PIECE                                                                                 \
	16384 /* that a slow reader takes in a second or two: what is written at once is seen when all of it was */
#define PUMP_STACK (64 * 1024)

/* Whether a failed call is worth another try. Whoever shares a terminal or a pipe with us may have made it not wait; we do. */
static bool pump_again(int fd, short events)
{
	struct pollfd pfd = {.fd = fd, .events = events};

	if (errno == EINTR)
		return true;
	if (errno != EAGAIN)
		return false;
	poll(&pfd, 1, -1);
	return true;
}

/* Returns 0 or negative errno. */
static int pump_write(struct pump *pump, size_t len)
{
	const char *bytes = pump->buf;

	while (len > 0) {
		ssize_t n = write(pump->to, bytes, len < PUMP_PIECE ? len : PUMP_PIECE);

		if (n == 0)
			return -EIO;
		if (n < 0 && !pump_again(pump->to, POLLOUT))
			return -errno;
		if (n < 0)
			continue;
		bytes += n;
		len -= (size_t)n;
		atomic_store_explicit(&pump->moved, true, memory_order_relaxed);
	}
	return 0;
}

static unsigned int pump_key(char byte)
{
	switch (byte) {
	case PUMP_ESCAPE:
		return PUMP_KEY_END;
	case 'd':
		return PUMP_KEY_SHOW;
	case 'c':
		return PUMP_KEY_DUMP;
	case 'h':
		return PUMP_KEY_HELP;
	default:
		return 0;
	}
}

unsigned int pump_escape_look(struct pump_escape *escape, const char *bytes, size_t n, uint64_t now)
{
	unsigned int pressed = 0;

	for (size_t i = 0; i < n; i++) {
		if (escape->times == 2 && now - escape->at[0] <= PUMP_ESCAPE_MS)
			pressed |= pump_key(bytes[i]);
		if (bytes[i] != PUMP_ESCAPE) {
			escape->times = 0;
			continue;
		}
		escape->at[0] = escape->at[1];
		escape->at[1] = now;
		escape->times = escape->times == 0 ? 1 : 2;
	}
	return pressed;
}

static void pump_tell(const struct pump *pump)
{
	eventfd_write(pump->signal, 1);
}

static void pump_watch_keys(struct pump *pump, struct pump_escape *escape, const char *bytes,
			    size_t n)
{
	unsigned int pressed;
	struct timespec t;

	if (!pump->keys)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	pressed = pump_escape_look(escape, bytes, n,
				   (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000);
	if (!pressed)
		return;
	atomic_fetch_or(&pump->keys_pressed, pressed);
	pump_tell(pump);
}

/*
 * An input that is not open for reading is none, and what nohup(1) gives; a terminal that has gone, or is not ours any more, has come to its end.
 * Returns 0, or a negative errno: something is missing.
 */
static int pump_input_error(const struct pump *pump, int err)
{
	return err == EBADF || (err == EIO && pump->terminal) ? 0 : -err;
}

static int pump_move(struct pump *pump)
{
	struct pump_escape escape = {.times = 0};

	for (;;) {
		ssize_t n = read(pump->from, pump->buf, PUMP_SIZE);
		int err;

		if (n < 0 && pump_again(pump->from, POLLIN))
			continue;
		if (n < 0 && pump->kind == PUMP_INPUT)
			return pump_input_error(pump, errno);
		if (n <= 0)
			return 0;
		/* What the command writes may come before the word that it has started. */
		if (pump->kind == PUMP_OUTPUT)
			report_status_end();
		pump_watch_keys(pump, &escape, pump->buf, (size_t)n);
		err = pump_write(pump, (size_t)n);
		/* A command need not read. */
		if (err < 0)
			return pump->kind == PUMP_OUTPUT ? err : 0;
	}
}

static void *pump_thread(void *arg)
{
	struct pump *pump = arg;
	eventfd_t gone;
	int err;

	prctl(PR_SET_NAME, "vmm-pump");
	if (pump->confined)
		pump->unconfined = vmm_confine_stream_thread();
	sem_post(&pump->begun);
	if (pump->kind == PUMP_INPUT) {
		eventfd_read(pump->gate, &gone);
		err = pump_move(pump);
		atomic_store(&pump->error, -err);
		if (err < 0)
			pump_tell(pump);
		shutdown(pump->to, SHUT_WR);
		return NULL;
	}
	err = pump_move(pump);
	/* Whoever writes at the other end learns that nobody reads any more. */
	shutdown(pump->from, SHUT_RDWR);
	atomic_store(&pump->error, -err);
	atomic_store(&pump->over, true);
	pump_tell(pump);
	return NULL;
}

int pump_start(struct pump *pump, enum pump_kind kind, int from, int to, int signal)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT};
	pthread_attr_t attr;
	sigset_t all, old;
	pthread_t thread;
	int err;

	pump->kind = kind;
	pump->from = from;
	pump->to = to;
	pump->signal = signal;
	pump->terminal = kind == PUMP_INPUT && isatty(from);
	pump->gate = kind == PUMP_INPUT ? eventfd(0, EFD_CLOEXEC) : -1;
	if (kind == PUMP_INPUT && pump->gate < 0)
		return -errno;
	pump->buf = malloc(PUMP_SIZE);
	if (!pump->buf)
		return -ENOMEM;
	sem_init(&pump->begun, 0, 0);
	sigfillset(&all);
	/* What a crash raises still ends the program, which restores the terminal. */
	for (size_t i = 0; i < sizeof(crashes) / sizeof(crashes[0]); i++)
		sigdelset(&all, crashes[i]);
	/* Who reads a terminal that others have got stops until it is ours again; blocked, that would look like its end. */
	if (kind == PUMP_INPUT)
		sigdelset(&all, SIGTTIN);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, PUMP_STACK);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&thread, &attr, pump_thread, pump);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return err;
}

int pump_wait_begun(struct pump *pump)
{
	while (sem_wait(&pump->begun) < 0)
		;
	return pump->unconfined;
}

void pump_let_go(const struct pump *pump)
{
	eventfd_write(pump->gate, 1);
}

bool pump_is_over(const struct pump *pump)
{
	return atomic_load(&pump->over);
}
