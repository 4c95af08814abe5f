/*
 * What a start is at, for a user at a terminal, once it has taken a second; nobody else sees or pays for it.
 *
 * The start of a program is one, so its clock is too. The main thread's alone; while the machine is made another thread tells, for
 * the main one may be busy in the library.
 */
#pragma once

#include <stdint.h>

/* From here on the time counts, and until progress_made() what is told last is shown anew each second. */
void progress_begin(void);

/* Between the steps of a long work. what: "packing", of: a name, or "". */
void progress_step(const char *what, const char *of);

/* The machine is made; what follows is to be told step by step. The other thread has ended. */
void progress_made(void);

/* When progress_step() would like to be called (ms of CLOCK_MONOTONIC); UINT64_MAX: never. */
uint64_t progress_next(void);

/* It has come to its end. */
void progress_end(void);
