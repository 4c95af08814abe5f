/*
 * Starts the library's threads: small stack, a name, and no signals.
 *
 * Signals belong to the program, so a thread blocks all of them from its first instruction on, but for those
 * that a crash raises in the thread itself: blocked, they would kill the process without the program's handler.
 *
 * Any thread may call it.
 */
#pragma once

#include <pthread.h>

/* Returns 0 or negative errno. name has 15 characters at most. The caller joins the thread. */
int thread_start(pthread_t *thread, const char *name, void *(*fn)(void *arg), void *arg);
