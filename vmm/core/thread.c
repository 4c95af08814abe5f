#include "vmm/core/thread.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

/* Callbacks and exit handlers are shallow; small stacks keep a VM with many devices small. */
#define THREAD_STACK (128 * 1024)

/* What a new thread must know; it frees it. */
struct thread_begin {
	char name[16];
	void *(*fn)(void *arg);
	void *arg;
	const struct thread_rights *rights;
};

static void *thread_run(void *arg)
{
	struct thread_begin begin = *(struct thread_begin *)arg;

	free(arg);
	prctl(PR_SET_NAME, begin.name);
	if (begin.rights && !begin.rights->drop(begin.rights))
		return NULL;
	return begin.fn(begin.arg);
}

void thread_fill_blocked(sigset_t *set)
{
	static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};

	sigfillset(set);
	for (size_t i = 0; i < sizeof(crashes) / sizeof(int); i++)
		sigdelset(set, crashes[i]);
}

static int thread_create(pthread_t *thread, struct thread_begin *begin)
{
	sigset_t blocked, old;
	pthread_attr_t attr;
	int err;

	thread_fill_blocked(&blocked);
	/* The new thread inherits the mask. */
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	err = -pthread_create(thread, &attr, thread_run, begin);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *arg), void *arg,
		 const struct thread_rights *rights)
{
	struct thread_begin *begin = malloc(sizeof(*begin));
	int err;

	if (!begin)
		return -ENOMEM;
	*begin = (struct thread_begin){.fn = fn, .arg = arg, .rights = rights};
	snprintf(begin->name, sizeof(begin->name), "%s", name);
	err = thread_create(thread, begin);
	if (err < 0)
		free(begin);
	return err;
}

/* ---- a thread that starts others ---- */

/* On the stack of whoever waits for it. */
struct thread_request {
	pthread_t *thread;
	const char *name;
	void *(*fn)(void *arg);
	void *arg;
	const struct thread_rights *rights;
	int err;
	bool done;
};

static void *thread_starter_main(void *arg)
{
	struct thread_starter *starter = arg;

	pthread_mutex_lock(&starter->lock);
	while (!starter->stopping) {
		struct thread_request *r = starter->request;

		if (!r || r->done) {
			pthread_cond_wait(&starter->changed, &starter->lock);
			continue;
		}
		r->err = thread_start(r->thread, r->name, r->fn, r->arg, r->rights);
		r->done = true;
		pthread_cond_broadcast(&starter->changed);
	}
	pthread_mutex_unlock(&starter->lock);
	return NULL;
}

int thread_starter_start(struct thread_starter *starter, const struct thread_rights *own)
{
	int err;

	*starter = (struct thread_starter){.running = false};
	pthread_mutex_init(&starter->lock, NULL);
	pthread_cond_init(&starter->changed, NULL);
	err = thread_start(&starter->thread, "vmm-starter", thread_starter_main, starter, own);
	starter->running = err == 0;
	return err;
}

int thread_starter_run(struct thread_starter *starter, pthread_t *thread, const char *name,
		       void *(*fn)(void *arg), void *arg, const struct thread_rights *rights)
{
	struct thread_request r = {
		.thread = thread, .name = name, .fn = fn, .arg = arg, .rights = rights};

	if (!starter || !starter->running)
		return thread_start(thread, name, fn, arg, rights);
	pthread_mutex_lock(&starter->lock);
	while (starter->request)
		pthread_cond_wait(&starter->changed, &starter->lock);
	starter->request = &r;
	pthread_cond_broadcast(&starter->changed);
	while (!r.done)
		pthread_cond_wait(&starter->changed, &starter->lock);
	starter->request = NULL;
	pthread_cond_broadcast(&starter->changed);
	pthread_mutex_unlock(&starter->lock);
	return r.err;
}

void thread_starter_stop(struct thread_starter *starter)
{
	if (!starter->running)
		return;
	pthread_mutex_lock(&starter->lock);
	starter->stopping = true;
	pthread_cond_broadcast(&starter->changed);
	pthread_mutex_unlock(&starter->lock);
	pthread_join(starter->thread, NULL);
	pthread_cond_destroy(&starter->changed);
	pthread_mutex_destroy(&starter->lock);
	starter->running = false;
}
