#include "devices/hostfd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/*
 * What poll() calls writable takes so much without waiting: a pipe PIPE_BUF; a pty, whose buffer grows in steps of
 * 256 bytes, takes this much, and a serial terminal more. But what a terminal may make other bytes of (newline, return and tab) asks
 * for room anew, and a write that has bytes before it may wait.
 */
#define TTY_CHUNK 64

/* /dev/ptmx: opening it again would make a new pty instead of reaching this one. */
static bool hostfd_is_ptmx(const struct stat *st)
{
	return major(st->st_rdev) == 5 && minor(st->st_rdev) == 2;
}

/* A descriptor of our own for the same pipe or terminal, with O_NONBLOCK. Returns it or negative errno. */
static int hostfd_reopen(int fd, const struct stat *st, bool tty, int mode)
{
	char path[32];
	int own;

	if (!S_ISFIFO(st->st_mode) && !(tty && !hostfd_is_ptmx(st)))
		return -ENOTSUP;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return own < 0 ? -errno : own;
}

static enum hostfd_kind hostfd_kind_of(const struct stat *st, bool tty)
{
	if (S_ISSOCK(st->st_mode))
		return HOSTFD_SOCKET;
	if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode))
		return HOSTFD_PLAIN;
	return tty ? HOSTFD_POLLED_TTY : HOSTFD_POLLED;
}

int hostfd_open(struct hostfd *host, int fd, int mode)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	host->tty = isatty(fd);
	host->kind = HOSTFD_PLAIN;
	host->fd = hostfd_reopen(fd, &st, host->tty, mode);
	if (host->fd >= 0)
		return 0;
	/* A duplicate, because epoll refuses to watch one descriptor for input and output apart. */
	host->kind = hostfd_kind_of(&st, host->tty);
	host->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return host->fd < 0 ? -errno : 0;
}

/* Returns 0 when a transfer will not wait, -EAGAIN when it might. */
static int hostfd_poll(const struct hostfd *host, short events)
{
	struct pollfd pfd = {.fd = host->fd, .events = events};

	if (host->kind != HOSTFD_POLLED && host->kind != HOSTFD_POLLED_TTY)
		return 0;
	if (poll(&pfd, 1, 0) <= 0)
		return -EAGAIN;
	/*
	 * Errors and hang-ups count as ready: the transfer reports them. But a pty whose other side nobody has open takes output
	 * until it is full, and a write would wait then for who may come.
	 */
	return events == POLLOUT && host->tty && pfd.revents == POLLHUP ? -EAGAIN : 0;
}

static size_t hostfd_tty_chunk(const char *buf, size_t len)
{
	size_t n = 0;

	while (n < len && n < TTY_CHUNK && buf[n] != '\n' && buf[n] != '\r' && buf[n] != '\t')
		n++;
	return n > 0 ? n : 1;
}

/* Other names of EAGAIN, and interrupted calls, are all "later". */
static ssize_t hostfd_result(ssize_t n)
{
	if (n >= 0)
		return n;
	return errno == EWOULDBLOCK || errno == EINTR ? -EAGAIN : -errno;
}

ssize_t hostfd_read(const struct hostfd *host, void *buf, size_t len)
{
	int err = hostfd_poll(host, POLLIN);

	if (err < 0)
		return err;
	if (host->kind == HOSTFD_SOCKET)
		return hostfd_result(recv(host->fd, buf, len, MSG_DONTWAIT));
	return hostfd_result(read(host->fd, buf, len));
}

ssize_t hostfd_write(const struct hostfd *host, const void *buf, size_t len)
{
	int err = hostfd_poll(host, POLLOUT);

	if (err < 0)
		return err;
	if (host->kind == HOSTFD_SOCKET)
		return hostfd_result(send(host->fd, buf, len, MSG_DONTWAIT | MSG_NOSIGNAL));
	if (host->kind == HOSTFD_POLLED && len > PIPE_BUF)
		len = PIPE_BUF;
	if (host->kind == HOSTFD_POLLED_TTY)
		len = hostfd_tty_chunk(buf, len);
	return hostfd_result(write(host->fd, buf, len));
}

void hostfd_close(struct hostfd *host)
{
	close(host->fd);
	host->fd = -1;
}
