/*
 * What the program carries in fewer bytes than it has (pack.c). Any thread; the bytes are the program's own, and are trusted.
 * No library's format: one would have to be loaded at each start with a command, and be there for --help.
 *
 * Bits, from the highest of each byte on, with whole bytes between them: 0 and a byte as it is; or 1, a number and a byte, which make the
 * distance back to what is the same, and a number for its length. A number has a 1 before each of its bits but the first, which is 1, and a
 * 0 at the end. A byte of eight bits stands where the first of them is needed.
 */
#pragma once

#include <stdint.h>

struct packed {
	uint32_t size; /* bytes when unpacked */
	uint8_t bytes[];
};

/* Writes from->size bytes. */
void packed_unpack(const struct packed *from, void *to);
