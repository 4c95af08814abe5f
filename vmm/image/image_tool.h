/*
 * A program that makes a file system from what it reads: mksquashfs and the like. While it runs, the signals that end this process
 * wait: between two steps they end the program first, so that nothing is left behind.
 *
 * Owner: the caller. The main thread, before there are others.
 */
#pragma once

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/image/image_why.h"

#define IMAGE_SQFSTAR "sqfstar" /* what container images are made into file systems by */

struct image_tool {
	const char *name;
	const char *package; /* of Debian's that has it */
	pid_t pid;
	int to;	    /* its standard input; -1: none */
	int errors; /* what it says */
	sigset_t old_mask;
	const char *remove; /* a file that it makes; NULL: it has no name */
};

/* Called now and then by who waits. */
typedef void image_progress_fn(void *arg, const char *what, const char *of);

struct image_progress {
	image_progress_fn *fn;
	void *arg;
};

void image_progress(const struct image_progress *progress, const char *what, const char *of);

/* Where PATH leads to the program, or /usr/sbin. Returns whether it is there. */
bool image_tool_find(const char *name, char path[static PATH_MAX]);

/* name and package are set. Returns 0, or -ENOENT: it is told before long work is done for nothing. */
int image_tool_check(const struct image_tool *tool, struct image_why *why);

/*
 * name, package and remove are set. argv[0] is name. file becomes its descriptor 3, unless it is -1; no other comes to it. feeds: it reads
 * what image_tool_write() writes. Returns 0 or negative errno.
 */
int image_tool_start(struct image_tool *tool, char *const argv[], int file, bool feeds,
		     struct image_why *why);

/* Whether a signal wants us to end; then it is killed, and the signal let through. */
bool image_tool_is_interrupted(struct image_tool *tool);

/* Returns 0, or -EPIPE when it has gone; image_tool_finish() knows why. */
int image_tool_write(struct image_tool *tool, const void *bytes, size_t size);

/* No more comes. Waits for its end. Returns 0, or -EIO when it has failed. */
int image_tool_finish(struct image_tool *tool, const struct image_progress *progress,
		      struct image_why *why);

/* Kills it. */
void image_tool_abandon(struct image_tool *tool);
