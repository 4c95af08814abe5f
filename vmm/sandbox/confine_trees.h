/*
 * The directories that a process keeps when it gives up all others (confine.h): none of them leads up any more, and what the kernel
 * shows of this host below shared ones is covered.
 *
 * Once, by the process's only thread, in a mount namespace of its own, while names still lead to them.
 */
#pragma once

#include "vmm/sandbox/confine.h"

/* Of options: those in which names are removed, and the trees. Returns 0, or negative errno, of the first that failed; all are tried. */
int confine_trees_cut(const struct confine_options *options);
