/*
 * Whether a guest that boots has been silent for too long: what --boot-timeout counts.
 *
 * A guest that wants to run and is not let, for the host is busy with others, has not been silent for that time: while its first
 * vCPU runs, only what it runs counts. One that waits, or hangs without running, is silent by the clock; and none for
 * longer than BOOT_WATCH_PATIENCE times the timeout. Time in which vmm itself did not run, for it was stopped or frozen, counts for neither.
 *
 * Times are ms of CLOCK_MONOTONIC. Owner: struct command. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define BOOT_WATCH_PATIENCE 10

struct boot_watch {
	uint64_t timeout; /* ms; 0: nothing is watched (any more) */
	uint64_t heard;	  /* its last word, or the beginning; later by what does not count */
	uint64_t seen;	  /* when was last looked, or heard */
	uint64_t silence; /* ms so far */
	uint64_t ran;	  /* ns that the vCPU had run by then */
};

void boot_watch_begin(struct boot_watch *watch, uint64_t timeout, uint64_t now);
void boot_watch_hear(struct boot_watch *watch, uint64_t now);
void boot_watch_end(struct boot_watch *watch);

/* When boot_watch_look() wants to be called; UINT64_MAX: never. */
uint64_t boot_watch_next(const struct boot_watch *watch);

/* ran: what the vCPU has run up to now, in ns. Returns whether the time is up. */
bool boot_watch_look(struct boot_watch *watch, uint64_t now, uint64_t ran);
