/*
 * gdb's remote serial protocol (gdb manual, appendix "Remote Serial Protocol"), all-stop, each vCPU a thread: 1 is the first vCPU.
 *
 * Bytes of the debugger come in by gdb_server_input(), answers go out by the target's send(). The machine stops when the debugger
 * sends its first packet, not when it connects. Whatever comes in, all that it can reach are the target's operations.
 *
 * Owner: the caller, who must not move it. One thread. Order: init; then for each debugger connect, (anything below), disconnect.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/gdb/gdb_packet.h"
#include "vmm/gdb/gdb_target.h"

#define GDB_MAX_CPUS 256

struct gdb_server {
	/* immutable after init */
	const struct gdb_target *ops;
	void *arg;
	unsigned int n_cpus; /* at most GDB_MAX_CPUS */
	/* of one debugger */
	bool attached; /* it has sent a packet: the machine is its own */
	bool running;  /* and was told to run: it waits for a stop */
	bool no_acks;
	bool swbreak; /* it knows these words of a stop */
	bool hwbreak;
	unsigned int cpu; /* that registers and memory are read of */
	struct gdb_stop last;
	struct gdb_input input;
	struct gdb_output output;
};

/* ops is borrowed. */
void gdb_server_init(struct gdb_server *server, const struct gdb_target *ops, void *arg,
		     unsigned int n_cpus);

void gdb_server_connect(struct gdb_server *server);

void gdb_server_input(struct gdb_server *server, const void *bytes, size_t len);

/* A vCPU stopped, and now all stand. Only while gdb_server_is_running(). */
void gdb_server_stopped(struct gdb_server *server, const struct gdb_stop *stop);

static inline bool gdb_server_is_running(const struct gdb_server *server)
{
	return server->attached && server->running;
}

/* The machine is no more: with an exit status, or as if by a signal (in the numbers of gdb), which is not 0. */
void gdb_server_ended(struct gdb_server *server, unsigned int signal, unsigned int status);

/* The debugger is gone, if it was there. */
void gdb_server_disconnect(struct gdb_server *server);
