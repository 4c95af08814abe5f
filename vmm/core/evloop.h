/*
 * A thread that waits on epoll and runs callbacks: file descriptors, timers, and tasks posted by others.
 *
 * Life: init, start, (anything below), stop, fini. Callbacks run on the loop's thread, one at a time, so what
 * only callbacks of one loop touch needs no lock. The structs below are embedded in their users, who own them
 * and must have removed them before they free them.
 *
 * "Loop thread" functions may also be called before evloop_start() and after evloop_stop(), by the thread
 * that owns the loop.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "vmm/core/thread.h"

#define EVLOOP_BATCH 16

struct evloop_fd {
	/* set by the user before evloop_add() */
	int fd;
	void (*fn)(void *arg, uint32_t events); /* events: EPOLLIN, ... */
	void *arg;
	/* owned by the loop */
	uint32_t events; /* armed; 0 when not added */
	bool added;
};

struct evloop_timer {
	/* set by the user */
	void (*fn)(void *arg);
	void *arg;
	/* owned by the loop */
	uint64_t deadline; /* ns of CLOCK_MONOTONIC */
	bool armed;
	struct evloop_timer *next;
};

struct evloop_task {
	/* set by the user */
	void (*fn)(void *arg);
	void *arg;
	/* under the loop's lock */
	bool queued;
	struct evloop_task *next;
};

struct evloop {
	/* immutable after init */
	int epoll_fd;
	int wake_fd;
	/* immutable between start and stop */
	const struct thread_rights *rights; /* set before start; NULL: those of who starts it */
	/* Set before start, for callbacks that start threads; NULL: they do so themselves. Runs until after the loop. */
	struct thread_starter *starter;
	const struct thread_rights *started; /* what those threads may do; as rights */
	pthread_t thread;
	bool running;
	/* owned by the loop thread */
	int batch_n;
	bool coarse; /* waits in whole milliseconds: epoll_pwait2() is missing or forbidden */
	struct evloop_timer *timers; /* ascending by deadline */
	struct evloop_fd wake;
	/* under lock */
	pthread_mutex_t lock;
	struct evloop_task *tasks_head;
	struct evloop_task *tasks_tail;
	bool over; /* stopped */
	_Atomic bool stopping;
	/* owned by the loop thread, too */
	struct epoll_event batch[EVLOOP_BATCH]; /* of the last epoll_wait() */
};

/* Returns 0 or negative errno. */
int evloop_init(struct evloop *loop);

/* Starts the thread (see vmm/core/thread.h). Returns 0 or negative errno. */
int evloop_start(struct evloop *loop, const char *name);

/*
 * Loop thread. Adds fd with the events to wait for (level triggered, unless EPOLLET is among the events). Returns 0 or negative errno; -EPERM for
 * a regular file, which epoll refuses. events 0 in evloop_mod() pauses the descriptor wholly (no EPOLLHUP
 * either). evloop_del() may be called from any callback, also its own; afterwards fn is not called again.
 */
int evloop_add(struct evloop *loop, struct evloop_fd *efd, uint32_t events);
int evloop_mod(struct evloop *loop, struct evloop_fd *efd, uint32_t events);
void evloop_del(struct evloop *loop, struct evloop_fd *efd);

/* Loop thread. One shot, delay_ns from now (UINT64_MAX: never); setting an armed timer moves it. */
void evloop_timer_set(struct evloop *loop, struct evloop_timer *timer, uint64_t delay_ns);
void evloop_timer_cancel(struct evloop *loop, struct evloop_timer *timer);

/* Any thread. Runs the task once on the loop thread; posting a queued task again does nothing. Tasks run in
 * the order posted. A task posted after evloop_stop() is not queued, and nothing is left of those that were: who posted them may be freed. */
void evloop_post(struct evloop *loop, struct evloop_task *task);

/* Any thread. Runs fn on the loop thread and waits until it returned; when the loop does not run, or this is its
 * thread, calls fn directly. Not while another thread stops the loop. */
void evloop_call(struct evloop *loop, void (*fn)(void *arg), void *arg);

/* What the thread does again and again: waits for events, a task or the next timer, and serves them. A loop that was not
 * started can be driven by it, as fuzz targets do, for which one thread makes runs that repeat. */
void evloop_turn(struct evloop *loop);

/* Not on the loop thread. Runs the tasks queued so far, ends the thread and joins it. Idempotent. */
void evloop_stop(struct evloop *loop);

/* The loop must be stopped or never started. */
void evloop_fini(struct evloop *loop);

/* CLOCK_MONOTONIC in ns. */
uint64_t evloop_now(void);
