/*
 * A program that is there for one VM, with an event loop of its own, a standard error that nobody reads, and mistakes.
 *
 *	one_vm SPIN-GUEST
 *
 * Prints to standard output what is wrong, nothing else; the exit status is 0 or 1. A signal ends it where it should not.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "vmm.h"

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			printf("line %d: " #condition "\n", __LINE__);                             \
			wrong = 1;                                                                 \
		}                                                                                  \
	} while (0)

static int wrong;

static struct vmm *make(const char *kernel)
{
	struct vmm_config config;
	struct vmm *vm;

	vmm_config_init(&config);
	config.kernel = kernel;
	config.memory = 64 << 20;
	return vmm_create(&config, &vm) < 0 ? NULL : vm;
}

/* SIGPIPE is as it was in every program. */
static void say_to_nobody(void)
{
	int ends[2], err = dup(STDERR_FILENO);

	CHECK(pipe2(ends, O_CLOEXEC) == 0);
	close(ends[0]);
	dup2(ends[1], STDERR_FILENO);
	CHECK(!make("/nonexistent/kernel"));
	dup2(err, STDERR_FILENO);
	close(err);
	close(ends[1]);
}

/* None of the library's descriptors stands where the log is written to. */
static void say_to_nothing(const char *kernel)
{
	int saved[3];
	struct vmm *vm;

	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		close(fd);
	}
	vm = make(kernel);
	CHECK(vm && vmm_start(vm) == 0);
	CHECK(vm && vmm_fd(vm) > STDERR_FILENO);
	CHECK(!make("/nonexistent/kernel")); /* a line */
	CHECK(vm && vmm_wait(vm, 10, NULL) == -ETIMEDOUT);
	vmm_destroy(vm);
	for (int fd = 0; fd <= STDERR_FILENO; fd++) {
		CHECK(fcntl(fd, F_GETFD) >= 0);
		dup2(saved[fd], fd);
		close(saved[fd]);
	}
}

static unsigned int lines;

static void count(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	(void)line;
	lines++;
}

static void confine_wrongly(struct vmm *vm)
{
	const int closed = 99, file = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct vmm_confinement c = {.remove_in = &closed, .n_remove_in = 1};

	vmm_log_set_sink(count, NULL);
	CHECK(vmm_confine(vm, &c) == -EBADF);
	c.remove_in = &file;
	CHECK(vmm_confine(vm, &c) == -ENOTDIR);
	CHECK(lines == 2);
	vmm_log_set_sink(NULL, NULL);
	close(file);
}

/* As a program's main loop waits. */
static void wait_in_a_loop(struct vmm *vm)
{
	struct epoll_event event = {.events = EPOLLIN};
	int loop = epoll_create1(EPOLL_CLOEXEC), err;
	enum vmm_end end;

	CHECK(epoll_ctl(loop, EPOLL_CTL_ADD, vmm_fd(vm), &event) == 0);
	CHECK(vmm_start(vm) == 0);
	err = vmm_confine_thread();
	CHECK(err == 0 || err == -ENOTSUP);
	CHECK(epoll_wait(loop, &event, 1, 10) == 0);
	CHECK(epoll_pwait(loop, &event, 1, 0, NULL) == 0);
#if __GLIBC_PREREQ(2, 35)
	CHECK(epoll_pwait2(loop, &event, 1, &(struct timespec){0}, NULL) == 0 || errno == ENOSYS);
#endif
	vmm_stop(vm);
	CHECK(epoll_wait(loop, &event, 1, 20000) == 1);
	CHECK(vmm_wait(vm, -1, &end) == 0);
	vmm_destroy(vm);
}

int main(int argc, char **argv)
{
	struct vmm *vm;

	if (argc != 2)
		return 1;
	say_to_nobody();
	say_to_nothing(argv[1]);
	vm = make(argv[1]);
	CHECK(vm);
	if (!vm)
		return 1;
	CHECK(vmm_prepare(vm) == 0);
	confine_wrongly(vm);
	wait_in_a_loop(vm);
	return wrong;
}
