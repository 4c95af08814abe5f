/*
 * Many hostile guests at once, for long: half of them reset and flood every device without end, half of them reboot over and over, in
 * one process with a healthy sibling. Nothing may leak, nobody may get stuck, and the sibling must be as fast as beside guests that only
 * compute.
 *
 *	soak GUEST DIR pci|mmio SEED SECONDS GUESTS
 *
 * How fast the sibling is. Who gets how much of a CPU is for the host's scheduler to say, so this is kept out: the sibling has
 * the first CPU of this process for itself, all others share the rest, and only time is counted in which its vCPU ran or slept, not what it waited
 * for that CPU (other programs of the host, which may take nearly all of it; so windows grow until there is enough). What is left to
 * see is what machines can do to one another through this process and the kernel: locks, wake-ups, system calls that wait. A long soak is cut
 * into windows, each compared with the times right before and after it, and the median counts: what else a host does comes and goes.
 *
 * DIR has base, and N.raw and N.limited for each guest.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "vms.h"

#define MAX_GUESTS 64
#define WARM_MS	   2000
#define STEP_MS	   10
#define RSS_SLACK  8192	     /* KiB */
#define SLOWER	   0.80	     /* of the sibling's speed beside guests that compute */
#define LEAST_NS   200000000 /* that the sibling must have run or slept for a word on its speed */
#define LONGER	   6	     /* times a window, at most, until it has */
#define SLICE_NS   100000000 /* what it may have waited, or slept, since the kernel counted last */
#define STUCK_MS   60000     /* what a small host may need for a round of each guest */
#define QUARTERS   4
#define WINDOW_MS  (2 * STUCK_MS) /* at least, of a long soak */
#define WINDOWS	   5

static struct place place;
static unsigned int n_guests;
static struct guest {
	struct machine m;
	bool reboots;
	unsigned int n;	       /* reboots */
	unsigned int progress; /* as it was half-way */
} guests[MAX_GUESTS];

/* ---- CPUs ---- */

static cpu_set_t all_cpus;

/* The calling thread, and so the threads and programs it starts: the first CPU, or all others. */
static void pin(bool first)
{
	cpu_set_t set;
	bool seen = false;

	CPU_ZERO(&set);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &all_cpus))
			continue;
		if (first != seen)
			CPU_SET(cpu, &set);
		seen = true;
	}
	sched_setaffinity(0, sizeof(set), &set);
}

/* ---- the guests ---- */

static const char *theme_of(unsigned int i, bool spin)
{
	if (spin)
		return "spin";
	return guests[i].reboots ? "reboot" : "mixed";
}

static void start_guest(unsigned int i, bool spin)
{
	struct place its = place;
	char name[16];

	its.seed += i + 1000 * guests[i].n;
	snprintf(name, sizeof(name), "%u", i);
	hostile_start(&guests[i].m, &its, theme_of(i, spin), name);
}

static void start_all(bool spin)
{
	for (unsigned int i = 0; i < n_guests; i++) {
		guests[i].reboots = i % 2;
		start_guest(i, spin);
	}
}

static void destroy_all(void)
{
	for (unsigned int i = 0; i < n_guests; i++)
		vmm_stop(guests[i].m.vm);
	for (unsigned int i = 0; i < n_guests; i++)
		machine_destroy(&guests[i].m);
}

static void attend_guest(unsigned int i, bool spin)
{
	enum vmm_end end = VMM_END_NONE;

	machine_listen(&guests[i].m, 0);
	if (!machine_ended(&guests[i].m, &end))
		return;
	if (end != VMM_END_REBOOT)
		failed("guest %u has ended in another way: %d, and said last: %s", i, (int)end,
		       guests[i].m.last);
	machine_destroy(&guests[i].m);
	guests[i].n++;
	start_guest(i, spin);
}

/* ---- the sibling ---- */

/* What the vCPU of the sibling has run, and waited for its CPU, in ns. */
struct times {
	uint64_t ran, waited;
};

static struct times times_of(pid_t tid)
{
	unsigned long long ran = 0, waited = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/schedstat", (int)tid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu %llu", &ran, &waited) != 2)
		failed("%s is another than it was", path);
	if (f)
		fclose(f);
	return (struct times){ran, waited};
}

/* The thread of that name; there is one machine in the process then. */
static pid_t find_vcpu(void)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *e;
	pid_t found = 0;

	while (dir && (e = readdir(dir))) {
		char path[64], name[32] = "";
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%.20s/comm", e->d_name);
		f = fopen(path, "re");
		if (f && fgets(name, sizeof(name), f) && strcmp(name, "vmm-vcpu0\n") == 0)
			found = (pid_t)atoi(e->d_name);
		if (f)
			fclose(f);
	}
	if (dir)
		closedir(dir);
	return found;
}

struct speed {
	pid_t vcpu;
	struct machine *sibling;
	unsigned int reads;
	uint64_t since;
	struct times times;
};

static void speed_begin(struct speed *s)
{
	s->reads = healthy_ask(s->sibling);
	s->since = now_ms();
	s->times = times_of(s->vcpu);
}

/*
 * What it has run and slept since then. What a machine does that is asked for nothing is to run; sleep is what somebody else made it wait for.
 * The kernel counts a wait when it is over, so that one that lasts would be taken for sleep.
 */
static uint64_t speed_own(const struct speed *s)
{
	struct times now = times_of(s->vcpu);
	uint64_t ran = now.ran - s->times.ran, waited = now.waited - s->times.waited;
	uint64_t counted = ran + waited + SLICE_NS, wall = (now_ms() - s->since) * 1000000;

	return ran + (wall > counted ? wall - counted : 0);
}

/* Reads in a second of its own, or 0 when others had its CPU for so long that what is left says nothing. */
static double speed_end(const struct speed *s, const char *what)
{
	double reads = healthy_ask(s->sibling) - s->reads;
	double wall = (double)(now_ms() - s->since) / 1e3, own = (double)speed_own(s) / 1e9;

	printf("beside guests that %s: %.0f reads in %.1f s, of which it ran or slept %.2f: %.0f a "
	       "second\n",
	       what, reads, wall, own, reads / own);
	fflush(stdout);
	return own < LEAST_NS / 1e9 ? 0 : reads / own;
}

/* ---- what is used ---- */

static struct {
	double fds, threads, rss;
	unsigned int n;
} quarter[QUARTERS];

static void sample(unsigned int q)
{
	struct usage u = usage_now();

	quarter[q].fds += u.fds;
	quarter[q].threads += u.threads;
	quarter[q].rss += (double)u.rss;
	quarter[q].n++;
}

static void grown(const char *what, double second, double last, double slack)
{
	printf("%s: %.0f in the second quarter, %.0f in the last\n", what, second, last);
	if (last > second * 1.05 + slack)
		failed("%s grow: %.0f, then %.0f", what, second, last);
}

/* Machines come and go, so means are compared. */
static void compare_quarters(void)
{
	for (unsigned int q = 0; q < QUARTERS; q++) {
		unsigned int n = quarter[q].n ? quarter[q].n : 1;

		quarter[q].fds /= n;
		quarter[q].threads /= n;
		quarter[q].rss /= n;
	}
	grown("descriptors", quarter[1].fds, quarter[3].fds, 20);
	grown("threads", quarter[1].threads, quarter[3].threads, 8);
	/* What sanitizers keep of memory that was freed grows for a while. */
	grown("KiB of memory", quarter[1].rss, quarter[3].rss, SANITIZED ? INFINITY : RSS_SLACK);
}

static void compare_usage(const struct usage *before)
{
	struct usage after = usage_settled(before);

	printf("without guests: %d descriptors, %d threads, %ld KiB; before %d, %d, %ld\n",
	       after.fds, after.threads, after.rss, before->fds, before->threads, before->rss);
	if (after.fds > before->fds || after.threads > before->threads)
		failed("descriptors or threads are left");
	if (!SANITIZED && after.rss > before->rss + RSS_SLACK)
		failed("%ld KiB more memory than before", after.rss - before->rss);
}

/* ---- phases ---- */

static unsigned int progress_of(const struct guest *g)
{
	return g->n + g->m.ok;
}

static void note_progress(void)
{
	for (unsigned int i = 0; i < n_guests; i++)
		guests[i].progress = progress_of(&guests[i]);
}

static void check_progress(uint64_t ms)
{
	unsigned int reboots = 0, rounds = 0;

	for (unsigned int i = 0; i < n_guests; i++) {
		if (progress_of(&guests[i]) == guests[i].progress && ms / 2 >= STUCK_MS)
			failed("guest %u (%s) is stuck", i, theme_of(i, false));
		reboots += guests[i].n;
		rounds += guests[i].m.ok;
	}
	printf("%u reboots, %u rounds of those who do not\n", reboots, rounds);
}

/* Attacks are sampled: of all of them, which take all_ms, this is the part from from_ms on. */
static void run(const struct speed *s, uint64_t ms, bool attack, uint64_t from_ms, uint64_t all_ms)
{
	uint64_t since = now_ms(), passed;
	bool half = false;

	while ((passed = now_ms() - since) < ms ||
	       (s && passed < LONGER * ms && times_of(s->vcpu).ran - s->times.ran < LEAST_NS)) {
		for (unsigned int i = 0; i < n_guests; i++)
			attend_guest(i, !attack);
		if (attack && passed < ms)
			sample((unsigned int)((from_ms + passed) * QUARTERS / all_ms));
		if (attack && !half && passed > ms / 2) {
			note_progress();
			half = true;
		}
		usleep(STEP_MS * 1000);
	}
}

static double run_spinning(struct speed *s, uint64_t ms)
{
	double speed;

	start_all(true);
	speed_begin(s);
	run(s, ms, false, 0, ms);
	speed = speed_end(s, "compute");
	destroy_all();
	return speed;
}

static double run_attacking(struct speed *s, uint64_t ms, uint64_t from_ms, uint64_t all_ms)
{
	unsigned int lines = log_lines();
	double speed;

	start_all(false);
	speed_begin(s);
	run(s, ms, true, from_ms, all_ms);
	speed = speed_end(s, "attack");
	check_progress(ms);
	destroy_all();
	printf("%u lines of log\n", log_lines() - lines);
	return speed;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Returns how much of its speed the sibling keeps, or a negative number when the host had no CPU for it. */
static double soak(struct speed *s, uint64_t ms)
{
	unsigned int n = ms < WINDOW_MS ? 1 : (unsigned int)(ms / WINDOW_MS), n_kept = 0;
	double kept[WINDOWS], before, attacked, after;
	uint64_t window, alone;

	n = n < WINDOWS ? n : WINDOWS;
	window = ms / n, alone = window / 10 + 2000;
	before = run_spinning(s, alone);
	for (unsigned int i = 0; i < n; i++) {
		attacked = run_attacking(s, window, i * window, n * window);
		after = run_spinning(s, alone);
		if (before > 0 && attacked > 0 && after > 0) {
			kept[n_kept++] = 2 * attacked / (before + after);
			printf("the sibling keeps %.0f %% of its speed\n", 100 * kept[n_kept - 1]);
		}
		before = after;
		place.seed += MAX_GUESTS; /* other attacks in the next */
	}
	compare_quarters();
	if (n_kept == 0)
		return -1;
	qsort(kept, n_kept, sizeof(kept[0]), by_size);
	return (kept[n_kept / 2] + kept[(n_kept - 1) / 2]) / 2;
}

int main(int argc, char **argv)
{
	struct machine sibling;
	struct speed s = {.sibling = &sibling};
	struct usage before;
	double kept;
	uint64_t ms;

	if (argc != 7)
		return 1;
	signal(SIGPIPE, SIG_IGN);
	place = (struct place){.guest = argv[1],
			       .dir = argv[2],
			       .mmio = strcmp(argv[3], "mmio") == 0,
			       .seed = strtoull(argv[4], NULL, 0),
			       .rounds = 1,
			       .cpus = 1};
	ms = strtoull(argv[5], NULL, 0) * 1000;
	n_guests = (unsigned int)atoi(argv[6]);
	if (n_guests == 0 || n_guests > MAX_GUESTS)
		return 1;
	log_watch();
	violations_watch();
	doing("the soak");
	sched_getaffinity(0, sizeof(all_cpus), &all_cpus);
	if (CPU_COUNT(&all_cpus) < 2) {
		printf("skipped: the sibling needs a CPU of its own beside the others'\n");
		return 77;
	}

	pin(true);
	healthy_start(&sibling, &place, "healthy");
	healthy_ask(&sibling);
	s.vcpu = find_vcpu(); /* by now it has its name */
	pin(false);
	start_all(false);
	run(NULL, WARM_MS, false, 0, WARM_MS);
	destroy_all();
	before = usage_settled(&(struct usage){.fds = usage_now().fds});

	kept = soak(&s, ms);
	compare_usage(&before);
	if (kept >= 0 && kept < SLOWER)
		failed("the sibling keeps %.0f %% of its speed", 100 * kept);
	machine_destroy(&sibling);
	if (n_failed() == 0 && kept < 0) {
		printf("skipped: how much of its speed the sibling keeps is not known, for other "
		       "programs had its CPU; all else is well\n");
		return 77;
	}
	return n_failed() != 0;
}
