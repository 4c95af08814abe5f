/*
 * The MSI-X table of a PCI function (PCI local bus 3.0, 6.8.2): masks, pending bits, and where a vector goes.
 *
 * Owner: the PCI function's device. Table and control registers are written on vCPU threads, under the lock;
 * msix_raise() and msix_fd() may be called from any thread and take no lock. What delivers a vector to the guest is
 * behind struct msix_ops, so this knows nothing of KVM.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MSIX_MAX_VECTORS 34
#define MSIX_ENTRY_SIZE	 16
#define MSIX_NO_VECTOR	 0xffff

struct msix_ops {
	/* vCPU thread, under the lock: from now on signal(vector) sends this message. 0 or negative errno. */
	int (*route)(void *arg, unsigned int vector, uint64_t address, uint32_t data);
	/* Any thread. Only for vectors that were routed. */
	void (*signal)(void *arg, unsigned int vector);
	/* Any thread. Only for vectors that were routed: an eventfd that does what signal() does. NULL: there are none. */
	int (*fd)(void *arg, unsigned int vector);
	void *arg;
};

/* For those who hold what msix_fd() returned. */
struct msix_watch {
	/* vCPU thread, under the lock: msix_fd(vector) may return something else from now on. NULL: nobody asks. */
	void (*moved)(void *arg, unsigned int vector);
	void *arg;
};

struct msix_entry {
	uint64_t address;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct msix {
	/* immutable after init */
	unsigned int n_vectors;
	struct msix_ops ops;
	struct msix_watch watch;
	pthread_mutex_t lock;
	/* under lock; what a snapshot saves */
	struct msix_entry table[MSIX_MAX_VECTORS];
	bool enabled;
	bool all_masked;
	/* any thread; MSIX_STATE_* bits */
	_Atomic uint32_t state[MSIX_MAX_VECTORS];
};

void msix_init(struct msix *msix, unsigned int n_vectors, const struct msix_ops *ops);

/* Before the guest runs. */
void msix_set_watch(struct msix *msix, const struct msix_watch *watch);

/* Accesses to the table and to the pending bit array; offset counts from the start of each. vCPU threads. */
uint64_t msix_table_read(struct msix *msix, uint64_t offset, unsigned int width);
void msix_table_write(struct msix *msix, uint64_t offset, unsigned int width, uint64_t value);
uint64_t msix_pba_read(struct msix *msix, uint64_t offset, unsigned int width);

/* The control word of the capability was written. vCPU threads. */
void msix_set_control(struct msix *msix, bool enabled, bool all_masked);

/* Any thread. A masked vector becomes pending; one out of range (MSIX_NO_VECTOR) is nothing. */
void msix_raise(struct msix *msix, unsigned int vector);

/* Any thread. An eventfd that does what msix_raise() does, as long as the vector is not masked; -1: there is none now. */
int msix_fd(struct msix *msix, unsigned int vector);

void msix_fini(struct msix *msix);
