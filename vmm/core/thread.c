#include "vmm/core/thread.h"

#include <signal.h>
#include <stddef.h>

/* Callbacks and exit handlers are shallow; small stacks keep a VM with many devices small. */
#define THREAD_STACK (128 * 1024)

static const int thread_crash_signals[] = {SIGSEGV, SIGBUS,  SIGILL, SIGFPE,
					   SIGTRAP, SIGABRT, SIGSYS};

int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *arg), void *arg)
{
	sigset_t blocked, old;
	pthread_attr_t attr;
	int err;

	sigfillset(&blocked);
	for (size_t i = 0; i < sizeof(thread_crash_signals) / sizeof(int); i++)
		sigdelset(&blocked, thread_crash_signals[i]);
	/* The new thread inherits the mask. */
	pthread_sigmask(SIG_SETMASK, &blocked, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	err = -pthread_create(thread, &attr, fn, arg);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err == 0)
		pthread_setname_np(*thread, name);
	return err;
}
