/*
 * The guest's program of the bench, statically linked: the first process, or what the first process hands over to. It runs the
 * jobs that "bench.jobs=JOB,JOB..." on the kernel's command line names (see load.h), says "bench end" and restarts the
 * machine. "load serve" is the other side of the network jobs, for the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define JOBS "bench.jobs="

uint64_t load_now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

int load_fail(const char *job, const char *what)
{
	printf("bench failed: %s: %s: %s\n", job, what, strerror(errno));
	return -1;
}

/* Some of it may be there already, by the kernel or by an init before us. */
static void become_first_process(void)
{
	int console;

	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	console = open("/dev/console", O_RDWR);
	if (console < 0)
		return;
	dup2(console, STDIN_FILENO);
	dup2(console, STDOUT_FILENO);
	dup2(console, STDERR_FILENO);
	setvbuf(stdout, NULL, _IOLBF, 0);
}

static char *read_jobs(void)
{
	static char line[4096];
	int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
	char *jobs;

	if (length < 0)
		return NULL;
	line[length] = '\0';
	jobs = strstr(line, JOBS);
	if (!jobs)
		return NULL;
	jobs += strlen(JOBS);
	jobs[strcspn(jobs, " \n")] = '\0';
	return jobs;
}

static int run(char *job)
{
	if (!strncmp(job, "disk:", 5))
		return disk_job(job + 5);
	if (!strncmp(job, "net:", 4))
		return net_job(job + 4);
	if (!strncmp(job, "share:", 6))
		return share_job(job + 6);
	errno = EINVAL;
	return load_fail(job, "no such job");
}

int main(int argc, char **argv)
{
	char *jobs, *job;
	int status = 0;

	if (argc == 2 && !strcmp(argv[1], "serve"))
		return net_serve() ? 1 : 0;
	become_first_process();
	jobs = read_jobs();
	if (jobs && strstr(jobs, "net:"))
		status = net_configure();
	if (jobs && strstr(jobs, "share:"))
		status = share_mount();
	while (jobs && (job = strsep(&jobs, ",")))
		if (run(job))
			status = -1;
	if (!status)
		puts("bench end");
	reboot(RB_AUTOBOOT);
	return 1;
}
