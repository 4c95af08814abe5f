#include "vmm/gdb/gdb_commands.h"

#include <errno.h>
#include <string.h>

/* ---- registers ---- */

static void gdb_read_part(struct gdb_server *s, size_t offset, size_t size)
{
	struct gdb_registers regs;
	int err = s->ops->read_registers(s->arg, s->cpu, &regs);

	gdb_answer_bytes(s, (const uint8_t *)&regs + offset, err < 0 ? err : (int)size);
}

static void gdb_write_part(struct gdb_server *s, size_t offset, size_t size, const char *text)
{
	struct gdb_registers regs;
	int err = s->ops->read_registers(s->arg, s->cpu, &regs);

	if (err == 0 && !gdb_parse_hex(&text, (uint8_t *)&regs + offset, size))
		err = -EINVAL;
	if (err == 0)
		err = s->ops->write_registers(s->arg, s->cpu, &regs);
	gdb_answer_result(s, err);
}

void gdb_read_registers(struct gdb_server *s, const struct gdb_request *r)
{
	(void)r;
	gdb_read_part(s, 0, sizeof(struct gdb_registers));
}

void gdb_write_registers(struct gdb_server *s, const struct gdb_request *r)
{
	gdb_write_part(s, 0, sizeof(struct gdb_registers), r->rest);
}

void gdb_read_register(struct gdb_server *s, const struct gdb_request *r)
{
	size_t offset, size;

	if (gdb_register_find(r->numbers[0], &offset, &size))
		gdb_read_part(s, offset, size);
	else
		gdb_answer_result(s, -EINVAL);
}

void gdb_write_register(struct gdb_server *s, const struct gdb_request *r)
{
	size_t offset, size;

	if (gdb_register_find(r->numbers[0], &offset, &size))
		gdb_write_part(s, offset, size, r->rest);
	else
		gdb_answer_result(s, -EINVAL);
}

/* ---- memory: address, length ---- */

void gdb_read_memory(struct gdb_server *s, const struct gdb_request *r)
{
	uint64_t len = r->numbers[1] < GDB_CHUNK ? r->numbers[1] : GDB_CHUNK;
	uint8_t bytes[GDB_CHUNK];
	int n = -EINVAL;

	if (len > 0)
		n = s->ops->read_memory(s->arg, s->cpu, r->numbers[0], bytes, len);
	gdb_answer_bytes(s, bytes, n);
}

/* All of it, or an error. */
static void gdb_write_bytes(struct gdb_server *s, uint64_t address, const char *bytes, size_t len)
{
	int n = 0;

	while (len > 0 && n >= 0) {
		n = s->ops->write_memory(s->arg, s->cpu, address, bytes, len);
		if (n < 0)
			break;
		address += (uint64_t)n;
		bytes += n;
		len -= (size_t)n;
	}
	gdb_answer_result(s, n);
}

void gdb_write_memory(struct gdb_server *s, const struct gdb_request *r)
{
	const char *text = r->rest;
	uint64_t len = r->numbers[1];
	char bytes[GDB_PACKET_MAX / 2];

	if (len <= sizeof(bytes) && gdb_parse_hex(&text, bytes, len))
		gdb_write_bytes(s, r->numbers[0], bytes, len);
	else
		gdb_answer_result(s, -EINVAL);
}

void gdb_write_binary(struct gdb_server *s, const struct gdb_request *r)
{
	if (r->numbers[1] == (uint64_t)(s->input.text + s->input.len - r->rest))
		gdb_write_bytes(s, r->numbers[0], r->rest, r->numbers[1]);
	else
		gdb_answer_result(s, -EINVAL);
}

/* ---- breakpoints and watchpoints: kind, address, length; what may be behind it is for nobody here ---- */

static void gdb_change_point(struct gdb_server *s, const struct gdb_request *r,
			     int (*change)(void *arg, unsigned int cpu, enum gdb_point kind,
					   uint64_t address, uint64_t len))
{
	int err = -ENOTSUP;

	if (r->numbers[0] <= GDB_POINT_ACCESS)
		err = change(s->arg, s->cpu, (enum gdb_point)r->numbers[0], r->numbers[1],
			     r->numbers[2]);
	if (err == -ENOTSUP)
		gdb_answer(s, "");
	else
		gdb_answer_result(s, err);
}

void gdb_insert_point(struct gdb_server *s, const struct gdb_request *r)
{
	gdb_change_point(s, r, s->ops->insert);
}

void gdb_remove_point(struct gdb_server *s, const struct gdb_request *r)
{
	gdb_change_point(s, r, s->ops->remove);
}
