/*
 * A host whose wall clock is set back by an hour between any look at it and what was to happen then: loaded into vmm. What waits by that clock
 * waits for an hour.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
	int ret = (int)syscall(SYS_clock_gettime, clock, time);

	if (ret == 0 && clock == CLOCK_REALTIME)
		time->tv_sec += 3600;
	return ret;
}
