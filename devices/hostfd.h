/*
 * Reading and writing a descriptor that others share, without ever blocking and without touching O_NONBLOCK,
 * which lives in the open file description and would hit the shell and the other users of a terminal.
 *
 * How, by kind: a pipe or terminal is opened once more through /proc/self/fd with O_NONBLOCK; a socket is used with
 * MSG_DONTWAIT; a regular file or block device never waits long; anything else, and what cannot be
 * reopened (no /proc, other owner, a pty's master side), is polled before each small transfer.
 *
 * Owner: whoever opened it; the given descriptor is duplicated and stays the caller's. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum hostfd_kind {
	HOSTFD_PLAIN,	   /* never waits: regular file, or reopened with O_NONBLOCK */
	HOSTFD_SOCKET,	   /* asked not to wait each time */
	HOSTFD_POLLED,	   /* may wait: ask poll() first, little at a time */
	HOSTFD_POLLED_TTY, /* the same, where poll() promises a few bytes only */
};

struct hostfd {
	/* immutable after open */
	int fd; /* own; for epoll */
	enum hostfd_kind kind;
	bool tty;
};

/* mode is O_RDONLY or O_WRONLY. Returns 0 or negative errno. */
int hostfd_open(struct hostfd *host, int fd, int mode);

/* Return the number of bytes, which may be short, 0 at the end of the input, or negative errno: -EAGAIN to wait. */
ssize_t hostfd_read(const struct hostfd *host, void *buf, size_t len);
ssize_t hostfd_write(const struct hostfd *host, const void *buf, size_t len);

void hostfd_close(struct hostfd *host);
