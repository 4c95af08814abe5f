#include "vmm/gdb/gdb_commands.h"

#include <stdio.h>
#include <string.h>

/* ---- threads ---- */

void gdb_choose_thread(struct gdb_server *s, const struct gdb_request *r)
{
	if (r->thread > 0)
		s->cpu = r->thread - 1;
	gdb_answer_result(s, 0);
}

/* What the pattern has found right already, or what is in vCont itself. */
void gdb_accept(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_answer_result(s, 0);
}

void gdb_current_thread(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_output_begin(&s->output);
	gdb_output_print(&s->output, "QC%x", s->cpu + 1);
	gdb_send_output(s);
}

void gdb_list_threads(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_output_begin(&s->output);
	for (unsigned int i = 0; i < s->n_cpus; i++)
		gdb_output_print(&s->output, "%c%x", i ? ',' : 'm', i + 1);
	gdb_send_output(s);
}

void gdb_no_more_threads(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_answer(s, "l");
}

void gdb_describe_thread(struct gdb_server *s, const struct gdb_request *r)
{
	unsigned int cpu = r->thread > 0 ? r->thread - 1 : 0;
	char words[64];

	gdb_answer_bytes(
		s, words,
		snprintf(words, sizeof(words), "CPU#%u [%s]", cpu, s->ops->describe(s->arg, cpu)));
}

/* ---- what both sides can do ---- */

void gdb_supported(struct gdb_server *s, const struct gdb_request *r)
{
	s->swbreak = strstr(r->rest, "swbreak+") != NULL;
	s->hwbreak = strstr(r->rest, "hwbreak+") != NULL;
	gdb_output_begin(&s->output);
	gdb_output_print(&s->output,
			 "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;vContSupported+;"
			 "swbreak+;hwbreak+",
			 GDB_PACKET_MAX);
	gdb_send_output(s);
}

void gdb_start_no_acks(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	s->no_acks = true;
	gdb_answer_result(s, 0);
}

void gdb_attached(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_answer(s, "1"); /* so that it detaches when it quits, and does not kill */
}

/* Offset, length. The description has no byte that a packet may not have. */
void gdb_read_description(struct gdb_server *s, const struct gdb_request *r)
{
	size_t len = r->numbers[1] < GDB_CHUNK ? (size_t)r->numbers[1] : GDB_CHUNK, n;
	char part[GDB_CHUNK + 1];

	n = gdb_register_description(r->numbers[0], part, len);
	part[n] = '\0';
	gdb_output_begin(&s->output);
	gdb_output_print(&s->output, "%c%s", n < len ? 'l' : 'm', part);
	gdb_send_output(s);
}
