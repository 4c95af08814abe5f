/*
 * What a program that uses libvmm holds of the process, before and after; and what the library has logged meanwhile. For two_vms, whose parts
 * all include it. One thread, but for the log.
 */
#pragma once

#include <signal.h>
#include <stdio.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

extern int failures;
extern _Atomic int errors_logged;
extern char last_logged[1024];

#define CHECK(condition, ...)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition);            \
			fprintf(stderr, __VA_ARGS__);                                              \
			fputc('\n', stderr);                                                       \
			failures++;                                                                \
		}                                                                                  \
	} while (0)

struct holdings {
	int fds;
	int threads;
	int maps;
	unsigned long pages; /* of address space */
	sigset_t mask;
	struct sigaction actions[_NSIG];
};

/* From now on errors are counted, and the last is kept. */
void holdings_log(void);

/* While no VM of ours is there. */
void take_stock(struct holdings *h);

void compare(const struct holdings *before, const struct holdings *after, const char *when);

/* The C library keeps stacks of threads that have ended: a few maps may come, one for each round may not. */
void compare_maps(const struct holdings *before, const struct holdings *after, int rounds);

/* refused_vms.c: every way in which making a VM can fail. argv is that of two_vms. */
void test_refused_vms(char **argv);

/* forked_vms.c: a child of the process keeps nobody waiting. */
void test_forked_vms(char **argv);
