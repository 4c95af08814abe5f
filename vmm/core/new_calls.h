/*
 * System calls that are newer than the C library which vmm is built with may be, by their numbers. Each returns what the C library's
 * function would; ENOSYS where the kernel is older. Any thread.
 */
#pragma once

#include <fcntl.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#if !__GLIBC_PREREQ(2, 36)
#include <linux/mount.h> /* after the other, which has it all in newer ones */
#endif
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* glibc 2.36 */
static inline int new_open_tree(int dir, const char *path, unsigned int flags)
{
	return (int)syscall(SYS_open_tree, dir, path, flags);
}

static inline int new_move_mount(int from_dir, const char *from, int to_dir, const char *to,
				 unsigned int flags)
{
	return (int)syscall(SYS_move_mount, from_dir, from, to_dir, to, flags);
}

static inline int new_mount_setattr(int dir, const char *path, unsigned int flags,
				    const struct mount_attr *attr)
{
	return (int)syscall(SYS_mount_setattr, dir, path, flags, attr, sizeof(*attr));
}

/* glibc 2.35 */
static inline int new_epoll_pwait2(int epoll, struct epoll_event *events, int n,
				   const struct timespec *timeout)
{
	return (int)syscall(SYS_epoll_pwait2, epoll, events, n, timeout, NULL, (size_t)0);
}
