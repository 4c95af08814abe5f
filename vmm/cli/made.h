/*
 * The files that a start makes before it is known whether there will be a machine: they go again when there is none, be it that a
 * signal ends the program before.
 *
 * What is known of them is global, as a signal handler has to reach it. One thread.
 */
#pragma once

#include <sys/types.h>

/*
 * Opens a file, which is made if it is not there yet; one that a symbolic link leads to is not known to be new. Returns a descriptor, or negative
 * errno. path stays the caller's, and valid.
 */
int made_open(const char *path, int flags, mode_t mode);

/* There is no machine: removes them. */
void made_abandon(void);

/* There is one: they stay. */
void made_keep(void);
