#include "vmm/cli/progress.h"

#include <time.h>

#include "vmm/cli/report.h"

#define PROGRESS_STEP 1000 /* ms until there is something to see, and between two looks */

static uint64_t progress_began, progress_due = UINT64_MAX;

static uint64_t progress_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void progress_begin(void)
{
	progress_began = progress_now();
	progress_due = progress_began + PROGRESS_STEP;
}

void progress_step(const char *what, const char *of)
{
	uint64_t now;

	if (progress_due == UINT64_MAX)
		return;
	now = progress_now();
	if (now < progress_due)
		return;
	progress_due = report_status("%s%s%.50s (%llu s)", what, *of ? " " : "", of,
				     (unsigned long long)(now - progress_began) / 1000)
			       ? now + PROGRESS_STEP
			       : UINT64_MAX;
}

uint64_t progress_next(void)
{
	return progress_due;
}

void progress_end(void)
{
	progress_due = UINT64_MAX;
	report_status_end();
}
