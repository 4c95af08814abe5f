/*
 * The files that a start makes before it is known whether there will be a machine: they go again when there is none, be it that a
 * signal ends the program before.
 *
 * What is known of them is global, as a signal handler has to reach it. One thread.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * Opens a file, which is made if it is not there yet; one that a symbolic link leads to is not known to be new. Returns a descriptor, or negative
 * errno. path stays the caller's, and valid.
 */
int made_open(const char *path, int flags, mode_t mode);

/*
 * Locks what is open there, for as long as it is, as disks are, so that nothing is written into another machine's disk, console, dump or
 * events, nor into this one's. path is the name that it was opened by: a file that another start has taken, or removed again, meanwhile is not
 * ours to remove. Returns NULL, also for what is no regular file or cannot be locked, or why not.
 */
const char *made_lock(int fd, const char *path);

/* Whether made_open() has made the file of that path, by the same pointer. */
bool made_has(const char *path);

/* There is no machine: removes them. */
void made_abandon(void);

/* There is one: they stay. */
void made_keep(void);
