/*
 * What a debugger does with a machine: the operations behind gdb's protocol (gdb_server.h), which knows neither KVM nor sockets.
 *
 * vCPUs are counted from 0. Functions are called on the server's thread; all but stop, release, kill and send while every vCPU
 * stands, that is after stop() or a stop that was told, and before resume(). Those that can fail return 0 or negative errno.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "vmm/gdb/gdb_registers.h"

/* Numbered as in the packets Z and z. */
enum gdb_point {
	GDB_POINT_SOFTWARE, /* execution */
	GDB_POINT_HARDWARE,
	GDB_POINT_WRITE,
	GDB_POINT_READ,
	GDB_POINT_ACCESS, /* reading or writing */
};

/* What becomes of one vCPU. */
enum gdb_action {
	GDB_ACTION_STAY,
	GDB_ACTION_RUN,
	GDB_ACTION_STEP, /* one instruction, then all stop */
};

enum gdb_stop_reason {
	GDB_STOP_INTERRUPT, /* stop() */
	GDB_STOP_STEP,
	GDB_STOP_POINT,
};

/* Why the machine stands, and which vCPU it was. */
struct gdb_stop {
	unsigned int cpu;
	enum gdb_stop_reason reason;
	enum gdb_point point; /* of GDB_STOP_POINT */
	uint64_t address;     /* what is watched */
};

struct gdb_target {
	/* All vCPUs stand when it returns. */
	void (*stop)(void *arg);
	/* actions: one for each vCPU, not all of them GDB_ACTION_STAY. gdb_server_stopped() is called when one stops. */
	void (*resume)(void *arg, const uint8_t *actions);
	/* The debugger goes: nothing of it stays behind, and all vCPUs run. */
	void (*release)(void *arg);
	/* The machine shall end. */
	void (*kill)(void *arg);
	int (*read_registers)(void *arg, unsigned int cpu, struct gdb_registers *registers);
	int (*write_registers)(void *arg, unsigned int cpu, const struct gdb_registers *registers);
	/* By virtual addresses of that vCPU. Return how many bytes were moved, at least 1, or negative errno. */
	int (*read_memory)(void *arg, unsigned int cpu, uint64_t address, void *bytes, size_t len);
	int (*write_memory)(void *arg, unsigned int cpu, uint64_t address, const void *bytes,
			    size_t len);
	/* len: bytes watched. -ENOTSUP: there are none of this kind. */
	int (*insert)(void *arg, unsigned int cpu, enum gdb_point kind, uint64_t address,
		      uint64_t len);
	int (*remove)(void *arg, unsigned int cpu, enum gdb_point kind, uint64_t address,
		      uint64_t len);
	/* In a word, such as "halted". */
	const char *(*describe)(void *arg, unsigned int cpu);
	/* To the debugger, all of it; what goes wrong shows on the connection. */
	void (*send)(void *arg, const void *bytes, size_t len);
};
