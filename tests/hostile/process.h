/* What this process has and uses: descriptors, threads, memory, CPU time; and what libvmm logs. One thread but for the log. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define MAX_TASKS 512

struct usage {
	int fds;
	int threads;
	long rss; /* KiB */
};

/* Threads by their numbers, and the CPU time of each in ns. */
struct tasks {
	unsigned int n;
	pid_t tid[MAX_TASKS];
	uint64_t ns[MAX_TASKS];
};

uint64_t now_ms(void);
struct usage usage_now(void);
/* Threads of KVM end a moment after their VM: waits, some seconds at most, until no more than these are left. */
struct usage usage_settled(const struct usage *want);
void tasks_now(struct tasks *tasks);
/* CPU time between the two, of threads that are not in without. */
uint64_t tasks_spent(const struct tasks *from, const struct tasks *to, const struct tasks *without);

/* Counts the lines of libvmm's log from now on, and prints them too if VERBOSE is set. */
void log_watch(void);
unsigned int log_lines(void);
/* Prints the last ones to stderr. */
void log_show(void);

/* Reports a system call that the sandbox forbids, before the process ends by it. */
void violations_watch(void);

/* A failure: one line on stderr, with what is being done before it. */
void doing(const char *what);
void failed(const char *format, ...) __attribute__((format(printf, 1, 2)));
unsigned int n_failed(void);
