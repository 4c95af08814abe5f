#include "vmm/cli/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include "vmm/cli/report.h"

#define PROGRESS_STEP 1000 /* ms until there is something to see, and between two looks */

static struct {
	pthread_t thread;
	bool helped; /* there is that thread */
	/* under lock */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool made;
	uint64_t began, due;
	char text[80];
} progress = {
	.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .due = UINT64_MAX};

/* ms */
static uint64_t progress_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The lock is held. */
static void progress_show(void)
{
	uint64_t now = progress_now();

	if (now < progress.due)
		return;
	progress.due = report_status("%s (%llu s)", progress.text,
				     (unsigned long long)(now - progress.began) / 1000)
			       ? now + PROGRESS_STEP
			       : UINT64_MAX;
}

static void *progress_thread(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&progress.lock);
	while (!progress.made) {
		uint64_t until = progress_now() + PROGRESS_STEP;
		const struct timespec at = {.tv_sec = (time_t)(until / 1000),
					    .tv_nsec = (long)(until % 1000) * 1000000};

		pthread_cond_clockwait(&progress.cond, &progress.lock, CLOCK_MONOTONIC, &at);
		if (!progress.made)
			progress_show();
	}
	pthread_mutex_unlock(&progress.lock);
	return NULL;
}

void progress_begin(void)
{
	sigset_t all, old;

	if (!report_is_terminal())
		return;
	progress.began = progress_now();
	progress.due = progress.began + PROGRESS_STEP;
	snprintf(progress.text, sizeof(progress.text), "making the machine");
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	progress.helped = pthread_create(&progress.thread, NULL, progress_thread, NULL) == 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

void progress_step(const char *what, const char *of)
{
	pthread_mutex_lock(&progress.lock);
	if (progress.due != UINT64_MAX) {
		snprintf(progress.text, sizeof(progress.text), "%s%s%.50s", what, *of ? " " : "",
			 of);
		progress_show();
	}
	pthread_mutex_unlock(&progress.lock);
}

void progress_made(void)
{
	if (!progress.helped)
		return;
	pthread_mutex_lock(&progress.lock);
	progress.made = true;
	pthread_cond_signal(&progress.cond);
	pthread_mutex_unlock(&progress.lock);
	pthread_join(progress.thread, NULL);
	progress.helped = false;
}

uint64_t progress_next(void)
{
	return progress.due;
}

void progress_end(void)
{
	progress_made();
	progress.due = UINT64_MAX;
	report_status_end();
}
