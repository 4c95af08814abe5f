/*
 * Writing to what nobody may read any more, on a thread that is not ours and may die of SIGPIPE. Our own block it.
 *
 * Any thread; hold and release in pairs.
 */
#pragma once

#include <signal.h>

/* From here on SIGPIPE waits. */
void sigpipe_hold(sigset_t *old);

/* One that has come meanwhile is gone, unless it was held off before. errno is preserved. */
void sigpipe_release(const sigset_t *old);
