#include "vmm/core/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "vmm/core/sigpipe.h"
#include "vmm/core/unset.h"

/* Room for two names of files, as long as they can be. */
#define LOG_WHOLE_MAX 9216
#define LOG_GAP	      "[...]"
#define LOG_TTY_CHUNK 64

static _Atomic int log_threshold = LOG_LEVEL_WARN;
static log_sink_fn *log_sink;
static void *log_sink_arg;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_threshold, (int)level, memory_order_relaxed);
}

void log_set_sink(log_sink_fn *sink, void *arg)
{
	log_sink = sink;
	log_sink_arg = arg;
}

/*
 * A guest can cause lines, and nobody may be reading them: a thread that serves it must not wait for that. What does
 * not fit is dropped. What poll() calls writable takes a line whole if it is a pipe, for a line is shorter than PIPE_BUF;
 * a terminal takes so much, and a newline only if nothing comes before it (devices/hostfd.c); there lines of several threads may mix.
 */
static void log_write(const char *text, size_t len, bool terminal)
{
	struct pollfd fd = {.fd = STDERR_FILENO, .events = POLLOUT};
	size_t chunk;
	ssize_t n;

	for (; len > 0; text += n, len -= (size_t)n) {
		chunk = !terminal	      ? len
			: len > LOG_TTY_CHUNK ? LOG_TTY_CHUNK
			: len > 1	      ? len - 1
					      : 1;
		if (poll(&fd, 1, 0) != 1 || !(fd.revents & POLLOUT))
			break;
		n = write(STDERR_FILENO, text, chunk);
		if (n <= 0)
			break;
	}
}

static void log_to_stderr(const char *line)
{
	char text[LOG_LINE_MAX + sizeof("vmm: \r\n")];
	struct termios t;
	bool terminal = tcgetattr(STDERR_FILENO, &t) == 0;
	sigset_t old;
	int len;

	/* Without output processing a newline alone does not return to the first column. */
	len = snprintf(text, sizeof(text), "vmm: %s%s\n", line,
		       terminal && !(t.c_oflag & OPOST) ? "\r" : "");
	/* Nor may the thread be ended because nobody reads any more. */
	sigpipe_hold(&old);
	log_write(text, (size_t)len, terminal);
	sigpipe_release(&old);
}

/* err: 0, or a negative errno of which the line tells at its end. */
__attribute__((format(printf, 3, 0))) static void log_format(char line[LOG_LINE_MAX], int err,
							     const char *fmt, va_list ap)
{
	const size_t head = LOG_LINE_MAX / 2, tail = LOG_LINE_MAX - head - sizeof(LOG_GAP);
	UNSET char whole[LOG_WHOLE_MAX];
	size_t len;

	whole[0] = '\0';
	vsnprintf(whole, sizeof(whole), fmt, ap);
	len = strlen(whole);
	if (err < 0)
		snprintf(&whole[len], sizeof(whole) - len, ": %s", strerror(-err));
	len = strlen(whole);
	if (len >= LOG_LINE_MAX) {
		memcpy(&whole[head], LOG_GAP, strlen(LOG_GAP));
		memmove(&whole[LOG_LINE_MAX - 1 - tail], &whole[len - tail], tail + 1);
		len = LOG_LINE_MAX - 1;
	}
	memcpy(line, whole, len + 1);
}

/* A file's name may hold anything; a message is one line, and does not steer a terminal. */
static void log_clean(char *line)
{
	for (; *line; line++) {
		if ((unsigned char)*line < ' ' || *line == 0x7f)
			*line = '?';
	}
}

__attribute__((format(printf, 3, 0))) static void log_line(enum log_level level, int err,
							   const char *fmt, va_list ap)
{
	int saved = errno;
	char line[LOG_LINE_MAX];

	if ((int)level > atomic_load_explicit(&log_threshold, memory_order_relaxed))
		return;
	errno = saved; /* for %m */
	log_format(line, err, fmt, ap);
	log_clean(line);
	if (log_sink)
		log_sink(log_sink_arg, level, line);
	else
		log_to_stderr(line);
	errno = saved;
}

#define LOG_BODY(level, err)                                                                       \
	do {                                                                                       \
		va_list ap;                                                                        \
		va_start(ap, fmt);                                                                 \
		log_line(level, err, fmt, ap);                                                     \
		va_end(ap);                                                                        \
	} while (0)

void log_error(const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_ERROR, 0);
}

int log_failure(int err, const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_ERROR, err);
	return err;
}

int log_no_memory(void)
{
	log_error("out of memory");
	return -ENOMEM;
}

void log_warn(const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_WARN, 0);
}

void log_info(const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_INFO, 0);
}

void log_debug(const char *fmt, ...)
{
	LOG_BODY(LOG_LEVEL_DEBUG, 0);
}

/* Whether one more line may be written in the current window. Threads that race here may write a line more. */
static bool log_limit_take(struct log_limit *limit)
{
	struct timespec t;
	uint64_t now, window;

	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	window = atomic_load_explicit(&limit->window, memory_order_relaxed);
	if (window == 0 || now - window > LOG_LIMIT_SECONDS * UINT64_C(1000000000)) {
		atomic_store_explicit(&limit->window, now, memory_order_relaxed);
		atomic_store_explicit(&limit->count, 0, memory_order_relaxed);
	}
	return atomic_fetch_add_explicit(&limit->count, 1, memory_order_relaxed) < LOG_LIMIT_BURST;
}

void log_guest(struct log_limit *limit, const char *fmt, ...)
{
	int saved = errno;

	if (log_limit_take(limit)) {
		errno = saved;
		LOG_BODY(LOG_LEVEL_WARN, 0);
	}
	errno = saved;
}
