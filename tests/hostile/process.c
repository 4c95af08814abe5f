#define _GNU_SOURCE
#include "process.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "vmm.h"

#define SETTLE_MS 10000
#define KEPT	  16

uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- what it has ---- */

#ifdef __SANITIZE_THREAD__
static void *nothing(void *arg)
{
	return arg;
}

/* With the program's first thread ThreadSanitizer starts one of its own; it shall be there when threads are counted. */
__attribute__((constructor)) static void start_sanitizer(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, nothing, NULL) == 0)
		pthread_join(thread, NULL);
}
#endif

static int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	int n = 0;

	if (!dir)
		return -1;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n -
	       3; /* ., .. and, of descriptors, the directory's own; threads are compared alone */
}

struct usage usage_now(void)
{
	struct usage usage = {.fds = count_entries("/proc/self/fd"),
			      .threads = count_entries("/proc/self/task")};
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (f && fscanf(f, "%*s %ld", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	usage.rss = pages * (sysconf(_SC_PAGESIZE) / 1024);
	return usage;
}

struct usage usage_settled(const struct usage *want)
{
	uint64_t since = now_ms();
	struct usage usage;

	malloc_trim(0);
	do {
		usage = usage_now();
		if (usage.fds <= want->fds && usage.threads <= want->threads)
			break;
		usleep(5000);
	} while (now_ms() - since < SETTLE_MS);
	return usage;
}

static uint64_t task_ns(const char *tid)
{
	char path[64];
	unsigned long long ns = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/schedstat", tid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	return ns;
}

void tasks_now(struct tasks *tasks)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *e;

	tasks->n = 0;
	while (dir && (e = readdir(dir)) && tasks->n < MAX_TASKS) {
		if (e->d_name[0] == '.')
			continue;
		tasks->tid[tasks->n] = (pid_t)atoi(e->d_name);
		tasks->ns[tasks->n++] = task_ns(e->d_name);
	}
	if (dir)
		closedir(dir);
}

static const uint64_t *tasks_find(const struct tasks *tasks, pid_t tid)
{
	for (unsigned int i = 0; i < tasks->n; i++) {
		if (tasks->tid[i] == tid)
			return &tasks->ns[i];
	}
	return NULL;
}

uint64_t tasks_spent(const struct tasks *from, const struct tasks *to, const struct tasks *without)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < to->n; i++) {
		const uint64_t *before = tasks_find(from, to->tid[i]);

		if (!tasks_find(without, to->tid[i]))
			sum += to->ns[i] - (before ? *before : 0);
	}
	return sum;
}

/* ---- what it says ---- */

static struct {
	pthread_mutex_t lock;
	unsigned int n;
	char kept[KEPT][256];
} logged = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void on_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	pthread_mutex_lock(&logged.lock);
	snprintf(logged.kept[logged.n++ % KEPT], sizeof(logged.kept[0]), "%s", line);
	pthread_mutex_unlock(&logged.lock);
	if (getenv("VERBOSE"))
		fprintf(stderr, "vmm: %s\n", line);
}

void log_watch(void)
{
	vmm_log_set_level(VMM_LOG_WARN);
	vmm_log_set_sink(on_log, NULL);
}

unsigned int log_lines(void)
{
	unsigned int n;

	pthread_mutex_lock(&logged.lock);
	n = logged.n;
	pthread_mutex_unlock(&logged.lock);
	return n;
}

void log_show(void)
{
	pthread_mutex_lock(&logged.lock);
	for (unsigned int i = logged.n > KEPT ? logged.n - KEPT : 0; i < logged.n; i++)
		fprintf(stderr, "\tlog: %s\n", logged.kept[i % KEPT]);
	pthread_mutex_unlock(&logged.lock);
}

static const char *what_now = "";
static unsigned int failures;

/* A guest has ended the process: the sandbox lets none of its threads do this. */
static void on_violation(int sig, siginfo_t *info, void *context)
{
	char text[256] = "SIGSYS", line[512];
	ssize_t n;

	(void)context;
	vmm_describe_violation(info, text, sizeof(text));
	snprintf(line, sizeof(line), "FAILED: %s: %s\n", what_now, text);
	n = write(STDERR_FILENO, line,
		  strlen(line)); /* dprintf() would seek first, which is refused too */
	(void)n;
	signal(sig, SIG_DFL);
	raise(sig);
}

void violations_watch(void)
{
	struct sigaction action = {.sa_sigaction = on_violation, .sa_flags = SA_SIGINFO};

	sigaction(SIGSYS, &action, NULL);
}

void doing(const char *what)
{
	what_now = what;
}

void failed(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "FAILED: %s: ", what_now);
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	failures++;
}

unsigned int n_failed(void)
{
	return failures;
}
