/*
 * The host around a device in a fuzz target, made so that runs repeat: a clock that stands still until the target says
 * otherwise, an event loop that the target's own thread turns, entropy that is none, and a log that is counted.
 *
 * Linked in by --wrap (see CMakeLists.txt): clock_gettime() of CLOCK_MONOTONIC gives the world's time, getrandom() numbers in
 * ascending order, and pthread_cond_wait() on the target's thread turns the loop instead, because nobody else would. A
 * target whose device waits for threads says so by busy().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/evloop.h"

#define WORLD_MS UINT64_C(1000000)

/* Begins a run: with a new loop, and the clock at a second. */
void world_begin(struct evloop *loop, bool (*busy)(void));

/* Turns the loop until it has nothing to do and nothing is busy. A loop that spins fails the run. */
void world_settle(void);

/* One turn of the loop, if it has anything to do: what a guest in a hurry waits for. */
void world_step(void);

/* The clock goes on, and timers that are due run. */
void world_sleep(uint64_t ns);

/* getrandom() fails from now on, or does not. */
void world_set_random_fails(bool fails);

/* The device is finished, but for its loop. Fails the run when descriptors were left open or the log was flooded. */
void world_end(void);
