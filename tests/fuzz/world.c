#include "tests/fuzz/world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include "tests/fuzz/input.h"
#include "vmm/core/log.h"

#define WORLD_START	UINT64_C(1000000000)
#define WORLD_TURNS_MAX 20000u

/* Lines in one window of the log's limit: there are several limits, and what the host did is not limited. */
#define WORLD_LINES 64u

static struct {
	_Atomic uint64_t now; /* threads of disks ask for the time too */
	struct evloop *loop;
	bool (*busy)(void);
	pthread_t thread;
	int first_fd; /* the lowest that is free */
	unsigned int lines;
	bool random_fails;
	uint8_t random;
} world;

/* ---- what is linked in instead of the host's own ---- */

int __real_clock_gettime(clockid_t id, struct timespec *t);
int __wrap_clock_gettime(clockid_t id, struct timespec *t);
ssize_t __wrap_getrandom(void *buf, size_t len, unsigned int flags);
int __real_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex);

int __wrap_clock_gettime(clockid_t id, struct timespec *t)
{
	uint64_t now = atomic_load(&world.now);

	if (id != CLOCK_MONOTONIC || now == 0)
		return __real_clock_gettime(id, t);
	*t = (struct timespec){.tv_sec = (time_t)(now / 1000000000),
			       .tv_nsec = (long)(now % 1000000000)};
	return 0;
}

ssize_t __wrap_getrandom(void *buf, size_t len, unsigned int flags)
{
	(void)flags;
	if (world.random_fails) {
		errno = EAGAIN;
		return -1;
	}
	for (size_t i = 0; i < len; i++)
		((uint8_t *)buf)[i] = world.random++;
	return (ssize_t)len;
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
	if (!world.loop || !pthread_equal(pthread_self(), world.thread))
		return __real_pthread_cond_wait(cond, mutex);
	pthread_mutex_unlock(mutex);
	world_settle();
	pthread_mutex_lock(mutex);
	return 0;
}

/* ---- the loop ---- */

static void world_on_timer(void *arg)
{
	(void)arg;
}

/* One turn, which does not wait: a timer ends it. */
static void world_turn(void)
{
	struct evloop_timer timer = {.fn = world_on_timer};

	evloop_timer_set(world.loop, &timer, 0);
	evloop_turn(world.loop);
	evloop_timer_cancel(world.loop, &timer);
}

static bool world_has_work(void)
{
	struct pollfd p = {.fd = world.loop->epoll_fd, .events = POLLIN};

	return poll(&p, 1, 0) > 0 ||
	       (world.loop->timers && world.loop->timers->deadline <= atomic_load(&world.now));
}

void world_settle(void)
{
	unsigned int turns = 0;

	for (;;) {
		while (world_has_work()) {
			FUZZ_CHECK(turns++ < WORLD_TURNS_MAX);
			world_turn();
		}
		if (!world.busy || !world.busy())
			return;
		sched_yield();
	}
}

void world_step(void)
{
	if (world_has_work())
		world_turn();
}

void world_sleep(uint64_t ns)
{
	atomic_fetch_add(&world.now, ns);
	world_settle();
}

void world_set_random_fails(bool fails)
{
	world.random_fails = fails;
}

/* ---- the run ---- */

static void world_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
	world.lines++;
}

static int world_free_fd(void)
{
	int fd = fcntl(2, F_DUPFD_CLOEXEC, 3);

	close(fd);
	return fd;
}

void world_begin(struct evloop *loop, bool (*busy)(void))
{
	atomic_store(&world.now, WORLD_START);
	world.thread = pthread_self();
	world.busy = busy;
	world.lines = 0;
	world.random = 0;
	world.random_fails = false;
	world.first_fd = world_free_fd();
	log_set_sink(world_log, NULL);
	if (evloop_init(loop) < 0)
		abort();
	world.loop = loop;
}

void world_end(void)
{
	uint64_t windows = atomic_load(&world.now) / (LOG_LIMIT_SECONDS * UINT64_C(1000000000)) + 1;

	FUZZ_CHECK(!world.loop->timers);
	evloop_fini(world.loop);
	world.loop = NULL;
	atomic_store(&world.now, 0);
	FUZZ_CHECK(world_free_fd() == world.first_fd);
	FUZZ_CHECK(world.lines <= WORLD_LINES * windows);
}
