/*
 * A data race in a process that reaches no file by name, where it may do so, and another one in memory of which the sanitizer was told
 * that somebody else orders it, as vmm tells it of the guest's: the first must be reported, and the second must not.
 *
 *	race DIRECTORY, an empty one
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

void AnnotateBenignRaceSized(const char *file, int line, const volatile void *mem, size_t size,
			     const char *why);

static int shared, guests;

static void *add(void *arg)
{
	shared++;
	guests++;
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc != 2 || (geteuid() == 0 && (chroot(argv[1]) < 0 || chdir("/") < 0)))
		return 1;
	AnnotateBenignRaceSized(__FILE__, __LINE__, &guests, sizeof(guests), "a test");
	if (pthread_create(&thread, NULL, add, NULL) != 0)
		return 1;
	shared++;
	guests++;
	pthread_join(thread, NULL);
	_exit(0); /* as vmm ends */
}
