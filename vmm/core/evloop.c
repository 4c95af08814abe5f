#include "vmm/core/evloop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/assert.h"
#include "vmm/core/new_calls.h"
#include "vmm/core/thread.h"

#define NS_PER_S UINT64_C(1000000000)

/* Fits in the int of epoll_wait() too; waking once too often does no harm. */
#define EVLOOP_WAIT_MAX (3600 * NS_PER_S)

uint64_t evloop_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void evloop_wake(struct evloop *loop)
{
	/* EAGAIN: the counter is full, so the loop is awake already. */
	eventfd_write(loop->wake_fd, 1);
}

static struct evloop_task *evloop_take_task(struct evloop *loop)
{
	struct evloop_task *task;

	pthread_mutex_lock(&loop->lock);
	task = loop->tasks_head;
	if (task) {
		loop->tasks_head = task->next;
		if (!loop->tasks_head)
			loop->tasks_tail = NULL;
		task->queued = false;
	}
	pthread_mutex_unlock(&loop->lock);
	return task;
}

static void evloop_run_tasks(struct evloop *loop)
{
	struct evloop_task *task;

	while ((task = evloop_take_task(loop)))
		task->fn(task->arg);
}

static void evloop_on_wake(void *arg, uint32_t events)
{
	struct evloop *loop = arg;
	eventfd_t count;

	(void)events;
	eventfd_read(loop->wake_fd, &count);
	evloop_run_tasks(loop);
}

int __attribute__((cold)) evloop_init(struct evloop *loop)
{
	int err;

	memset(loop, 0, sizeof(*loop));
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return -errno;
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		err = -errno;
		close(loop->epoll_fd);
		return err;
	}
	pthread_mutex_init(&loop->lock, NULL);
	loop->wake = (struct evloop_fd){.fd = loop->wake_fd, .fn = evloop_on_wake, .arg = loop};
	err = evloop_add(loop, &loop->wake, EPOLLIN);
	if (err < 0)
		evloop_fini(loop);
	return err;
}

static void evloop_run_timers(struct evloop *loop)
{
	uint64_t now = evloop_now();

	while (loop->timers && loop->timers->deadline <= now) {
		struct evloop_timer *timer = loop->timers;

		loop->timers = timer->next;
		timer->armed = false;
		timer->fn(timer->arg);
	}
}

/* Waits for events or the next timer. Returns the number of events, or negative errno. */
static int evloop_wait(struct evloop *loop)
{
	struct timespec ts;
	uint64_t now, left = 0;
	int n = 0;

	if (loop->timers) {
		now = evloop_now();
		left = loop->timers->deadline > now ? loop->timers->deadline - now : 0;
		left = left < EVLOOP_WAIT_MAX ? left : EVLOOP_WAIT_MAX;
		ts = (struct timespec){.tv_sec = (time_t)(left / NS_PER_S),
				       .tv_nsec = (long)(left % NS_PER_S)};
	}
	if (!loop->coarse) {
		n = new_epoll_pwait2(loop->epoll_fd, loop->batch, EVLOOP_BATCH,
				     loop->timers ? &ts : NULL);
		/* Linux before 5.11, and seccomp filters that are older than the call */
		loop->coarse = n < 0 && (errno == ENOSYS || errno == EPERM);
	}
	if (loop->coarse)
		n = epoll_wait(loop->epoll_fd, loop->batch, EVLOOP_BATCH,
			       loop->timers ? (int)(left / 1000000) + 1 : -1);
	return n < 0 ? -errno : n;
}

void evloop_turn(struct evloop *loop)
{
	int n = evloop_wait(loop);

	assert(n >= 0 || n == -EINTR);
	loop->batch_n = n > 0 ? n : 0;
	for (int i = 0; i < loop->batch_n; i++) {
		struct evloop_fd *efd = loop->batch[i].data.ptr;

		if (efd) /* else removed by an earlier callback of this batch */
			efd->fn(efd->arg, loop->batch[i].events);
	}
	loop->batch_n = 0;
	evloop_run_timers(loop);
}

/* Whose thread this is. It may run before evloop_start() has noted which thread that is. */
static _Thread_local const struct evloop *evloop_own;

static void *evloop_thread(void *arg)
{
	struct evloop *loop = arg;

	evloop_own = loop;
	/* acquire: pairs with the release in evloop_stop() */
	while (!atomic_load_explicit(&loop->stopping, memory_order_acquire))
		evloop_turn(loop);
	evloop_run_tasks(loop);
	return NULL;
}

int evloop_start(struct evloop *loop, const char *name)
{
	int err;

	assert(!loop->running);
	atomic_store_explicit(&loop->stopping, false, memory_order_relaxed);
	pthread_mutex_lock(&loop->lock);
	loop->over = false;
	pthread_mutex_unlock(&loop->lock);
	err = thread_start(&loop->thread, name, evloop_thread, loop, loop->rights);
	loop->running = err == 0;
	return err;
}

int evloop_add(struct evloop *loop, struct evloop_fd *efd, uint32_t events)
{
	efd->added = false;
	efd->events = 0;
	return evloop_mod(loop, efd, events);
}

int evloop_mod(struct evloop *loop, struct evloop_fd *efd, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = efd};
	int op;

	if (events == efd->events)
		return 0;
	/* epoll reports EPOLLHUP and EPOLLERR even when asked for nothing, so a pause is a removal. */
	if (events == 0) {
		evloop_del(loop, efd);
		return 0;
	}
	op = efd->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(loop->epoll_fd, op, efd->fd, &ev) < 0)
		return -errno;
	efd->added = true;
	efd->events = events;
	return 0;
}

void evloop_del(struct evloop *loop, struct evloop_fd *efd)
{
	if (!efd->added)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, efd->fd, NULL);
	efd->added = false;
	efd->events = 0;
	for (int i = 0; i < loop->batch_n; i++) {
		if (loop->batch[i].data.ptr == efd)
			loop->batch[i].data.ptr = NULL;
	}
}

void evloop_timer_set(struct evloop *loop, struct evloop_timer *timer, uint64_t delay_ns)
{
	struct evloop_timer **at = &loop->timers;

	evloop_timer_cancel(loop, timer);
	if (__builtin_add_overflow(evloop_now(), delay_ns, &timer->deadline))
		timer->deadline = UINT64_MAX;
	timer->armed = true;
	while (*at && (*at)->deadline <= timer->deadline)
		at = &(*at)->next;
	timer->next = *at;
	*at = timer;
}

void evloop_timer_cancel(struct evloop *loop, struct evloop_timer *timer)
{
	struct evloop_timer **at = &loop->timers;

	if (!timer->armed)
		return;
	while (*at != timer)
		at = &(*at)->next;
	*at = timer->next;
	timer->armed = false;
}

void evloop_post(struct evloop *loop, struct evloop_task *task)
{
	bool wake = false;

	pthread_mutex_lock(&loop->lock);
	if (!task->queued && !loop->over) {
		task->queued = true;
		task->next = NULL;
		wake = !loop->tasks_head;
		if (loop->tasks_tail)
			loop->tasks_tail->next = task;
		else
			loop->tasks_head = task;
		loop->tasks_tail = task;
	}
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		evloop_wake(loop);
}

struct evloop_call {
	void (*fn)(void *arg);
	void *arg;
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void evloop_on_call(void *arg)
{
	struct evloop_call *call = arg;

	call->fn(call->arg);
	pthread_mutex_lock(&call->lock);
	call->done = true;
	pthread_cond_signal(&call->cond);
	pthread_mutex_unlock(&call->lock);
}

void __attribute__((cold)) evloop_call(struct evloop *loop, void (*fn)(void *arg), void *arg)
{
	struct evloop_call call = {.fn = fn,
				   .arg = arg,
				   .lock = PTHREAD_MUTEX_INITIALIZER,
				   .cond = PTHREAD_COND_INITIALIZER};
	struct evloop_task task = {.fn = evloop_on_call, .arg = &call};

	if (evloop_own == loop || !loop->running) {
		fn(arg);
		return;
	}
	evloop_post(loop, &task);
	pthread_mutex_lock(&call.lock);
	while (!call.done)
		pthread_cond_wait(&call.cond, &call.lock);
	pthread_mutex_unlock(&call.lock);
	pthread_mutex_destroy(&call.lock);
	pthread_cond_destroy(&call.cond);
}

void __attribute__((cold)) evloop_stop(struct evloop *loop)
{
	if (!loop->running)
		return;
	atomic_store_explicit(&loop->stopping, true, memory_order_release);
	evloop_wake(loop);
	pthread_join(loop->thread, NULL);
	loop->running = false;
	pthread_mutex_lock(&loop->lock);
	loop->over = true;
	pthread_mutex_unlock(&loop->lock);
	while (evloop_take_task(loop))
		continue;
}

void evloop_fini(struct evloop *loop)
{
	assert(!loop->running);
	close(loop->wake_fd);
	close(loop->epoll_fd);
	pthread_mutex_destroy(&loop->lock);
}
