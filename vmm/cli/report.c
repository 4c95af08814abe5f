#include "vmm/cli/report.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define REPORT_LINE   9216	/* bytes; two names of files, as long as they can be */
#define REPORT_STATUS 79	/* columns */
#define REPORT_MOMENT 10000000L /* ns */
#define REPORT_CHUNK  64
#define REPORT_READER 2000 /* ms */

size_t report_character(const char *text)
{
	const uint8_t *t = (const uint8_t *)text;
	size_t n = t[0] < 0x80 ? 1 : t[0] < 0xc2 ? 0 : t[0] < 0xe0 ? 2 : t[0] < 0xf0 ? 3 : 4;

	if (t[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((t[i] & 0xc0) != 0x80)
			return 0;
	}
	/* longer than need be, halves of a pair, and what is beyond the last character */
	if ((t[0] == 0xe0 && t[1] < 0xa0) || (t[0] == 0xed && t[1] > 0x9f) ||
	    (t[0] == 0xf0 && t[1] < 0x90) || (t[0] == 0xf4 && t[1] > 0x8f))
		return 0;
	return n;
}

/* What was typed, and what a guest writes, may hold anything; a message is one line, and does not steer a terminal. */
void report_clean(char *line)
{
	while (*line) {
		const uint8_t *c = (const uint8_t *)line;
		size_t n = report_character(line);

		/* U+0080 to U+009F are controls too. */
		if (n > 0 && c[0] >= ' ' && c[0] != 0x7f && !(c[0] == 0xc2 && c[1] < 0xa0)) {
			line += n;
			continue;
		}
		*line++ = '?';
	}
}

/* ---- the terminal ---- */

/* stderr is one for the whole program. */
static struct {
	pthread_mutex_t lock;
	size_t status;	  /* columns that the line of what we are at takes; 0: there is none */
	bool unread;	  /* nobody has read for so long that nobody waits for it any more */
	atomic_bool over; /* nor will there be */
} report_terminal = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Whether it can do more than write lines. */
static bool report_is_able(void)
{
	const char *term = getenv("TERM");

	return term && strcmp(term, "dumb") != 0;
}

bool report_is_terminal(void)
{
	return report_is_able() && isatty(STDERR_FILENO);
}

/*
 * The lock is held. What does not fit is dropped: at once for who must not wait, for all others when nobody has read for a
 * while, or the end of which they tell would never come. Once poll() calls them writable a pipe takes a page, a terminal a
 * little, and a newline only if nothing comes before it.
 */
static void report_write(const char *text, size_t len, bool wait)
{
	/* Where a line of what we are at stands is a terminal: who wipes it has no right to ask. */
	bool terminal = report_terminal.status > 0 || isatty(STDERR_FILENO);
	size_t chunk, most = terminal ? REPORT_CHUNK : PIPE_BUF;
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
	ssize_t n;

	while (len > 0) {
		chunk = len > most ? most : len;
		if (most == REPORT_CHUNK && chunk == len && len > 1)
			chunk--;
		n = poll(&fd, 1, wait && !report_terminal.unread ? REPORT_READER : 0);
		if (wait)
			report_terminal.unread = n == 0;
		if (n != 0)
			n = write(STDERR_FILENO, text, chunk);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		text += n;
		len -= (size_t)n;
	}
}

/* The lock is held. */
static void report_wipe(bool wait)
{
	char text[REPORT_STATUS + 8];

	if (report_terminal.status > 0)
		report_write(text,
			     (size_t)snprintf(text, sizeof(text), "\r%*s\r",
					      (int)report_terminal.status, ""),
			     wait);
	report_terminal.status = 0;
}

/* The lock is held across a write, which may wait. Returns whether it was to be had, within a moment for who must not wait. */
static bool report_lock(bool wait)
{
	struct timespec until;

	if (wait)
		return pthread_mutex_lock(&report_terminal.lock) == 0;
	/* The clock that can be set: ThreadSanitizer of GCC 12 knows no pthread_mutex_clocklock(). */
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += REPORT_MOMENT;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	return pthread_mutex_timedlock(&report_terminal.lock, &until) == 0;
}

/* In one piece, which a pipe takes whole up to its page; but for a terminal (report_write()). */
static void report_line(const char *line, bool wait)
{
	struct termios mode;
	bool terminal = tcgetattr(STDERR_FILENO, &mode) == 0;
	const char *no_color = getenv("NO_COLOR");
	bool bold = terminal && report_is_able() && !(no_color && *no_color);
	char text[REPORT_LINE + 32];
	int len;

	/* Without output processing a newline alone does not return to the first column. */
	len = snprintf(text, sizeof(text), "%svmm:%s %s%s\n", bold ? "\033[1m" : "",
		       bold ? "\033[0m" : "", line,
		       terminal && !(mode.c_oflag & OPOST) ? "\r" : "");
	if (!report_lock(wait))
		return;
	report_wipe(wait);
	report_write(text, (size_t)len, wait);
	pthread_mutex_unlock(&report_terminal.lock);
}

/* err: 0, or a negative errno of which the line tells at its end. */
__attribute__((format(printf, 2, 0))) static void report_format(int err, const char *fmt,
								va_list ap)
{
	char line[REPORT_LINE];
	int len = vsnprintf(line, sizeof(line), fmt, ap);

	if (err < 0 && len >= 0 && (size_t)len < sizeof(line))
		snprintf(&line[len], sizeof(line) - (size_t)len, ": %s", strerror(-err));
	report_clean(line);
	report_line(line, true);
}

void report(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_format(0, fmt, ap);
	va_end(ap);
}

int report_refuse(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_format(0, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int report_failure(int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	report_format(err, fmt, ap);
	va_end(ap);
	return err;
}

void report_log(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	report_line(line, false);
}

bool report_status(const char *fmt, ...)
{
	char line[REPORT_STATUS + 1], text[2 * sizeof(line) + 8];
	va_list ap;
	int len;

	if (!report_is_terminal())
		return false;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	report_clean(line);
	pthread_mutex_lock(&report_terminal.lock);
	if (!report_terminal.over) {
		len = snprintf(text, sizeof(text), "\r%-*s\r", (int)report_terminal.status, line);
		report_write(text, (size_t)len, true);
		report_terminal.status = strlen(line);
	}
	pthread_mutex_unlock(&report_terminal.lock);
	return true;
}

void report_status_end(void)
{
	/* Who passes on what a command writes comes here each time, and must not wait for who waits for stderr. */
	if (report_terminal.over)
		return;
	pthread_mutex_lock(&report_terminal.lock);
	report_wipe(true);
	report_terminal.over = true;
	pthread_mutex_unlock(&report_terminal.lock);
}
