/*
 * The packets of gdb's protocol, each a function that answers it; gdb_server.c has the table.
 *
 * One thread, the server's.
 */
#pragma once

#include <stdbool.h>

#include "vmm/gdb/gdb_server.h"

/* What a read, or a part of the description, has room for in one packet. */
#define GDB_CHUNK (GDB_PACKET_MAX / 2 - 8)

/* A packet, taken apart by its pattern in the table. */
struct gdb_request {
	uint64_t numbers[3];
	unsigned int thread; /* 1 is the first vCPU; 0: any, or all */
	const char *rest;    /* behind what the pattern has; ends with a NUL at the packet's end */
};

typedef void gdb_packet_fn(struct gdb_server *s, const struct gdb_request *r);

/* ---- gdb_server.c: answers, of which each packet gets one ---- */

void gdb_answer(struct gdb_server *s, const char *text);
/* err: 0 or negative errno. */
void gdb_answer_result(struct gdb_server *s, int err);
/* Each byte as two digits; or the error, if len is one. */
void gdb_answer_bytes(struct gdb_server *s, const void *bytes, int len);
/* What was written to s->output. */
void gdb_send_output(struct gdb_server *s);

/* A thread's number, of which "-1" is 0; *text moves behind it. False: there is no such thread. */
bool gdb_parse_thread(const struct gdb_server *s, const char **text, unsigned int *thread);

/* ---- gdb_access.c: registers, memory, breakpoints ---- */

gdb_packet_fn gdb_read_registers, gdb_write_registers, gdb_read_register, gdb_write_register;
gdb_packet_fn gdb_read_memory, gdb_write_memory, gdb_write_binary;
gdb_packet_fn gdb_insert_point, gdb_remove_point;

/* ---- gdb_query.c: threads, and what both sides can do ---- */

gdb_packet_fn gdb_choose_thread, gdb_accept, gdb_current_thread;
gdb_packet_fn gdb_list_threads, gdb_no_more_threads, gdb_describe_thread;
gdb_packet_fn gdb_supported, gdb_start_no_acks, gdb_attached, gdb_read_description;
