/*
 * The files that the command line names are looked for at once: before it takes long to find out about others, or a kernel is looked for
 * that nobody has named.
 *
 * The main thread.
 */
#pragma once

#include "vmm/cli/options.h"

/* The descriptors that it names or means are those of who started the program: before it opens any itself. Returns as below. */
int named_check_open(const struct options *options);

/* Returns 0, or negative errno after one line on stderr. What else may be wrong with them is found out by who opens them. */
int named_check(const struct options *options);

/* Why it could not be opened for writing, err being a negative errno. */
const char *named_why(const char *path, int err);

/* Says what may have been meant by a root that is none. Returns whether it has. */
bool named_hint(const struct options *options);
