/*
 * What is mounted in this process' mount namespace; and which file systems are the kernel's own, through which it is looked into, or
 * spoken to.
 *
 * Nothing is kept. Any thread.
 */
#pragma once

#include <mntent.h>
#include <stdbool.h>
#include <stdint.h>

typedef int mounts_fn(const struct mntent *entry, const void *arg);

/* Of each mount, until fn returns something else than 0: returns that, or 0; negative errno when they are not known. */
int mounts_each(mounts_fn *fn, const void *arg);

/* Whether something is mounted below the directory, or that cannot be told. */
bool mounts_are_below(const char *path);

#define MOUNTS_KERNELS_OWN 27

/* The kernel's own, by the numbers that statfs() has. */
extern const uint32_t mounts_kernels_own[MOUNTS_KERNELS_OWN];
/* The same by the names that mounts have, but for autofs: what is mounted below or over that is a file system as others are. */
bool mounts_is_kernels_own(const char *type);
