/*
 * Landlock (Linux 5.13): the process can reach no file by name any more, nor ports of TCP, nor others' abstract sockets,
 * nor send signals to others, as far as this kernel's version of it goes.
 *
 * Owner's thread; threads that it starts later are bound too. Needs PR_SET_NO_NEW_PRIVS.
 */
#pragma once

#include "vmm/sandbox/confine.h"

/* Names in the directories remove_in may still be removed, and files in trees read, where they say so. Returns 0 or negative errno; -ENOSYS, -EOPNOTSUPP: there is none. */
int landlock_deny(const int *remove_in, unsigned int n, const struct confine_tree *const *trees,
		  unsigned int n_trees);
