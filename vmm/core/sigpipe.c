#include "vmm/core/sigpipe.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

static void sigpipe_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGPIPE);
}

void sigpipe_hold(sigset_t *old)
{
	sigset_t set;

	sigpipe_set(&set);
	pthread_sigmask(SIG_BLOCK, &set, old);
}

void sigpipe_release(const sigset_t *old)
{
	const struct timespec no_time = {0};
	int saved = errno;
	sigset_t set;

	if (sigismember(old, SIGPIPE))
		return;
	sigpipe_set(&set);
	while (sigtimedwait(&set, NULL, &no_time) == SIGPIPE)
		;
	pthread_sigmask(SIG_SETMASK, old, NULL);
	errno = saved;
}
