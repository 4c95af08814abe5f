#include "vmm/cli/boot_watch.h"

#define BOOT_WATCH_STEP 1000 /* ms between looks, at most */
#define BOOT_WATCH_LATE 3000 /* ms: the process was frozen meanwhile, or its host stopped */

/* Of the time, in percent: one of fifty guests on a CPU still gets more, and one that only keeps its clock less. */
#define BOOT_WATCH_RUNS 1

void boot_watch_begin(struct boot_watch *watch, uint64_t timeout, uint64_t now)
{
	*watch = (struct boot_watch){.timeout = timeout, .heard = now, .seen = now};
}

void boot_watch_hear(struct boot_watch *watch, uint64_t now)
{
	watch->heard = now;
	watch->seen = now;
	watch->silence = 0;
}

void boot_watch_end(struct boot_watch *watch)
{
	watch->timeout = 0;
}

uint64_t boot_watch_next(const struct boot_watch *watch)
{
	uint64_t left;

	if (watch->timeout == 0)
		return UINT64_MAX;
	left = watch->timeout > watch->silence ? watch->timeout - watch->silence : 0;
	return watch->seen + (left < BOOT_WATCH_STEP ? left + 1 : BOOT_WATCH_STEP);
}

bool boot_watch_look(struct boot_watch *watch, uint64_t now, uint64_t ran)
{
	uint64_t passed = now - watch->seen, run = (ran - watch->ran) / 1000000;

	if (watch->timeout == 0 || now < boot_watch_next(watch))
		return false;
	watch->seen = now;
	/* Who looks so late did not run, and no more did the guest. */
	if (passed > BOOT_WATCH_LATE) {
		watch->heard += passed - BOOT_WATCH_STEP;
		passed = BOOT_WATCH_STEP;
	}
	watch->ran = ran;
	watch->silence += run < passed && run * 100 >= passed * BOOT_WATCH_RUNS ? run : passed;
	return watch->silence >= watch->timeout ||
	       now - watch->heard >= BOOT_WATCH_PATIENCE * watch->timeout;
}
