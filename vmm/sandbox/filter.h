/*
 * Filters of system calls: what each kind of thread may ask of the kernel once it runs, and nothing else (seccomp(2)).
 *
 * The rules stand in filter_rules.c and are compiled when vmm is built, so that a start costs one system call a thread. A
 * forbidden call is not made; the thread gets SIGSYS instead, and a program without a handler for it ends.
 * Descriptors from before the filter stay usable: those are what a thread works with.
 *
 * Any thread, for itself.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

enum filter_kind {
	FILTER_VCPU,	 /* runs the guest, and its devices' registers */
	FILTER_MAIN,	 /* console, entropy, balloon, the machine's end */
	FILTER_IO,	 /* disks and network cards */
	FILTER_SOCKETS,	 /* the same, and connects to unix sockets */
	FILTER_DISK,	 /* moves bytes between memory and files */
	FILTER_FS,	 /* opens files in shared directories, and reads them */
	FILTER_FS_WRITE, /* the same, and changes them */
	FILTER_FS_IO, /* moves bytes between memory and shared files that are open, and has them written for good */
	FILTER_STARTER, /* starts threads that move bytes */
	FILTER_GDB,	/* debugs the guest, for whoever is connected */
	FILTER_OWNER,	/* of the program: waits for the machine, and takes it down */
	FILTER_STREAM,	/* of the program: moves bytes between two descriptors */
	FILTER_KINDS,
};

/* 0; -ENOTSUP: vmm was built without filters, or with a sanitizer, which takes none; or why this kernel takes none. */
int filter_available(void);

/* Whether it was the sanitizer. */
bool filter_is_sanitized(void);

/* From now on this thread may do what its kind does. Returns 0 or negative errno with nothing changed. */
int filter_install(enum filter_kind kind);

/*
 * In a handler of SIGSYS: says which thread was refused which call, in size bytes with the final NUL. False for a
 * signal that comes from elsewhere. Safe in a handler.
 */
bool filter_describe(const siginfo_t *info, char *text, size_t size);
