/*
 * A machine for gdb's protocol that is none: registers, two pages of memory, room for a few breakpoints, and a record of what was asked of
 * it.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "vmm/gdb/gdb_server.h"

#define FAKE_CPUS   3
#define FAKE_BASE   UINT64_C(0xffffffff81000000)
#define FAKE_PAGE   4096
#define FAKE_MEMORY (2 * FAKE_PAGE)
#define FAKE_POINTS 4

struct fake_point {
	bool used;
	enum gdb_point kind;
	uint64_t address;
	uint64_t len;
};

struct fake_target {
	struct gdb_server server;
	bool stands;
	bool read_only; /* no register can be written */
	struct gdb_registers registers[FAKE_CPUS];
	uint8_t memory[FAKE_MEMORY];
	struct fake_point points[FAKE_POINTS];
	char calls[256]; /* "stop ", "resume rs- ", ... */
	char sent[3 * GDB_PACKET_MAX];
	size_t n_sent;
	bool broken; /* was called when it must not be */
};

static inline void fake_note(struct fake_target *f, const char *what)
{
	if (strlen(f->calls) + strlen(what) < sizeof(f->calls))
		strcat(f->calls, what);
}

static inline void fake_stop(void *arg)
{
	struct fake_target *f = arg;

	f->stands = true;
	fake_note(f, "stop ");
}

static inline void fake_resume(void *arg, const uint8_t *actions)
{
	struct fake_target *f = arg;
	char what[16] = "resume ";

	f->broken |= !f->stands;
	f->stands = false;
	for (unsigned int i = 0; i < FAKE_CPUS; i++) {
		f->broken |= actions[i] > GDB_ACTION_STEP;
		what[7 + i] = "-rs"[actions[i] % 3];
	}
	what[7 + FAKE_CPUS] = ' ';
	fake_note(f, what);
}

static inline void fake_release(void *arg)
{
	struct fake_target *f = arg;

	f->stands = false;
	memset(f->points, 0, sizeof(f->points));
	fake_note(f, "release ");
}

static inline void fake_kill(void *arg)
{
	fake_note(arg, "kill ");
}

static inline bool fake_has(struct fake_target *f, unsigned int cpu)
{
	f->broken |= !f->stands || cpu >= FAKE_CPUS;
	return cpu < FAKE_CPUS;
}

static inline int fake_read_registers(void *arg, unsigned int cpu, struct gdb_registers *registers)
{
	struct fake_target *f = arg;

	if (!fake_has(f, cpu))
		return -EINVAL;
	*registers = f->registers[cpu];
	return 0;
}

static inline int fake_write_registers(void *arg, unsigned int cpu,
				       const struct gdb_registers *registers)
{
	struct fake_target *f = arg;

	if (!fake_has(f, cpu) || f->read_only)
		return -EINVAL;
	f->registers[cpu] = *registers;
	return 0;
}

/* How much of a range is there, up to the end of its page. */
static inline size_t fake_range(struct fake_target *f, unsigned int cpu, uint64_t address,
				size_t len)
{
	uint64_t offset = address - FAKE_BASE;
	size_t left = FAKE_PAGE - (size_t)(offset % FAKE_PAGE);

	if (!fake_has(f, cpu) || offset >= FAKE_MEMORY)
		return 0;
	f->broken |= len == 0;
	return len < left ? len : left;
}

static inline int fake_read_memory(void *arg, unsigned int cpu, uint64_t address, void *bytes,
				   size_t len)
{
	struct fake_target *f = arg;
	size_t n = fake_range(f, cpu, address, len);

	if (n == 0)
		return -EFAULT;
	memcpy(bytes, f->memory + (address - FAKE_BASE), n);
	return (int)n;
}

static inline int fake_write_memory(void *arg, unsigned int cpu, uint64_t address,
				    const void *bytes, size_t len)
{
	struct fake_target *f = arg;
	size_t n = fake_range(f, cpu, address, len);

	if (n == 0)
		return -EFAULT;
	memcpy(f->memory + (address - FAKE_BASE), bytes, n);
	return (int)n;
}

static inline int fake_insert(void *arg, unsigned int cpu, enum gdb_point kind, uint64_t address,
			      uint64_t len)
{
	struct fake_target *f = arg;

	fake_has(f, cpu);
	if (kind == GDB_POINT_READ)
		return -ENOTSUP;
	for (unsigned int i = 0; i < FAKE_POINTS; i++) {
		if (f->points[i].used)
			continue;
		f->points[i] = (struct fake_point){true, kind, address, len};
		return 0;
	}
	return -ENOSPC;
}

static inline int fake_remove(void *arg, unsigned int cpu, enum gdb_point kind, uint64_t address,
			      uint64_t len)
{
	struct fake_target *f = arg;

	fake_has(f, cpu);
	for (unsigned int i = 0; i < FAKE_POINTS; i++) {
		struct fake_point *p = &f->points[i];

		if (p->used && p->kind == kind && p->address == address && p->len == len)
			p->used = false;
	}
	return 0;
}

static inline const char *fake_describe(void *arg, unsigned int cpu)
{
	fake_has(arg, cpu);
	return cpu == 0 ? "running" : "halted";
}

static inline void fake_send(void *arg, const void *bytes, size_t len)
{
	struct fake_target *f = arg;

	if (len > sizeof(f->sent) - f->n_sent)
		f->n_sent = 0;
	memcpy(f->sent + f->n_sent, bytes, len);
	f->n_sent += len;
}

static const struct gdb_target fake_ops = {.stop = fake_stop,
					   .resume = fake_resume,
					   .release = fake_release,
					   .kill = fake_kill,
					   .read_registers = fake_read_registers,
					   .write_registers = fake_write_registers,
					   .read_memory = fake_read_memory,
					   .write_memory = fake_write_memory,
					   .insert = fake_insert,
					   .remove = fake_remove,
					   .describe = fake_describe,
					   .send = fake_send};

static inline void fake_init(struct fake_target *f)
{
	memset(f, 0, sizeof(*f));
	for (unsigned int i = 0; i < FAKE_MEMORY; i++)
		f->memory[i] = (uint8_t)(i ^ i >> 8);
	for (unsigned int i = 0; i < FAKE_CPUS; i++) {
		memset(&f->registers[i], 0x11 * (int)(i + 1), sizeof(f->registers[i]));
		f->registers[i].rip = FAKE_BASE + i;
	}
	gdb_server_init(&f->server, &fake_ops, f, FAKE_CPUS);
	gdb_server_connect(&f->server);
}
/* A packet with that text comes from the debugger. */
static inline void fake_ask(struct fake_target *f, const void *text, size_t len)
{
	const uint8_t *bytes = text;
	char sum_text[4];
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += bytes[i];
	snprintf(sum_text, sizeof(sum_text), "#%02x", sum);
	gdb_server_input(&f->server, "$", 1);
	gdb_server_input(&f->server, text, len);
	gdb_server_input(&f->server, sum_text, 3);
}
