/*
 * An event loop that a test steps itself, for tests.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/evloop_settle.h"

#define MS    UINT64_C(1000000)
#define N_FDS 24 /* more than a batch */

static struct evloop loop;

/* A descriptor whose callback does what act says and notes that it was called. */
static struct source {
	struct evloop_fd efd;
	void (*act)(struct source *source);
	_Atomic unsigned int calls;
	_Atomic uint32_t events;
	struct source *other; /* for act */
} sources[N_FDS];

static inline void source_drain(struct source *source)
{
	uint64_t count;
	ssize_t n = read(source->efd.fd, &count, sizeof(count));

	(void)n;
}

static inline void source_on_event(void *arg, uint32_t events)
{
	struct source *source = arg;

	source->calls++;
	source->events = events;
	if (source->act)
		source->act(source);
}

static inline void source_signal(struct source *source)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(source->efd.fd, &one, sizeof(one)), sizeof(one));
}

static inline void setup(void)
{
	memset((void *)sources, 0, sizeof(sources));
	ck_assert_int_eq(evloop_init(&loop), 0);
	for (int i = 0; i < N_FDS; i++) {
		sources[i].efd = (struct evloop_fd){.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC),
						    .fn = source_on_event,
						    .arg = &sources[i]};
		sources[i].act = source_drain;
		ck_assert_int_ge(sources[i].efd.fd, 0);
	}
}

static inline void teardown(void)
{
	evloop_stop(&loop);
	evloop_fini(&loop);
	for (int i = 0; i < N_FDS; i++)
		close(sources[i].efd.fd);
}

static inline void start(void)
{
	ck_assert_int_eq(evloop_start(&loop, "test"), 0);
}

static inline void add(struct source *source)
{
	ck_assert_int_eq(evloop_add(&loop, &source->efd, EPOLLIN), 0);
}
