#include "vmm/gdb/gdb_packet.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char gdb_digits[] = "0123456789abcdef";

/* -1: none. */
static int gdb_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* ---- in ---- */

static enum gdb_input_event gdb_input_outside(struct gdb_input *in, uint8_t byte)
{
	switch (byte) {
	case '$':
		in->state = GDB_TEXT;
		in->sum = 0;
		in->len = 0;
		in->escaped = false;
		in->bad = false;
		return GDB_INPUT_NONE;
	case '-':
		return GDB_INPUT_AGAIN;
	case 0x03:
		return GDB_INPUT_INTERRUPT;
	default:
		return GDB_INPUT_NONE;
	}
}

static void gdb_input_text(struct gdb_input *in, uint8_t byte)
{
	if (byte == '#') {
		in->state = GDB_SUM_HIGH;
		return;
	}
	in->sum += byte;
	if (byte == '}' && !in->escaped) {
		in->escaped = true;
		return;
	}
	if (in->len == GDB_PACKET_MAX) {
		in->bad = true;
		return;
	}
	in->text[in->len++] = (char)(in->escaped ? byte ^ 0x20 : byte);
	in->escaped = false;
}

static enum gdb_input_event gdb_input_sum(struct gdb_input *in, uint8_t byte)
{
	int digit = gdb_digit((char)byte);

	in->bad |= digit < 0;
	if (in->state == GDB_SUM_HIGH) {
		in->want = (uint8_t)((unsigned int)digit << 4);
		in->state = GDB_SUM_LOW;
		return GDB_INPUT_NONE;
	}
	in->state = GDB_OUTSIDE;
	in->text[in->len] = '\0';
	if (in->bad || in->escaped || (in->want | digit) != in->sum)
		return GDB_INPUT_BAD;
	return GDB_INPUT_PACKET;
}

enum gdb_input_event gdb_input_byte(struct gdb_input *in, uint8_t byte)
{
	/* The rest of the one before got lost. */
	if (byte == '$' || in->state == GDB_OUTSIDE) {
		in->state = GDB_OUTSIDE;
		return gdb_input_outside(in, byte);
	}
	if (in->state != GDB_TEXT)
		return gdb_input_sum(in, byte);
	gdb_input_text(in, byte);
	return GDB_INPUT_NONE;
}

/* ---- out ---- */

/* What is left for text. */
static size_t gdb_output_room(const struct gdb_output *out)
{
	return 1 + GDB_PACKET_MAX - out->len;
}

void gdb_output_begin(struct gdb_output *out)
{
	out->bytes[0] = '$';
	out->len = 1;
}

void gdb_output_text(struct gdb_output *out, const char *text)
{
	gdb_output_print(out, "%s", text);
}

void gdb_output_print(struct gdb_output *out, const char *format, ...)
{
	size_t room = gdb_output_room(out);
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(out->bytes + out->len, room + 1, format, args);
	va_end(args);
	if (n > 0)
		out->len += (size_t)n < room ? (size_t)n : room;
}

void gdb_output_hex(struct gdb_output *out, const void *bytes, size_t len)
{
	const uint8_t *from = bytes;

	for (size_t i = 0; i < len && gdb_output_room(out) >= 2; i++) {
		out->bytes[out->len++] = gdb_digits[from[i] >> 4];
		out->bytes[out->len++] = gdb_digits[from[i] & 15];
	}
}

void gdb_output_finish(struct gdb_output *out)
{
	uint8_t sum = 0;

	for (size_t i = 1; i < out->len; i++)
		sum += (uint8_t)out->bytes[i];
	out->bytes[out->len++] = '#';
	out->bytes[out->len++] = gdb_digits[sum >> 4];
	out->bytes[out->len++] = gdb_digits[sum & 15];
}

/* ---- numbers ---- */

bool gdb_parse_number(const char **text, uint64_t *number)
{
	unsigned int n = 0;
	int digit;

	*number = 0;
	for (; (digit = gdb_digit(**text)) >= 0; (*text)++, n++) {
		if (*number >> 60)
			return false;
		*number = *number << 4 | (uint64_t)digit;
	}
	return n > 0;
}

bool gdb_parse_hex(const char **text, void *bytes, size_t len)
{
	uint8_t *to = bytes;

	for (size_t i = 0; i < len; i++, *text += 2) {
		int high = gdb_digit((*text)[0]), low = high < 0 ? -1 : gdb_digit((*text)[1]);

		if (low < 0)
			return false;
		to[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
