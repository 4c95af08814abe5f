#define _GNU_SOURCE
#include "holdings.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

/* ThreadSanitizer has one of its own. */
#ifdef __SANITIZE_THREAD__
#define OWN_THREADS 2
#else
#define OWN_THREADS 1
#endif

int failures;
_Atomic int errors_logged;
char last_logged[1024];

static void on_log(void *arg, int level, const char *line)
{
	(void)arg;
	if (level != VMM_LOG_ERROR)
		return;
	errors_logged++;
	snprintf(last_logged, sizeof(last_logged), "%s", line);
}

void holdings_log(void)
{
	vmm_log_set_level(VMM_LOG_ERROR);
	vmm_log_set_sink(on_log, NULL);
}

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

void take_stock(struct holdings *h)
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

void compare(const struct holdings *before, const struct holdings *after, const char *when)
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

void compare_maps(const struct holdings *before, const struct holdings *after, int rounds)
{
	long grown = ((long)after->pages - (long)before->pages) / 256;

	if (SANITIZED)
		return;
	CHECK(after->maps - before->maps < rounds / 2, "%d maps, before %d", after->maps,
	      before->maps);
	CHECK(grown < 64, "%ld MiB of address space more than before", grown);
}
