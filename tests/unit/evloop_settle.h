/*
 * Waiting, in a test, until an event loop has done what it had to do.
 */
#pragma once

#include <stdatomic.h>
#include <unistd.h>

#include "vmm/core/evloop.h"

struct evloop_settle {
	struct evloop *loop;
	struct evloop_timer timer;
	_Atomic bool done;
};

static inline void evloop_settle_fired(void *arg)
{
	struct evloop_settle *settle = arg;

	atomic_store(&settle->done, true);
}

static inline void evloop_settle_arm(void *arg)
{
	struct evloop_settle *settle = arg;

	evloop_timer_set(settle->loop, &settle->timer, 0);
}

/*
 * Any thread but the loop's; the loop runs. What was ready or posted before the call has been served when it
 * returns: a timer ends each turn of the loop, so that every round below is a turn with a batch of its own.
 */
static inline void evloop_settle(struct evloop *loop)
{
	for (int round = 0; round < 4; round++) {
		struct evloop_settle settle = {.loop = loop};

		settle.timer = (struct evloop_timer){.fn = evloop_settle_fired, .arg = &settle};
		evloop_call(loop, evloop_settle_arm, &settle);
		while (!atomic_load(&settle.done))
			usleep(20);
	}
}
