/*
 * Runs hostile guests, one theme after the other, each in a machine with every device, beside a healthy machine in this
 * same process. The process must live, use and log no more than it should, and the sibling must not notice.
 *
 *	hostile GUEST DIR pci|mmio SEED ROUNDS THEME...
 *
 * DIR has base (an image of 2048 sectors, each beginning with its number), and hostile.raw and hostile.limited of the
 * same size. With $HOSTILE_IMAGES the hostile machine's disks are others: base.qcow2, which holds changes to base, and base, each
 * below an overlay, and packed.qcow2. $HOSTILE_TAP is the interface of its network card, $HOSTILE_VHOST has the kernel serve that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "process.h"
#include "vms.h"

#define THEME_MS   (SANITIZED ? 300000 : 120000)
#define WILD_MS	   3000
#define ASK_MS	   500
#define SAMPLE_MS  50
#define QUIET_MS   200
#define QUIET_CPU  UINT64_C(60000000) /* ns; of all threads of a machine whose guest does nothing */
#define LOG_BURST  5
#define LOG_WINDOW 10000
#define LOGGERS	   14 /* devices and others with a limit of their own */

/* What a machine may have beyond the process without it. */
#define MORE_THREADS 32
#define MORE_FDS     600 /* streams have one each */
#define MORE_RSS     ((long)(VM_MEMORY >> 10) + 65536)

struct watch {
	struct usage before, most;
	struct tasks others;
	unsigned int lines;
	uint64_t since, asked, sampled;
	unsigned int reads;
};

static void watch_begin(struct watch *w, struct machine *sibling)
{
	w->reads = healthy_ask(sibling); /* all that it has is there now */
	w->before = usage_now();
	w->most = w->before;
	tasks_now(&w->others);
	w->lines = log_lines();
	w->since = w->asked = w->sampled = now_ms();
}

static void watch_sample(struct watch *w)
{
	struct usage now = usage_now();

	if (now.fds > w->most.fds)
		w->most.fds = now.fds;
	if (now.threads > w->most.threads)
		w->most.threads = now.threads;
	if (now.rss > w->most.rss)
		w->most.rss = now.rss;
	w->sampled = now_ms();
}

static void watch_sibling(struct watch *w, struct machine *sibling)
{
	unsigned int reads = healthy_ask(sibling);

	if (reads <= w->reads)
		failed("the sibling reads no more: %u, then %u", w->reads, reads);
	w->reads = reads;
	w->asked = now_ms();
}

static void watch_bounds(const struct watch *w)
{
	unsigned int lines = log_lines() - w->lines;
	unsigned int windows = 1 + (unsigned int)((now_ms() - w->since) / LOG_WINDOW);

	if (w->most.threads > w->before.threads + MORE_THREADS)
		failed("%d threads, %d before", w->most.threads, w->before.threads);
	if (w->most.fds > w->before.fds + MORE_FDS)
		failed("%d descriptors, %d before", w->most.fds, w->before.fds);
	if (!SANITIZED && w->most.rss > w->before.rss + MORE_RSS)
		failed("%ld KiB of memory, %ld before", w->most.rss, w->before.rss);
	if (lines > LOG_BURST * LOGGERS * windows) {
		failed("%u lines of log", lines);
		log_show();
	}
}

/* After the machine is gone. */
static void watch_end(struct watch *w)
{
	struct usage after = usage_settled(&w->before);

	if (after.threads > w->before.threads)
		failed("%d threads are left, %d before", after.threads, w->before.threads);
	if (after.fds > w->before.fds)
		failed("%d descriptors are left, %d before", after.fds, w->before.fds);
}

/* A guest that does nothing lets nothing be done, whatever state its devices are in. */
static void expect_idle(const struct watch *w)
{
	struct tasks from, to;
	uint64_t spent;

	usleep(20000);
	tasks_now(&from);
	usleep(QUIET_MS * 1000);
	tasks_now(&to);
	spent = tasks_spent(&from, &to, &w->others);
	if (spent > QUIET_CPU)
		failed("%u us of CPU time in %u ms in which the guest does nothing",
		       (unsigned int)(spent / 1000), QUIET_MS);
}

/* Until the guest has finished, or its machine has ended. Returns whether the latter. */
static bool attend(struct watch *w, struct machine *hostile, struct machine *sibling, bool wild,
		   enum vmm_end *end)
{
	while (!hostile->quiet && !machine_ended(hostile, end)) {
		machine_listen(hostile, 10);
		machine_feed(hostile);
		if (now_ms() - w->sampled >= SAMPLE_MS)
			watch_sample(w);
		if (now_ms() - w->asked >= ASK_MS)
			watch_sibling(w, sibling);
		if (wild && now_ms() - w->since > WILD_MS)
			return false; /* it has hit itself so that it cannot go on */
		if (now_ms() - w->since < THEME_MS)
			continue;
		failed("it does not come to an end; the guest said last: %s", hostile->last);
		return false;
	}
	return !hostile->quiet;
}

static void run_theme(const struct place *place, const char *theme, struct machine *sibling)
{
	bool wild = strcmp(theme, "wild") == 0; /* may end in any way but for that of the process */
	enum vmm_end end = VMM_END_NONE;
	struct machine hostile;
	struct watch w;
	bool ended;

	doing(theme);
	watch_begin(&w, sibling);
	hostile_start(&hostile, place, theme, "hostile");
	ended = attend(&w, &hostile, sibling, wild, &end);
	if (ended && !wild)
		failed("the machine has ended (%d); the guest said last: %s", (int)end,
		       hostile.last);
	if (!ended && hostile.ok == 0 && !wild)
		failed("the guest has done nothing");
	if (hostile.quiet)
		expect_idle(&w);
	watch_sample(&w);
	watch_bounds(&w);
	vmm_stop(hostile.vm);
	if (vmm_wait(hostile.vm, 20000, NULL) < 0)
		failed("the machine does not stop");
	machine_destroy(&hostile);
	watch_end(&w);
	watch_sibling(&w, sibling);
	printf("%-10s %6u ms, %3u lines of log, %7llu bytes of output, at most %d descriptors, %d "
	       "threads, %ld MiB\n",
	       theme, (unsigned int)(now_ms() - w.since), log_lines() - w.lines,
	       (unsigned long long)hostile.bytes, w.most.fds, w.most.threads, w.most.rss / 1024);
	fflush(stdout);
}

/* The sibling polls, and would take half of a small host from those who attack: it gets what they leave. */
static void be_nice(void)
{
	struct tasks tasks;

	tasks_now(&tasks);
	for (unsigned int i = 0; i < tasks.n; i++) {
		if (tasks.tid[i] != gettid())
			setpriority(PRIO_PROCESS, (id_t)tasks.tid[i], 10);
	}
}

int main(int argc, char **argv)
{
	struct machine sibling;
	struct usage before, after;
	struct place place;

	if (argc < 7)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	/* Messages in a language have libc look for a file, on whatever thread there is one to write. */
	setlocale(LC_ALL, "C.UTF-8");
	place = (struct place){.guest = argv[1],
			       .dir = argv[2],
			       .mmio = strcmp(argv[3], "mmio") == 0,
			       .seed = strtoull(argv[4], NULL, 0),
			       .rounds = (unsigned int)atoi(argv[5]),
			       .cpus = 2,
			       .images = getenv("HOSTILE_IMAGES") != NULL,
			       .tap = getenv("HOSTILE_TAP"),
			       .vhost = getenv("HOSTILE_VHOST") != NULL};
	log_watch();
	violations_watch();
	before = usage_now();
	doing("the sibling");
	healthy_start(&sibling, &place, "healthy");
	be_nice();
	for (int i = 6; i < argc; i++)
		run_theme(&place, argv[i], &sibling);
	doing("the end");
	machine_destroy(&sibling);
	after = usage_settled(&before);
	if (after.fds != before.fds || after.threads != before.threads)
		failed("%d descriptors and %d threads are left, before %d and %d", after.fds,
		       after.threads, before.fds, before.threads);
	return n_failed() != 0;
}
