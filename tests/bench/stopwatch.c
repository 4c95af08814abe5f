/*
 * Starts a program, or several of it at once, and says how long they took.
 *
 *   stopwatch [-n COPIES] [-t SECONDS] [-u TEXT] [-o FILE] PROGRAM ARGUMENT...
 *
 * Prints one line of numbers: nanoseconds from before the start to the first byte that a copy wrote, to TEXT in its
 * output, and to its end (that it has been waited for); of all copies the latest. Then the nanoseconds of CPU time that they
 * used together, and those that a fixed loop took before the start, which tell how disturbed this machine is. What was
 * not seen is 0. The output of the first copy goes to FILE, what each writes to its standard error to that of this program.
 *
 * Status 0 when every copy wrote TEXT and ended by itself, whatever its own status was; 1 when one did not write it; 124 when
 * the time was over, and all were killed; 125 when a start failed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MOST_COPIES 256
#define KEPT	    (256 * 1024) /* bytes of output; the rest is read and forgotten */
#define SPIN	    4000000

struct copy {
	pid_t pid;
	int pidfd, output; /* -1 when over */
	char *text;	   /* what it wrote, with a zero at its end */
	size_t length;
	uint64_t first, seen, ended; /* 0 before */
};

struct options {
	int copies, seconds;
	const char *until, *file;
};

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static uint64_t spin(void)
{
	uint64_t start = now();

	for (volatile int i = 0; i < SPIN; i++)
		;
	return now() - start;
}

static int copy_start(struct copy *copy, char **argv)
{
	posix_spawn_file_actions_t actions;
	int ends[2], error;

	copy->text = calloc(1, KEPT + 1);
	if (!copy->text || pipe2(ends, O_CLOEXEC))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	error = posix_spawn(&copy->pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	copy->output = ends[0];
	if (error)
		return -error;
	fcntl(copy->output, F_SETFL, O_NONBLOCK);
	copy->pidfd = (int)syscall(SYS_pidfd_open, copy->pid, 0);
	return copy->pidfd < 0 ? -errno : 0;
}

/* Reads what there is. The text may come in pieces, so the whole is searched; it is short until the text is there. */
static void copy_read(struct copy *copy, const struct options *options)
{
	char rest[4096];
	bool full = copy->length == KEPT;
	ssize_t got = read(copy->output, full ? rest : copy->text + copy->length,
			   full ? sizeof(rest) : KEPT - copy->length);

	if (got == 0) {
		close(copy->output);
		copy->output = -1;
	}
	if (got <= 0)
		return;
	if (!copy->first)
		copy->first = now();
	if (!full)
		copy->length += (size_t)got;
	if (!copy->seen && options->until && strstr(copy->text, options->until))
		copy->seen = now();
}

/* Adds its CPU time to *cpu. What a process that outlives it may still hold open is not waited for. */
static void copy_reap(struct copy *copy, const struct options *options, uint64_t *cpu)
{
	struct rusage usage;
	int status;
	size_t before;

	wait4(copy->pid, &status, 0, &usage);
	copy->ended = now();
	close(copy->pidfd);
	copy->pidfd = -1;
	*cpu += (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
		(uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
	do {
		before = copy->length;
		if (copy->output >= 0)
			copy_read(copy, options);
	} while (copy->length > before);
	if (copy->output >= 0)
		close(copy->output);
	copy->output = -1;
}

/* Until all have ended, or the time is over. */
static bool watch(struct copy *copies, const struct options *options, uint64_t *cpu)
{
	uint64_t end = now() + (uint64_t)options->seconds * 1000000000;
	struct pollfd fds[2 * MOST_COPIES];

	for (int running = options->copies; running > 0;) {
		uint64_t time = now();

		for (int i = 0; i < options->copies; i++) {
			fds[2 * i] = (struct pollfd){.fd = copies[i].output, .events = POLLIN};
			fds[2 * i + 1] = (struct pollfd){.fd = copies[i].pidfd, .events = POLLIN};
		}
		if (time >= end ||
		    poll(fds, 2 * (nfds_t)options->copies, (int)((end - time) / 1000000) + 1) == 0)
			return false;
		for (int i = 0; i < options->copies; i++) {
			if (fds[2 * i].revents)
				copy_read(&copies[i], options);
			if (fds[2 * i + 1].revents) {
				copy_reap(&copies[i], options, cpu);
				running--;
			}
		}
	}
	return true;
}

static void kill_rest(const struct copy *copies, int number)
{
	for (int i = 0; i < number; i++)
		if (copies[i].pidfd >= 0) {
			kill(copies[i].pid, SIGKILL);
			waitpid(copies[i].pid, NULL, 0);
		}
}

static void keep_output(const struct copy *copy, const char *file)
{
	FILE *stream = fopen(file, "we");

	if (!stream)
		return;
	fwrite(copy->text, 1, copy->length, stream);
	fclose(stream);
}

static uint64_t later(uint64_t one, uint64_t other)
{
	return one > other ? one : other;
}

static int report(const struct copy *copies, const struct options *options, uint64_t start,
		  uint64_t cpu, uint64_t spun)
{
	uint64_t first = start, seen = start, ended = start;
	bool all = true;

	for (int i = 0; i < options->copies; i++) {
		first = later(first, copies[i].first);
		seen = later(seen, copies[i].seen);
		ended = later(ended, copies[i].ended);
		all = all && (!options->until || copies[i].seen);
	}
	printf("%llu %llu %llu %llu %llu\n", (unsigned long long)(first - start),
	       (unsigned long long)(seen - start), (unsigned long long)(ended - start),
	       (unsigned long long)cpu, (unsigned long long)spun);
	return all ? 0 : 1;
}

static int usage(void)
{
	fputs("usage: stopwatch [-n COPIES] [-t SECONDS] [-u TEXT] [-o FILE] PROGRAM ARGUMENT...\n",
	      stderr);
	return 125;
}

static int parse(int argc, char **argv, struct options *options)
{
	int option;

	*options = (struct options){.copies = 1, .seconds = 60};
	while ((option = getopt(argc, argv, "+n:t:u:o:")) != -1) {
		switch (option) {
		case 'n':
			options->copies = atoi(optarg);
			break;
		case 't':
			options->seconds = atoi(optarg);
			break;
		case 'u':
			options->until = optarg;
			break;
		case 'o':
			options->file = optarg;
			break;
		default:
			return -EINVAL;
		}
	}
	if (optind == argc || options->copies < 1 || options->copies > MOST_COPIES)
		return -EINVAL;
	return 0;
}

int main(int argc, char **argv)
{
	static struct copy copies[MOST_COPIES];
	struct options options;
	uint64_t start, spun, cpu = 0;
	int status, error;

	if (parse(argc, argv, &options))
		return usage();
	spun = spin();
	start = now();
	for (int i = 0; i < options.copies; i++) {
		error = copy_start(&copies[i], argv + optind);
		if (error) {
			fprintf(stderr, "stopwatch: cannot start %s: %s\n", argv[optind],
				strerror(-error));
			kill_rest(copies, i);
			return 125;
		}
	}
	if (watch(copies, &options, &cpu)) {
		status = report(copies, &options, start, cpu, spun);
	} else {
		kill_rest(copies, options.copies);
		status = 124;
	}
	if (options.file)
		keep_output(&copies[0], options.file);
	return status;
}
