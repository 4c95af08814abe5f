#include "vmm/gdb/gdb_commands.h"

#include <errno.h>
#include <string.h>

/* Signals in gdb's numbers, which are its own. */
#define GDB_SIGINT  2
#define GDB_SIGTRAP 5

/* ---- answers ---- */

void gdb_send_output(struct gdb_server *s)
{
	gdb_output_finish(&s->output);
	s->ops->send(s->arg, s->output.bytes, s->output.len);
}

void gdb_answer(struct gdb_server *s, const char *text)
{
	gdb_output_begin(&s->output);
	gdb_output_text(&s->output, text);
	gdb_send_output(s);
}

void gdb_answer_bytes(struct gdb_server *s, const void *bytes, int len)
{
	if (len < 0) {
		gdb_answer_result(s, len);
		return;
	}
	gdb_output_begin(&s->output);
	gdb_output_hex(&s->output, bytes, (size_t)len);
	gdb_send_output(s);
}

void gdb_answer_result(struct gdb_server *s, int err)
{
	gdb_output_begin(&s->output);
	if (err < 0)
		gdb_output_print(&s->output, "E%02d", -err & 0x7f);
	else
		gdb_output_text(&s->output, "OK");
	gdb_send_output(s);
}

static void gdb_answer_stop(struct gdb_server *s)
{
	static const char *const watches[] = {[GDB_POINT_WRITE] = "watch",
					      [GDB_POINT_READ] = "rwatch",
					      [GDB_POINT_ACCESS] = "awatch"};
	const struct gdb_stop *stop = &s->last;
	struct gdb_output *out = &s->output;

	gdb_output_begin(out);
	gdb_output_print(out, "T%02xthread:%x;",
			 stop->reason == GDB_STOP_INTERRUPT ? GDB_SIGINT : GDB_SIGTRAP,
			 stop->cpu + 1);
	if (stop->reason == GDB_STOP_POINT) {
		if (stop->point >= GDB_POINT_WRITE)
			gdb_output_print(out, "%s:%llx;", watches[stop->point],
					 (unsigned long long)stop->address);
		else if (stop->point == GDB_POINT_SOFTWARE && s->swbreak)
			gdb_output_text(out, "swbreak:;");
		else if (stop->point == GDB_POINT_HARDWARE && s->hwbreak)
			gdb_output_text(out, "hwbreak:;");
	}
	gdb_send_output(s);
}

/* ---- running ---- */

bool gdb_parse_thread(const struct gdb_server *s, const char **text, unsigned int *thread)
{
	bool minus = **text == '-';
	uint64_t id;

	*text += minus;
	if (!gdb_parse_number(text, &id) || id > s->n_cpus)
		return false;
	*thread = minus ? 0 : (unsigned int)id;
	return true;
}

/* It is answered when the machine stops. */
static void gdb_resume(struct gdb_server *s, const uint8_t *actions)
{
	s->running = true;
	s->ops->resume(s->arg, actions);
}

/* ";ACTION[:THREAD]"..., of which the first that is meant for a vCPU counts. Guests get no signals, so "C05" is "c". */
static bool gdb_parse_actions(const struct gdb_server *s, const char *text, uint8_t *actions)
{
	unsigned int thread, n = 0;
	uint64_t signal;

	for (; *text == ';'; n++) {
		char word = text[1];
		bool step = word == 's' || word == 'S', other = word == 'C' || word == 'S';

		if (!step && word != 'c' && word != 'C')
			return false;
		text += 2;
		if (other && !gdb_parse_number(&text, &signal))
			return false;
		thread = 0;
		if (*text == ':' && (text++, !gdb_parse_thread(s, &text, &thread)))
			return false;
		for (unsigned int i = 0; i < s->n_cpus; i++) {
			if ((thread == 0 || i == thread - 1) && actions[i] == GDB_ACTION_STAY)
				actions[i] = step ? GDB_ACTION_STEP : GDB_ACTION_RUN;
		}
	}
	return n > 0 && *text == '\0';
}

static void gdb_vcont(struct gdb_server *s, const struct gdb_request *r)
{
	uint8_t actions[GDB_MAX_CPUS] = {0};

	if (gdb_parse_actions(s, r->rest, actions))
		gdb_resume(s, actions);
	else
		gdb_answer_result(s, -EINVAL);
}

static void gdb_continue(struct gdb_server *s, const struct gdb_request *r)
{
	uint8_t actions[GDB_MAX_CPUS];

	(void)r;
	memset(actions, GDB_ACTION_RUN, sizeof(actions));
	gdb_resume(s, actions);
}

static void gdb_step(struct gdb_server *s, const struct gdb_request *r)
{
	uint8_t actions[GDB_MAX_CPUS] = {0};

	(void)r;
	actions[s->cpu] = GDB_ACTION_STEP;
	gdb_resume(s, actions);
}

static void gdb_vcont_actions(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_answer(s, "vCont;c;C;s;S");
}

static void gdb_why_stopped(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_answer_stop(s);
}

static void gdb_detach(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_server_disconnect(s);
	gdb_answer_result(s, 0);
}

static void gdb_kill(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	s->ops->kill(s->arg);
}

static void gdb_kill_process(struct gdb_server *s, const struct gdb_request *r)
{
	gdb_answer_result(s, 0);
	gdb_kill(s, r);
}

/* ---- packets ---- */

/*
 * What a packet begins with: "#" is a number, "@" a thread, all else is itself. Up to the first of the two it is the packet's name; those come
 * first that begin as others do.
 */
static const struct gdb_command {
	const char *pattern;
	gdb_packet_fn *fn;
} gdb_commands[] = {
	{"?", gdb_why_stopped},
	{"g", gdb_read_registers},
	{"G", gdb_write_registers},
	{"p#", gdb_read_register},
	{"P#=", gdb_write_register},
	{"m#,#", gdb_read_memory},
	{"M#,#:", gdb_write_memory},
	{"X#,#:", gdb_write_binary},
	{"Z#,#,#", gdb_insert_point},
	{"z#,#,#", gdb_remove_point},
	{"vCont?", gdb_vcont_actions},
	{"vCont", gdb_vcont},
	{"c", gdb_continue},
	{"s", gdb_step},
	{"Hg@", gdb_choose_thread},
	{"Hc@", gdb_accept},
	{"T@", gdb_accept},
	{"qfThreadInfo", gdb_list_threads},
	{"qsThreadInfo", gdb_no_more_threads},
	{"qThreadExtraInfo,@", gdb_describe_thread},
	{"qC", gdb_current_thread},
	{"qSupported", gdb_supported},
	{"QStartNoAckMode", gdb_start_no_acks},
	{"qAttached", gdb_attached},
	{"qXfer:features:read:target.xml:#,#", gdb_read_description},
	{"D", gdb_detach},
	{"k", gdb_kill},
	{"vKill", gdb_kill_process},
};

/* Returns 1, 0 if it is another packet, or -EINVAL for one that is this and wrong. */
static int gdb_match(const struct gdb_server *s, const char *pattern, struct gdb_request *r)
{
	unsigned int n = 0;
	int other = 0;

	for (r->rest = s->input.text; *pattern; pattern++) {
		if (*pattern == '#' || *pattern == '@')
			other = -EINVAL;
		if (*pattern == '#'   ? !gdb_parse_number(&r->rest, &r->numbers[n++])
		    : *pattern == '@' ? !gdb_parse_thread(s, &r->rest, &r->thread)
				      : *r->rest++ != *pattern)
			return other;
	}
	return 1;
}

static void gdb_handle(struct gdb_server *s)
{
	struct gdb_request r = {0};

	/* A debugger that waits for a stop asks nothing. */
	if (s->running) {
		gdb_answer_result(s, -EBUSY);
		return;
	}
	for (size_t i = 0; i < sizeof(gdb_commands) / sizeof(gdb_commands[0]); i++) {
		int match = gdb_match(s, gdb_commands[i].pattern, &r);

		if (match == 0)
			continue;
		if (match < 0)
			gdb_answer_result(s, match);
		else
			gdb_commands[i].fn(s, &r);
		return;
	}
	gdb_answer(s, "");
}

static void gdb_attach(struct gdb_server *s)
{
	if (s->attached)
		return;
	s->attached = true;
	s->running = false;
	s->last = (struct gdb_stop){.reason = GDB_STOP_STEP};
	s->cpu = 0;
	s->ops->stop(s->arg);
}

static void gdb_acknowledge(struct gdb_server *s, const char *sign)
{
	if (!s->no_acks)
		s->ops->send(s->arg, sign, 1);
}

static void gdb_interrupt(struct gdb_server *s)
{
	struct gdb_stop stop = {.cpu = s->cpu, .reason = GDB_STOP_INTERRUPT};

	if (!gdb_server_is_running(s))
		return;
	s->ops->stop(s->arg);
	gdb_server_stopped(s, &stop);
}

/* ---- life ---- */

void gdb_server_init(struct gdb_server *s, const struct gdb_target *ops, void *arg,
		     unsigned int n_cpus)
{
	memset(s, 0, sizeof(*s));
	s->ops = ops;
	s->arg = arg;
	s->n_cpus = n_cpus;
}

void gdb_server_connect(struct gdb_server *s)
{
	gdb_server_init(s, s->ops, s->arg, s->n_cpus);
}

void gdb_server_input(struct gdb_server *s, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;

	for (size_t i = 0; i < len; i++) {
		switch (gdb_input_byte(&s->input, from[i])) {
		case GDB_INPUT_NONE:
			break;
		case GDB_INPUT_PACKET:
			gdb_acknowledge(s, "+");
			gdb_attach(s);
			gdb_handle(s);
			break;
		case GDB_INPUT_BAD:
			gdb_acknowledge(s, "-");
			break;
		case GDB_INPUT_AGAIN:
			if (s->output.len && !s->no_acks)
				s->ops->send(s->arg, s->output.bytes, s->output.len);
			break;
		case GDB_INPUT_INTERRUPT:
			gdb_interrupt(s);
			break;
		}
	}
}

void gdb_server_stopped(struct gdb_server *s, const struct gdb_stop *stop)
{
	s->running = false;
	s->cpu = stop->cpu;
	s->last = *stop;
	gdb_answer_stop(s);
}

void gdb_server_ended(struct gdb_server *s, unsigned int signal, unsigned int status)
{
	if (!gdb_server_is_running(s))
		return;
	s->running = false;
	gdb_output_begin(&s->output);
	gdb_output_print(&s->output, "%c%02x", signal ? 'X' : 'W', signal ? signal : status);
	gdb_send_output(s);
}

void gdb_server_disconnect(struct gdb_server *s)
{
	if (s->attached)
		s->ops->release(s->arg);
	s->attached = false;
}
