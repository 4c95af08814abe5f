/*
 * A program that uses libvmm as others would: two VMs in one process, started, talked to, stopped and destroyed in
 * every order, with nothing left behind, and every way in which making one can fail (refused_vms.c).
 *
 *	two_vms HELLO-GUEST ECHO-GUEST SPIN-GUEST DISK ROUNDS
 *
 * Prints to stderr what is wrong, nothing else; the exit status is 0 or 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "holdings.h"
#include "vmm.h"

#define PATIENCE_MS 20000

/* ---- VMs with pipes as consoles ---- */

struct guest {
	struct vmm *vm;
	int in;	 /* we write, the guest reads */
	int out; /* the guest writes, we read */
	int far[2];
};

static void guest_create(struct guest *g, const char *kernel, const char *disk)
{
	struct vmm_disk disks[] = {{.path = disk, .serial = "round"}};
	struct vmm_config config;
	int in[2], out[2], err;

	if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		exit(1);
	*g = (struct guest){.in = in[1], .out = out[0], .far = {in[0], out[1]}};
	vmm_config_init(&config);
	config.kernel = kernel;
	config.memory = 64 << 20;
	config.console_in = in[0];
	config.console_out = out[1];
	config.disks = disks;
	config.n_disks = disk ? 1 : 0;
	err = vmm_create(&config, &g->vm);
	CHECK(err == 0 && g->vm, "%s: %s (%s)", kernel, strerror(-err), last_logged);
	if (err < 0)
		exit(1);
}

static void guest_destroy(struct guest *g)
{
	vmm_destroy(g->vm);
	close(g->in);
	close(g->out);
	close(g->far[0]);
	close(g->far[1]);
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return poll(&pfd, 1, timeout_ms) == 1 && (pfd.revents & POLLIN);
}

static void guest_says(const struct guest *g, const char *text)
{
	char buf[64] = "";
	size_t have = 0, want = strlen(text);

	while (have < want && readable(g->out, PATIENCE_MS)) {
		ssize_t n = read(g->out, buf + have, want - have);

		if (n <= 0)
			break;
		have += (size_t)n;
	}
	CHECK(have == want && memcmp(buf, text, want) == 0, "'%s' instead of '%s'", buf, text);
}

static void guest_type(const struct guest *g, const char *text)
{
	ssize_t n = write(g->in, text, strlen(text));

	CHECK(n == (ssize_t)strlen(text), "%zd bytes written", n);
}

static void guest_ends(const struct guest *g, enum vmm_end want)
{
	enum vmm_end end = VMM_END_NONE;

	CHECK(readable(vmm_fd(g->vm), PATIENCE_MS), "the VM does not end");
	CHECK(vmm_wait(g->vm, 0, &end) == 0, "readable, but not ended");
	CHECK(end == want, "ended by %d, not %d", (int)end, (int)want);
	CHECK(vmm_wait(g->vm, -1, NULL) == 0, "a second wait");
}

static void guest_runs(const struct guest *g)
{
	enum vmm_end end = VMM_END_FAILED;

	CHECK(vmm_wait(g->vm, 0, &end) == -ETIMEDOUT, "it has ended: %d", (int)end);
	CHECK(!readable(vmm_fd(g->vm), 0), "it has ended");
}

static void guest_was_somewhere(const struct guest *g)
{
	uint64_t address = 0;

	CHECK(vmm_last_instruction(g->vm, 0, &address) == 0 && address > 0, "no last instruction");
	CHECK(vmm_last_instruction(g->vm, 1, &address) == -ENOENT, "a second vCPU");
}

static void play_round(char **argv, int round)
{
	struct guest hello, echo;

	guest_create(&hello, argv[1], NULL);
	guest_create(&echo, argv[2], argv[4]);
	CHECK(vmm_start(hello.vm) == 0 && vmm_start(echo.vm) == 0, "%s", last_logged);

	guest_type(&echo, "abc");
	guest_says(&echo, "abc");
	guest_says(&hello, "hello\n");
	guest_ends(&hello, VMM_END_REBOOT);
	guest_was_somewhere(&hello);
	if (round % 2)
		guest_destroy(&hello);

	/* The other goes on. */
	guest_runs(&echo);
	guest_type(&echo, "def");
	guest_says(&echo, "def");
	switch (round % 3) {
	case 0:
		vmm_stop(echo.vm);
		guest_ends(&echo, VMM_END_STOPPED);
		break;
	case 1:
		guest_type(&echo, "\004");
		guest_ends(&echo, VMM_END_REBOOT);
		break;
	default: /* destroyed while it runs */
		guest_runs(&echo);
		break;
	}
	guest_destroy(&echo);
	if (round % 2 == 0)
		guest_destroy(&hello);
}

/* ---- odd orders ---- */

static void *stop_it(void *arg)
{
	vmm_stop(arg);
	return NULL;
}

static void dump(struct vmm *vm)
{
	errors_logged = 0;
	vmm_dump_vcpus(vm);
	CHECK(errors_logged > 10, "%d lines, the last: %s", errors_logged, last_logged);
}

static void dump_core(struct vmm *vm, int fd, int want, const char *what)
{
	off_t size;
	int err;

	errors_logged = 0;
	err = vmm_dump_guest(vm, fd);
	size = lseek(fd, 0, SEEK_END);
	CHECK(err == want && errors_logged == (want < 0), "%s: %s, %d lines, the last: %s", what,
	      strerror(-err), errors_logged, last_logged);
	CHECK(want == 0 ? size > 64 << 20 : size <= 0, "%s: %lld bytes", what, (long long)size);
	CHECK(want != -EINVAL || strstr(last_logged, "appends"), "%s: %s", what, last_logged);
}

/* What would not be a dump is none. */
static void test_core(char **argv)
{
	int fd = memfd_create("core", MFD_CLOEXEC), p[2];
	struct guest g;

	if (fd < 0 || pipe2(p, O_CLOEXEC) < 0)
		exit(1);
	guest_create(&g, argv[3], NULL);
	dump_core(g.vm, fd, 0, "a file");
	fcntl(fd, F_SETFL, O_APPEND);
	dump_core(g.vm, fd, -EINVAL, "a file that appends");
	dump_core(g.vm, p[1], -EINVAL, "a pipe");
	dump_core(g.vm, -1, -EBADF, "nothing");
	guest_destroy(&g);
	close(p[0]);
	close(p[1]);
	close(fd);
}

static void *dump_often(void *arg)
{
	for (int i = 0; i < 50; i++)
		vmm_dump_vcpus(arg);
	return NULL;
}

/* What a guest does is shown before it runs, while it does, and afterwards; also by two at once, and while it ends. */
static void test_dump(char **argv)
{
	pthread_t threads[2];
	struct guest g;

	guest_create(&g, argv[3], argv[4]);
	dump(g.vm);
	CHECK(vmm_start(g.vm) == 0, "start: %s", last_logged);
	dump(g.vm);
	for (int i = 0; i < 2; i++)
		CHECK(pthread_create(&threads[i], NULL, dump_often, g.vm) == 0, "no thread");
	usleep(20000);
	vmm_stop(g.vm);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	guest_ends(&g, VMM_END_STOPPED);
	dump(g.vm);
	guest_destroy(&g);
}

/* A disk that has become too small is told once, with the reason. */
static void test_resize(char **argv)
{
	struct guest g;

	guest_create(&g, argv[3], argv[4]);
	CHECK(vmm_start(g.vm) == 0, "start: %s", last_logged);
	errors_logged = 0;
	CHECK(truncate(argv[4], 100) == 0, "truncate");
	vmm_disks_resized(g.vm);
	for (int i = 0; i < PATIENCE_MS && errors_logged == 0; i++)
		usleep(1000);
	vmm_stop(g.vm);
	guest_ends(&g, VMM_END_STOPPED);
	CHECK(errors_logged == 1 && strstr(last_logged, "smaller than one sector"),
	      "%d lines, the last: %s", errors_logged, last_logged);
	guest_destroy(&g);
	CHECK(truncate(argv[4], 1 << 20) == 0, "truncate");
}

/* In a process of its own, which gives up its rights. What the first confinement can do here is no matter. */
static void confine_twice(char **argv)
{
	struct vmm_confinement confinement = {0};
	struct guest g;

	failures = 0;
	guest_create(&g, argv[3], NULL);
	CHECK(vmm_confine(g.vm, &confinement) == -EINVAL, "confined before it is prepared");
	CHECK(vmm_prepare(g.vm) == 0, "prepare: %s", last_logged);
	vmm_confine(g.vm, &confinement);
	errors_logged = 0;
	CHECK(vmm_confine(g.vm, &confinement) == -EALREADY && errors_logged == 1, "%s",
	      last_logged);
	_exit(failures != 0);
}

static void test_confine(char **argv)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		confine_twice(argv);
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "status %d", status);
}

static void test_orders(char **argv, int rounds)
{
	struct vmm_balloon_stats stats;
	struct vmm_confinement confinement = {0};
	struct guest g;
	pthread_t thread;

	vmm_destroy(NULL);

	guest_create(&g, argv[3], argv[4]);
	guest_runs(&g); /* it has not even started */
	errors_logged = 0;
	CHECK(vmm_balloon_stats(g.vm, &stats, 1) == -EAGAIN && errors_logged == 0, "%s",
	      last_logged);
	guest_destroy(&g);

	guest_create(&g, argv[3], argv[4]);
	vmm_stop(g.vm);
	errors_logged = 0;
	CHECK(vmm_wait(g.vm, 10, NULL) == -ETIMEDOUT && errors_logged == 0, "%s", last_logged);
	CHECK(vmm_wait(g.vm, -1, NULL) == -EDEADLK && errors_logged == 1, "%s", last_logged);
	CHECK(vmm_start(g.vm) == 0, "start after stop: %s", last_logged);
	guest_ends(&g, VMM_END_STOPPED);
	guest_destroy(&g);

	guest_create(&g, argv[3], argv[4]);
	CHECK(vmm_prepare(g.vm) == 0, "prepare: %s", last_logged);
	CHECK(vmm_prepare(g.vm) == -EALREADY, "a second prepare");
	CHECK(vmm_start(g.vm) == 0, "start: %s", last_logged);
	CHECK(vmm_start(g.vm) == -EALREADY && strstr(last_logged, "once"), "a second start: %s",
	      last_logged);
	CHECK(vmm_prepare(g.vm) == -EALREADY, "prepare after start");
	CHECK(vmm_confine(g.vm, &confinement) == -EALREADY, "confined after the start");
	guest_runs(&g);
	guest_destroy(&g);
	errors_logged = 0;

	guest_create(&g, argv[3], argv[4]);
	vmm_power_button(g.vm);
	CHECK(vmm_start(g.vm) == 0, "start after the button: %s", last_logged);
	vmm_power_button(g.vm);
	CHECK(vmm_wait(g.vm, 50, NULL) == -ETIMEDOUT, "the guest does not know buttons");
	vmm_stop(g.vm);
	vmm_stop(g.vm);
	guest_ends(&g, VMM_END_STOPPED);
	vmm_stop(g.vm);
	vmm_power_button(g.vm);
	guest_ends(&g, VMM_END_STOPPED);
	guest_destroy(&g);

	/* Stop and start at the same time. */
	for (int i = 0; i < rounds; i++) {
		guest_create(&g, argv[3], NULL);
		if (pthread_create(&thread, NULL, stop_it, g.vm) != 0)
			exit(1);
		CHECK(vmm_start(g.vm) == 0, "start during stop: %s", last_logged);
		guest_ends(&g, VMM_END_STOPPED);
		pthread_join(thread, NULL);
		guest_destroy(&g);
	}
}

/* The file of shared memory: all of it, and the guest's bytes in it. */
static void test_memory_fd(char **argv)
{
	struct vmm_config c;
	struct vmm *vm = NULL;
	char head[4096];
	off_t at = 0;
	bool found = false;

	vmm_config_init(&c);
	c.kernel = argv[1];
	c.memory = 64 << 20;
	CHECK(vmm_create(&c, &vm) == 0 && vmm_memory_fd(vm) == -1, "%s", last_logged);
	vmm_destroy(vm);
	c.shared_memory = true;
	CHECK(vmm_create(&c, &vm) == 0 && vmm_memory_fd(vm) >= 0, "%s", last_logged);
	CHECK(lseek(vmm_memory_fd(vm), 0, SEEK_END) == 64 << 20, "a file of another size");
	/* The boot protocol's header is somewhere in it. */
	for (; !found && pread(vmm_memory_fd(vm), head, sizeof(head), at) == sizeof(head);
	     at += sizeof(head))
		found = memmem(head, sizeof(head), "HdrS", 4) != NULL;
	CHECK(found, "no boot parameters in the guest's memory");
	vmm_destroy(vm);
}

int main(int argc, char **argv)
{
	struct holdings before, after;
	int rounds;

	if (argc != 6)
		return 1;
	rounds = atoi(argv[5]);
	mallopt(M_ARENA_MAX, 1); /* fewer maps that come and go */
	holdings_log();

	for (int i = 0; i < 6; i++)
		play_round(argv, i);
	take_stock(&before);
	for (int i = 0; i < rounds; i++) {
		play_round(argv, i);
		take_stock(&after);
		compare(&before, &after, "a round");
	}
	test_orders(argv, rounds);
	test_resize(argv);
	test_confine(argv);
	test_dump(argv);
	test_core(argv);
	test_memory_fd(argv);
	test_forked_vms(argv);
	take_stock(&after);
	compare(&before, &after, "orders");
	compare_maps(&before, &after, rounds);

	test_refused_vms(argv);
	take_stock(&after);
	compare(&before, &after, "refusals");
	compare_maps(&before, &after, rounds);
	return failures != 0;
}
