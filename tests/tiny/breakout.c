/*
 * What a guest that has taken over one of vmm's threads would try. Linked with all of vmm; when the guest first writes to a port,
 * the thread named by $BREAKOUT_THREAD makes forbidden system calls: each in turn, or with $BREAKOUT_ACT just the one of that number,
 * or getpid() as programs of i386 or x32 do.
 *
 * In turn, a handler of SIGSYS takes note and goes on; the status is 42 when each was stopped, else 99, and stderr tells which were
 * not. "ring" gives an I/O thread's live io_uring the orders that it must refuse: status 42, 99, or 77 when there is no such ring.
 *
 * With $BREAKOUT_SLOW the thread of that name takes its filter late: status 42 if the guest has waited for it, else 99.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/tiny/breakout_acts.h"

#include "vmm/api/vmm.h"
#include "vmm/core/bus.h"
#include "vmm/core/evloop.h"
#include "vmm/core/thread.h"
#include "vmm/sandbox/filter.h"

#define STOPPED	    42
#define CANNOT_TRY  77
#define NOT_STOPPED 99

#define X32_BIT 0x40000000L /* in the number of a system call */

static struct evloop *main_loop, *io_loop, *fs_loop;
static _Thread_local volatile sig_atomic_t
	refused; /* the number of the call that the filter has stopped */
static _Thread_local int kind = -1;
static atomic_bool pump_may_act, gdb_may_act;

static void say(const char *fmt, ...)
{
	char text[128];
	va_list args;
	ssize_t n;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	n = write(STDERR_FILENO, text, strlen(text));
	(void)n;
}

static bool is_thread(const char *name)
{
	const char *wanted = getenv("BREAKOUT_THREAD");

	return wanted && strcmp(wanted, name) == 0;
}

/* ---- acts ---- */

static long act_do(const struct act *act)
{
	return syscall(act->number, act->args[0], act->args[1], act->args[2], act->args[3],
		       act->args[4], act->args[5]);
}

static void on_refusal(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	refused = info->si_syscall;
}

/* A call that is not stopped fails, for want of sensible arguments; or it is harmless. */
static void act_all(void)
{
	unsigned int stopped = 0, not_stopped = 0, self = 0;

	while (!is_thread(threads[self]))
		self++;
	for (size_t i = 0; i < N_ACTS; i++) {
		long result;

		if (acts[i].may & 1u << self && !acts[i].error)
			continue;
		refused = -1;
		result = act_do(&acts[i]);
		if (acts[i].may & 1u << self ? result == -1 && errno == acts[i].error
					     : refused == acts[i].number) {
			stopped++;
			continue;
		}
		not_stopped++;
		say("not stopped: act %zu, %s, gave %ld\n", i, acts[i].name, result);
	}
	say("%s: %u stopped\n", threads[self], stopped);
	_exit(not_stopped == 0 ? STOPPED : NOT_STOPPED);
}

/* What a number means is another matter there. The filter ends the process, before a handler could take note. */
static long act_i386(void)
{
	long result = 20; /* getpid() */

	asm volatile("int $0x80" : "+a"(result) : : "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
}

static void *act(void *arg)
{
	const char *one = getenv("BREAKOUT_ACT");

	(void)arg;
	if (!one)
		act_all();
	if (strcmp(one, "i386") == 0)
		say("not stopped: %s gave %ld\n", one, act_i386());
	else if (strcmp(one, "x32") == 0)
		say("not stopped: %s gave %ld\n", one, syscall(X32_BIT | SYS_getpid));
	else
		say("not stopped: %s gave %ld\n", acts[atoi(one)].name, act_do(&acts[atoi(one)]));
	_exit(NOT_STOPPED);
}

static void act_on_loop(void *arg)
{
	act(arg);
}

/* ---- the ring of a disk ---- */

#ifdef VMM_HAVE_URING
#include <liburing.h>

static struct io_uring *ring;

int __real_io_uring_queue_init_params(unsigned int entries, struct io_uring *to,
				      struct io_uring_params *params);
int __wrap_io_uring_queue_init_params(unsigned int entries, struct io_uring *to,
				      struct io_uring_params *params);

int __wrap_io_uring_queue_init_params(unsigned int entries, struct io_uring *to,
				      struct io_uring_params *params)
{
	int err = __real_io_uring_queue_init_params(entries, to, params);

	if (err == 0)
		ring = to;
	return err;
}

/* By a descriptor that is none, so that what is not refused has no effect either. Returns the order's result. */
static int ring_order(unsigned int op, unsigned int flags)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int result;

	if (!sqe)
		return 0;
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = (uint8_t)op;
	sqe->flags = (uint8_t)flags;
	sqe->fd = -1;
	if (io_uring_submit_and_wait(ring, 1) < 0 || io_uring_peek_cqe(ring, &cqe) < 0)
		return 0;
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return result;
}

/* The kernel refuses with EACCES what a ring is not for, and with EINVAL what no ring has. */
static void ring_all(void *arg)
{
	static const unsigned int flags[] = {IOSQE_IO_DRAIN, IOSQE_IO_LINK, IOSQE_IO_HARDLINK,
					     IOSQE_ASYNC, IOSQE_BUFFER_SELECT};
	unsigned int stopped = 0, not_stopped = 0, unknown = 0;

	(void)arg;
	for (unsigned int op = 0; op < 128; op++) {
		int result = ring_order(op, 0);
		bool may = op == IORING_OP_READ || op == IORING_OP_WRITE || op == IORING_OP_READV ||
			   op == IORING_OP_WRITEV;

		if (may ? result == -EBADF : result == -EACCES && unknown == 0) {
			stopped += !may;
		} else if (result == -EINVAL && op > IORING_OP_SHUTDOWN) {
			unknown++;
		} else {
			say("order %u gave %d\n", op, result);
			not_stopped++;
		}
	}
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (ring_order(IORING_OP_READ, flags[i]) == -EACCES)
			stopped++;
		else
			not_stopped++;
	}
	say("ring: %u stopped, %u unknown to this kernel\n", stopped, unknown);
	_exit(not_stopped == 0 && stopped > 30 ? STOPPED : NOT_STOPPED);
}

static bool has_ring(void)
{
	return ring != NULL;
}
#else
static bool has_ring(void)
{
	return false;
}

static void ring_all(void *arg)
{
	(void)arg;
}
#endif

/* ---- who acts ---- */

static void start_thread(struct evloop *loop, const char *name)
{
	pthread_t thread;

	if (thread_starter_run(loop->starter, &thread, name, act, NULL, loop->started) < 0)
		_exit(1);
}

static void start_disk_thread(void *arg)
{
	(void)arg;
	start_thread(io_loop, "vmm-disk");
}

static void start_share_thread(void *arg)
{
	(void)arg;
	start_thread(fs_loop, "vmm-fs-io");
}

/* On the vCPU's thread, when the guest is there. */
static void begin(void)
{
	static struct evloop_task task = {.fn = act_on_loop}, start = {.fn = start_disk_thread},
				  share = {.fn = start_share_thread}, orders = {.fn = ring_all};

	/* What the others do while this one waits is to be seen. */
	usleep(2000);
	if (is_thread("vcpu"))
		act(NULL);
	else if (is_thread("main"))
		evloop_post(main_loop, &task);
	else if (is_thread("io") || is_thread("sockets"))
		evloop_post(io_loop, &task);
	else if (is_thread("fs") || is_thread("write"))
		evloop_post(fs_loop, &task);
	else if (is_thread("share"))
		evloop_post(fs_loop, &share);
	else if (is_thread("gdb"))
		atomic_store(&gdb_may_act, true);
	else if (is_thread("disk") || is_thread("starter"))
		evloop_post(io_loop, &start);
	else if (is_thread("owner"))
		syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
	else if (is_thread("pump"))
		atomic_store(&pump_may_act, true);
	else if (is_thread("ring") && has_ring())
		evloop_post(io_loop, &orders);
	else
		_exit(CANNOT_TRY);
	sleep(5); /* the guest must not end the machine first */
}

/* ---- in place of vmm's own functions, by the linker's --wrap ---- */

int __real_evloop_start(struct evloop *loop, const char *name);
int __wrap_evloop_start(struct evloop *loop, const char *name);
void __real_bus_write(const struct bus *bus, uint64_t address, unsigned int size, uint64_t value);
void __wrap_bus_write(const struct bus *bus, uint64_t address, unsigned int size, uint64_t value);
int __real_filter_install(enum filter_kind kind);
int __wrap_filter_install(enum filter_kind kind);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg);
ssize_t __real_read(int fd, void *buf, size_t size);
ssize_t __wrap_read(int fd, void *buf, size_t size);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __real_sigaction(int sig, const struct sigaction *new, struct sigaction *old);
int __wrap_sigaction(int sig, const struct sigaction *new, struct sigaction *old);
void __real_vmm_disks_resized(struct vmm *vm);
void __wrap_vmm_disks_resized(struct vmm *vm);

int __wrap_evloop_start(struct evloop *loop, const char *name)
{
	if (strcmp(name, "vmm-main") == 0)
		main_loop = loop;
	else if (strcmp(name, "vmm-fs0") == 0)
		fs_loop = loop;
	else
		io_loop = loop;
	return __real_evloop_start(loop, name);
}

static atomic_bool slow_is_done;

int __wrap_filter_install(enum filter_kind filter)
{
	const char *slow = getenv("BREAKOUT_SLOW");
	char name[16] = "";
	int err;

	prctl(PR_GET_NAME, name);
	slow = slow && strcmp(slow, name) == 0 ? slow : NULL;
	if (slow)
		usleep(300000);
	err = __real_filter_install(filter);
	kind = (int)filter;
	if (slow)
		atomic_store(&slow_is_done, err == 0);
	return err;
}

/* The first of the guest. */
void __wrap_bus_write(const struct bus *bus, uint64_t address, unsigned int size, uint64_t value)
{
	static atomic_bool done;

	if (!atomic_exchange(&done, true)) {
		if (getenv("BREAKOUT_SLOW"))
			_exit(atomic_load(&slow_is_done) ? STOPPED : NOT_STOPPED);
		if (getenv("BREAKOUT_THREAD"))
			begin();
	}
	__real_bus_write(bus, address, size, value);
}

/* The starter's work. */
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *),
			  void *arg)
{
	if (kind == FILTER_STARTER && is_thread("starter"))
		act(NULL);
	return __real_pthread_create(thread, attr, fn, arg);
}

/* The pumps' work. */
ssize_t __wrap_read(int fd, void *buf, size_t size)
{
	static atomic_bool taken;

	if (kind == FILTER_STREAM && is_thread("pump")) {
		while (!atomic_load(&pump_may_act) || atomic_exchange(&taken, true))
			poll(NULL, 0, 5);
		act(NULL);
	}
	return __real_read(fd, buf, size);
}

/* That of gdb's thread, while nobody is connected; once, for the handler of what is refused polls too. */
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	int ready = 0;

	if (kind != FILTER_GDB || !is_thread("gdb"))
		return __real_poll(fds, n, timeout);
	while (ready == 0) {
		ready = __real_poll(fds, n, 20);
		if (atomic_exchange(&gdb_may_act, false))
			act(NULL);
	}
	return ready;
}

/* The owner's, when it gets SIGUSR1. */
void __wrap_vmm_disks_resized(struct vmm *vm)
{
	if (is_thread("owner"))
		act(NULL);
	__real_vmm_disks_resized(vm);
}

int __wrap_sigaction(int sig, const struct sigaction *new, struct sigaction *old)
{
	struct sigaction note = {.sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO | SA_NODEFER};
	bool in_turn = getenv("BREAKOUT_THREAD") && !getenv("BREAKOUT_ACT");

	return __real_sigaction(sig, sig == SIGSYS && new &&in_turn ? &note : new, old);
}
