/*
 * Starts the library's threads: small stack, a name, no signals, and no more rights than they need.
 *
 * Signals belong to the program, so a thread blocks all of them from its first instruction on, but for those
 * that a crash raises in the thread itself: blocked, they would kill the process without the program's handler.
 *
 * A thread that has given up its rights may not be able to start others; it asks a starter, which is a thread that does
 * nothing else.
 */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

/* What a thread does first of all. Embedded in whatever it needs to know; must outlive the thread. */
struct thread_rights {
	/* On the new thread, which has its name already. False: the thread ends at once, and fn is not called. */
	bool (*drop)(const struct thread_rights *rights);
};

/*
 * Returns 0 or negative errno. name has 15 characters at most. rights NULL: it keeps those of its caller. The caller
 * joins the thread. Any thread.
 */
int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *arg), void *arg,
		 const struct thread_rights *rights);

/* The signals that such a thread blocks. Any thread. */
void thread_fill_blocked(sigset_t *set);

struct thread_request;

struct thread_starter {
	/* immutable between start and stop */
	pthread_t thread;
	bool running;
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct thread_request *request; /* one at a time; NULL: none */
	bool stopping;
};

/* Owner's thread. own: the starter's rights, among which must be those of all that it starts. Returns 0 or negative errno. */
int thread_starter_start(struct thread_starter *starter, const struct thread_rights *own);

/* As thread_start(), by the starter; by the caller itself if starter is NULL or not running. Any thread. */
int thread_starter_run(struct thread_starter *starter, pthread_t *thread, const char *name,
		       void *(*fn)(void *arg), void *arg, const struct thread_rights *rights);

/* Owner's thread, when nobody asks any more. Idempotent, and harmless in a struct of zeros. */
void thread_starter_stop(struct thread_starter *starter);
