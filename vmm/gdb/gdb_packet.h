/*
 * The packets of gdb's protocol: "$", the text, "#" and a sum of two hexadecimal digits.
 *
 * Owner: the caller. One thread. Sizes are bounded: what is longer is taken for damaged.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GDB_PACKET_MAX 4096 /* bytes of text, either way */

enum gdb_input_event {
	GDB_INPUT_NONE,
	GDB_INPUT_PACKET, /* whole and right: text and len, with a NUL behind */
	GDB_INPUT_BAD,
	GDB_INPUT_AGAIN,     /* the other side has got a damaged one */
	GDB_INPUT_INTERRUPT, /* Ctrl-C */
};

struct gdb_input {
	enum { GDB_OUTSIDE, GDB_TEXT, GDB_SUM_HIGH, GDB_SUM_LOW } state;
	uint8_t sum;
	uint8_t want;
	bool escaped; /* the next byte is meant otherwise */
	bool bad;
	size_t len;
	char text[GDB_PACKET_MAX + 1];
};

/* Takes one byte. */
enum gdb_input_event gdb_input_byte(struct gdb_input *in, uint8_t byte);

/* A packet on its way out; it stays as it is until the next one begins. */
struct gdb_output {
	size_t len;
	char bytes[1 + GDB_PACKET_MAX + 3]; /* with what is around the text */
};

/* Begins an empty packet; what has no room is left away. */
void gdb_output_begin(struct gdb_output *out);
void gdb_output_text(struct gdb_output *out, const char *text);
void gdb_output_print(struct gdb_output *out, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Each byte as two digits. */
void gdb_output_hex(struct gdb_output *out, const void *bytes, size_t len);
/* Puts the frame around it: bytes and len are what is to be sent. */
void gdb_output_finish(struct gdb_output *out);

/* Reads hexadecimal digits, at least one and of 64 bits; *text moves behind them. */
bool gdb_parse_number(const char **text, uint64_t *number);
/* Reads exactly len bytes of two digits each; *text moves behind them. */
bool gdb_parse_hex(const char **text, void *bytes, size_t len);
