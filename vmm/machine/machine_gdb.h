/*
 * A machine under gdb: what machine_gdb*.c share. machine_gdb.c has the socket and the thread, machine_gdb_run.c stops the vCPUs and lets
 * them run, machine_gdb_points.c has breakpoints and memory.
 *
 * The thread vmm-gdb waits for the debugger's packets and for vCPUs that have stopped (KVM_EXIT_DEBUG). It does its system calls on
 * the vCPUs while all are paused (vcpu_pause.h); a vCPU's thread reads its own place and whether there is a breakpoint, and tells it.
 * So a guest's own breakpoints, which have to be told from the debugger's, pause the machine for a moment; they come to us while there
 * is a breakpoint of the debugger or a step.
 *
 * Owner: the machine. Threads: see each group of fields.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/core/guest_mem.h"
#include "vmm/core/kept_name.h"
#include "vmm/gdb/gdb_server.h"
#include "vmm/machine/vcpu_debug_x86.h"

#define MACHINE_GDB_SOFT 128

struct machine;

/*
 * The instruction of a breakpoint. Where the CPU has no virtualization of its own, or QEMU emulates it, int3 never comes to us: KVM cannot emulate it,
 * or the guest has it. There it is a read of a port, which always does; the guest's kernel alone may do that.
 */
#define MACHINE_GDB_INT3 0xcc
#define MACHINE_GDB_IN	 0xec /* in (%dx),%al */

/* A breakpoint's instruction in the guest's code. */
struct machine_gdb_soft {
	bool used;
	uint8_t saved; /* what stood there */
	uint64_t address;
	gpa_t gpa;
};

struct machine_gdb_cpu {
	bool exited; /* set by the vCPU's thread before it stands, else the debugger's thread's */
	uint8_t action;	  /* enum gdb_action: what it does while the machine runs */
	uint64_t at_port; /* as exited: the address of the breakpoint that was a port's; 0: none */
	bool pending;	  /* it has stopped for this, which was not told yet */
	struct gdb_stop stop;
};

struct machine_gdb {
	/* immutable after make */
	struct machine *machine;
	unsigned int n_cpus;
	char *where;	     /* what the user said */
	uint16_t port;	     /* 0: where is a unix socket's path */
	bool waits;	     /* before the first instruction */
	uint8_t instruction; /* of a breakpoint: MACHINE_GDB_INT3 or MACHINE_GDB_IN */
	int wake;	     /* eventfd */
	/* immutable after listen */
	int listener; /* -1: none */
	struct kept_name made;
	/* of the owner's thread */
	pthread_t thread;
	bool started;
	/* any thread */
	_Atomic bool ending;
	/* of the thread vmm-gdb; until start the owner's */
	int client;    /* -1: none */
	bool lost;     /* it takes nothing */
	bool short_of; /* something of the host's that a client needs; said */
	struct gdb_server server;
	bool standing;				/* we pause all vCPUs */
	enum gdb_point kinds[VCPU_DEBUG_SLOTS]; /* as which gdb knows the slots */
	struct vcpu_debug debug;		/* of all vCPUs, without step */
	struct machine_gdb_soft soft[MACHINE_GDB_SOFT];
	struct machine_gdb_cpu cpus[GDB_MAX_CPUS];
};

/* ---- machine_gdb_run.c ---- */

/* struct gdb_target */
void machine_gdb_stop(void *arg);
void machine_gdb_resume(void *arg, const uint8_t *actions);
void machine_gdb_release(void *arg);
/* Before the vCPUs start: they stand from the first instruction on. */
void machine_gdb_begin_standing(struct machine_gdb *gdb);
/* A vCPU has stopped, or somebody woke us. */
void machine_gdb_look(struct machine_gdb *gdb);

/* ---- machine_gdb_points.c ---- */

/* struct gdb_target */
int machine_gdb_read_memory(void *arg, unsigned int cpu, uint64_t address, void *bytes, size_t len);
int machine_gdb_write_memory(void *arg, unsigned int cpu, uint64_t address, const void *bytes,
			     size_t len);
int machine_gdb_insert(void *arg, unsigned int cpu, enum gdb_point kind, uint64_t address,
		       uint64_t len);
int machine_gdb_remove(void *arg, unsigned int cpu, enum gdb_point kind, uint64_t address,
		       uint64_t len);
void machine_gdb_remove_all(struct machine_gdb *gdb);
/* NULL: an int3 at this address is not ours. */
struct machine_gdb_soft *machine_gdb_find_soft(struct machine_gdb *gdb, uint64_t address);
/* Whether what the vCPU has stopped for is still there. */
bool machine_gdb_has(const struct machine_gdb *gdb, const struct gdb_stop *stop);
