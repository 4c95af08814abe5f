/*
 * A program that uses libvmm as others would: two VMs in one process, started, talked to, stopped and destroyed in
 * every order, with nothing left behind, and every way in which making one can fail.
 *
 *	two_vms HELLO-GUEST ECHO-GUEST SPIN-GUEST DISK ROUNDS
 *
 * Prints to stderr what is wrong, nothing else; the exit status is 0 or 1.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm.h"

#define PATIENCE_MS 20000

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* ThreadSanitizer has one of its own. */
#ifdef __SANITIZE_THREAD__
#define OWN_THREADS 2
#else
#define OWN_THREADS 1
#endif

static int failures;
static _Atomic int errors_logged;
static char last_logged[1024];

#define CHECK(condition, ...)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);            \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			failures++;                                                                \
		}                                                                                  \
	} while (0)

static void on_log(void *arg, int level, const char *line)
{
	(void)arg;
	if (level != VMM_LOG_ERROR)
		return;
	errors_logged++;
	snprintf(last_logged, sizeof(last_logged), "%s", line);
}

/* ---- what the process has ---- */

struct holdings {
	int fds;
	int threads;
	int maps;
	unsigned long pages; /* of address space */
	sigset_t mask;
	struct sigaction actions[_NSIG];
};

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2; /* . and .. */
}

/*
 * On some hosts KVM has threads of its own in our process, which end with the VM, and that ends a moment after
 * vmm_destroy(): they are waited for.
 */
static int count_threads(void)
{
	int n = count_entries("/proc/self/task");

	for (int i = 0; i < 1000 && n > OWN_THREADS; i++) {
		usleep(10000);
		n = count_entries("/proc/self/task");
	}
	return n;
}

/* While no VM of ours is there. */
static void take_stock(struct holdings *h)
{
	FILE *f = fopen("/proc/self/maps", "re");

	memset(h, 0, sizeof(*h));
	for (int c; f && (c = getc(f)) != EOF;)
		h->maps += c == '\n';
	if (f)
		fclose(f);
	f = fopen("/proc/self/statm", "re");
	if (f && fscanf(f, "%lu", &h->pages) != 1)
		h->pages = 0;
	if (f)
		fclose(f);
	h->fds = count_entries("/proc/self/fd");
	h->threads = count_threads();
	sigprocmask(SIG_SETMASK, NULL, &h->mask);
	for (int sig = 1; sig < _NSIG; sig++)
		sigaction(sig, NULL, &h->actions[sig]);
}

static void compare(const struct holdings *before, const struct holdings *after, const char *when)
{
	CHECK(after->fds == before->fds, "%s: %d file descriptors, before %d", when, after->fds,
	      before->fds);
	CHECK(after->threads == before->threads, "%s: %d threads, before %d", when, after->threads,
	      before->threads);
	for (int sig = 1; sig < _NSIG; sig++) {
		CHECK(after->actions[sig].sa_handler == before->actions[sig].sa_handler,
		      "%s: signal %d has another handler", when, sig);
		CHECK(sigismember(&after->mask, sig) == sigismember(&before->mask, sig),
		      "%s: signal %d is masked otherwise", when, sig);
	}
}

/* The C library keeps stacks of threads that have ended: a few maps may come, one for each round may not. */
static void compare_maps(const struct holdings *before, const struct holdings *after, int rounds)
{
	long grown = ((long)after->pages - (long)before->pages) / 256;

	if (SANITIZED)
		return;
	CHECK(after->maps - before->maps < rounds / 2, "%d maps, before %d", after->maps,
	      before->maps);
	CHECK(grown < 64, "%ld MiB of address space more than before", grown);
}

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

static void test_orders(char **argv, int rounds)
{
	struct guest g;
	pthread_t thread;

	vmm_destroy(NULL);

	guest_create(&g, argv[3], argv[4]);
	guest_runs(&g); /* it has not even started */
	guest_destroy(&g);

	guest_create(&g, argv[3], argv[4]);
	vmm_stop(g.vm);
	CHECK(vmm_start(g.vm) == 0, "start after stop: %s", last_logged);
	guest_ends(&g, VMM_END_STOPPED);
	guest_destroy(&g);

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

/* ---- failures ---- */

static void expect_refusal(const struct vmm_config *config, int want, const char *what)
{
	struct vmm *vm = (struct vmm *)&failures;
	struct holdings before, after;
	int err;

	errors_logged = 0;
	take_stock(&before);
	err = vmm_create(config, &vm);
	take_stock(&after);
	CHECK(err < 0 && (want == 0 || err == want), "%s: %s, not %s", what, strerror(-err),
	      strerror(-want));
	CHECK(vm == NULL, "%s: a VM in spite of it", what);
	CHECK(errors_logged == 1, "%s: %d lines logged, the last: %s", what, errors_logged,
	      last_logged);
	compare(&before, &after, what);
	if (err == 0)
		vmm_destroy(vm);
}

static void test_refusals(char **argv)
{
	struct vmm_disk disks[VMM_MAX_DISKS_AND_NETS + 1];
	struct vmm_net net = {.tap = "vmmtest9", .tap_fd = -1};
	struct vmm_config good, c;

	for (int i = 0; i <= VMM_MAX_DISKS_AND_NETS; i++)
		disks[i] = (struct vmm_disk){.path = argv[4]};
	vmm_config_init(&good);
	good.kernel = argv[1];
	good.disks = disks;

#define REFUSED(want, what, ...)                                                                   \
	do {                                                                                       \
		c = good;                                                                          \
		__VA_ARGS__;                                                                       \
		expect_refusal(&c, want, what);                                                    \
	} while (0)
	REFUSED(-EINVAL, "no kernel", c.kernel = NULL);
	REFUSED(-ENOENT, "a missing kernel", c.kernel = "/nonexistent", c.n_disks = 1);
	REFUSED(-ENOENT, "a missing initrd", c.initrd = "/nonexistent", c.n_disks = 1);
	REFUSED(0, "a disk as kernel", c.kernel = argv[4], c.n_disks = 1);
	REFUSED(-EINVAL, "two command lines", c.cmdline = "", c.append = "");
	REFUSED(-EINVAL, "no CPU", c.cpus = 0);
	REFUSED(-EINVAL, "too many CPUs", c.cpus = VMM_MAX_CPUS + 1);
	REFUSED(-EINVAL, "too little memory", c.memory = VMM_MIN_MEMORY - 1);
	REFUSED(0, "too much memory", c.memory = UINT64_MAX);
	REFUSED(-EBUSY, "a disk twice", c.n_disks = 2);
	REFUSED(-EINVAL, "too many disks", c.n_disks = VMM_MAX_DISKS_AND_NETS + 1);
	disks[1].path = "/nonexistent";
	REFUSED(-ENOENT, "a missing second disk", c.n_disks = 2);
	REFUSED(-ENODEV, "a missing TAP", c.n_disks = 1, c.nets = &net, c.n_nets = 1);
	net.tap = NULL;
	REFUSED(0, "no TAP", c.n_disks = 1, c.nets = &net, c.n_nets = 1);
	net.tap_fd = STDERR_FILENO;
	REFUSED(0, "a TAP that is none", c.n_disks = 1, c.nets = &net, c.n_nets = 1);
}

/* The process may open one descriptor more each time: creation fails at every place where it can. */
static void test_few_descriptors(char **argv)
{
	struct vmm_disk disks[] = {{.path = argv[4]}};
	struct rlimit few, many;
	struct vmm_config c;
	struct vmm *vm = NULL;
	int failed = 0, first = dup(STDERR_FILENO);

	close(first);
	vmm_config_init(&c);
	c.kernel = argv[1];
	c.disks = disks;
	c.n_disks = 1;
	c.cpus = 2;
	c.console_in = STDIN_FILENO;
	getrlimit(RLIMIT_NOFILE, &many);
	few = many;
	for (int more = 0; more < 64 && !vm && failures == 0; more++) {
		struct holdings before, after;
		int err;

		errors_logged = 0;
		take_stock(&before);
		few.rlim_cur = (rlim_t)(first + more);
		setrlimit(RLIMIT_NOFILE, &few);
		err = vmm_create(&c, &vm);
		setrlimit(RLIMIT_NOFILE, &many);
		if (err == 0)
			break;
		failed++;
		take_stock(&after);
		CHECK(err == -EMFILE, "%d descriptors: %s", more, strerror(-err));
		CHECK(errors_logged == 1, "%d descriptors: %d lines logged, the last: %s", more,
		      errors_logged, errors_logged ? last_logged : "");
		compare(&before, &after, "few descriptors");
	}
	CHECK(failures || (vm && failed > 8), "created after %d failures", failed);
	vmm_destroy(vm);
}

/* Address space that does not hold the guest's memory. */
static void test_little_memory(char **argv)
{
	struct rlimit little, much;
	struct vmm_config c;

	if (SANITIZED)
		return;
	vmm_config_init(&c);
	c.kernel = argv[1];
	getrlimit(RLIMIT_AS, &much);
	little = much;
	little.rlim_cur = 128 << 20;
	setrlimit(RLIMIT_AS, &little);
	expect_refusal(&c, -ENOMEM, "little memory");
	setrlimit(RLIMIT_AS, &much);
}

int main(int argc, char **argv)
{
	struct holdings before, after;
	int rounds;

	if (argc != 6)
		return 1;
	rounds = atoi(argv[5]);
	mallopt(M_ARENA_MAX, 1); /* fewer maps that come and go */
	vmm_log_set_level(VMM_LOG_ERROR);
	vmm_log_set_sink(on_log, NULL);

	for (int i = 0; i < 6; i++)
		play_round(argv, i);
	take_stock(&before);
	for (int i = 0; i < rounds; i++) {
		play_round(argv, i);
		take_stock(&after);
		compare(&before, &after, "a round");
	}
	test_orders(argv, rounds);
	test_dump(argv);
	test_memory_fd(argv);
	take_stock(&after);
	compare(&before, &after, "orders");
	compare_maps(&before, &after, rounds);

	test_refusals(argv);
	test_few_descriptors(argv);
	test_little_memory(argv);
	take_stock(&after);
	compare(&before, &after, "refusals");
	compare_maps(&before, &after, rounds);
	return failures != 0;
}
