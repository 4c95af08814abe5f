/*
 * The one reporting function. A message is one line without a newline, of LOG_LINE_MAX bytes at most.
 *
 * By default lines go to stderr as "vmm: text" (with a carriage return when that terminal is in raw mode).
 * The level and the sink are the only mutable globals of the project; set them before the first VM exists.
 * All other functions may be called from any thread. errno is preserved.
 *
 * What the guest can cause is logged through a struct log_limit of the device, so that a guest cannot flood
 * the log.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* With the zero at the end. What is longer loses some of its middle, where long names are: what was tried and why it failed stay. */
#define LOG_LINE_MAX 1024

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

typedef void log_sink_fn(void *arg, int level, const char *line); /* level: enum log_level */

/* Default LOG_LEVEL_WARN. */
void log_set_level(enum log_level level);
/* NULL: back to stderr. */
void log_set_sink(log_sink_fn *sink, void *arg);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* As log_error(), and after a colon what err, a negative errno, says. Returns err. */
int log_failure(int err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Of what was not to be had. Returns -ENOMEM. */
int log_no_memory(void) __attribute__((cold));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* At most LOG_LIMIT_BURST lines in LOG_LIMIT_SECONDS; zero-initialized means fresh. */
#define LOG_LIMIT_BURST	  5
#define LOG_LIMIT_SECONDS 10

struct log_limit {
	_Atomic uint64_t window; /* ns of CLOCK_MONOTONIC when the window began */
	_Atomic uint32_t count;	 /* lines in this window */
};

/* Warns of what the guest did, or drops the line when the limit is reached. */
void log_guest(struct log_limit *limit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
