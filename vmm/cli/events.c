#include "vmm/cli/events.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vmm/cli/made.h"
#include "vmm/cli/named.h"
#include "vmm/cli/report.h"
#include "vmm/cli/value.h"

#define EVENTS_LINE 4096 /* a pipe takes so much in one piece */

static uint64_t events_now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

int events_open(struct events *events, const char *what)
{
	/* O_NONBLOCK: a pipe that nobody reads is an error, not something to wait for. O_APPEND: others may empty the file. */
	const int flags = O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_APPEND;
	uint64_t number;
	const char *why;
	struct stat st;
	int err;

	*events = (struct events){.fd = -1, .began = events_now(CLOCK_MONOTONIC)};
	if (!what)
		return 0;
	if (strncmp(what, "fd=", 3) == 0) {
		/*
		 * A duplicate: what we have inherited is closed in the sandbox. Ours close on exec, which no inherited one does: /dev/null
		 * in the place of a closed one, for example.
		 */
		if (value_number(what + 3, 0, 1 << 20, &number) == 0 &&
		    fcntl((int)number, F_GETFD) == 0)
			events->fd = fcntl((int)number, F_DUPFD_CLOEXEC, 0);
		if (events->fd < 0 || (fcntl(events->fd, F_GETFL) & O_ACCMODE) == O_RDONLY) {
			report("--events '%s': there is no such descriptor%s", what,
			       events->fd < 0 ? "" : " to write to");
			return -EBADF;
		}
		events->owned = true;
		return 0;
	}
	events->fd = made_open(what, flags, 0666);
	if (events->fd < 0) {
		err = events->fd;
		report("cannot open '%s' for --events: %s", what, named_why(what, err));
		return err;
	}
	why = made_lock(events->fd, what);
	if (why) {
		report("cannot open '%s' for --events: %s", what, why);
		close(events->fd);
		events->fd = -1;
		return -EBUSY;
	}
	events->owned = true;
	events->fresh = fstat(events->fd, &st) == 0 && S_ISREG(st.st_mode);
	return 0;
}

/* A pipe that is full, for nobody reads it, is an error, not something to wait for: there is room for a line when it polls writable. */
static ssize_t events_try(int fd, const char *line, size_t len)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	int ready = poll(&pfd, 1, 0);

	if (ready > 0)
		return write(fd, line, len);
	if (ready == 0)
		errno = EAGAIN;
	return -1;
}

static void events_write(struct events *events, const char *line, size_t len)
{
	const size_t whole = len;
	bool full;
	ssize_t n;
	int err;

	/* What was there before is lost when there is something new, and not for a start that is refused. */
	if (events->fresh && ftruncate(events->fd, 0) == 0)
		events->fresh = false;
	/* What a file has no room for is an error at the second try. */
	while ((n = events_try(events->fd, line, len)) >= 0 || errno == EINTR) {
		if (n < 0)
			continue;
		line += n;
		len -= (size_t)n;
		if (len == 0) {
			events->full = events->cut = false;
			return;
		}
	}
	err = errno;
	full = err == ENOSPC || err == EDQUOT;
	if (!events->full || !full)
		report("cannot write to --events: %s",
		       err == EAGAIN ? "nobody reads them, and the pipe is full" : strerror(err));
	events->full = full;
	events->cut |= len < whole;
	if (!full)
		events_close(events);
}

void events_tell(struct events *events, uint64_t ago, const char *name, const char *fmt, ...)
{
	uint64_t time, elapsed;
	char line[EVENTS_LINE];
	va_list args;
	int len;

	if (events->fd < 0)
		return;
	elapsed = events_now(CLOCK_MONOTONIC) - events->began;
	ago = ago < elapsed ? ago : elapsed; /* a guest may have said it */
	time = (events_now(CLOCK_REALTIME) - ago) / 1000;
	elapsed = (elapsed - ago) / 1000;
	len = snprintf(line, sizeof(line),
		       "%s{\"time\":%llu.%06llu,\"elapsed\":%llu.%06llu,\"event\":\"%s\"",
		       events->cut ? "\n" : "", (unsigned long long)time / 1000000,
		       (unsigned long long)time % 1000000, (unsigned long long)elapsed / 1000000,
		       (unsigned long long)elapsed % 1000000, name);
	va_start(args, fmt);
	len += vsnprintf(line + len, sizeof(line) - (size_t)len, fmt, args);
	va_end(args);
	if (len > (int)sizeof(line) - 3)
		return; /* callers bound their text */
	line[len++] = '}';
	line[len++] = '\n';
	events_write(events, line, (size_t)len);
}

const char *events_quote(char *buf, size_t size, const char *text)
{
	size_t at = 0;

	buf[at++] = '"';
	/* The longest character and the end need 8 bytes. */
	while (*text && at + 8 <= size) {
		size_t n = report_character(text);

		if (n == 0 || (uint8_t)*text < 0x20 || *text == 0x7f)
			at += (size_t)snprintf(buf + at, size - at, "\\u%04x",
					       n > 0 ? (unsigned int)*text : 0xfffd);
		else if (*text == '"' || *text == '\\')
			buf[at++] = '\\', buf[at++] = *text;
		else
			memcpy(buf + at, text, n), at += n;
		text += n > 0 ? n : 1;
	}
	buf[at++] = '"';
	buf[at] = '\0';
	return buf;
}

void events_close(struct events *events)
{
	if (events->owned)
		close(events->fd);
	events->fd = -1;
	events->owned = false;
}
