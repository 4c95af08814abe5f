/*
 * What a file of the host's is, and the file system that it is on. Nothing is kept. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* What nodes go by, and all else that the guest is told of a file. Returns 0 or negative errno. */
int fs_stat_get(int fd, struct statx *st);
/* The same, cheaper, where it is known which mount shows the file; 0: it is not. */
int fs_stat_on(int fd, uint64_t mount, struct statx *st);
/* Tells file systems apart; no number of the kernel's. */
dev_t fs_stat_dev(const struct statx *st);

/* Whether it is on a file system through which the host's kernel is looked into, or spoken to; or negative errno: it may be. */
int fs_stat_is_kernels_own(int fd);

/* Whether it is on one where a write may fail when its file is closed, or that cannot be told. */
bool fs_stat_flushes(int fd);

/* Whether it is on one that is nowhere but in memory, so that reading never waits. (What is swapped out does not count.) */
bool fs_stat_is_in_memory(int fd);
