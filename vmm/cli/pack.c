/*
 * Packs a file as packed.h says, when vmm is built: pack FROM TO.
 *
 * Of all ways to write it that the format has, the shortest is taken: from the end on, each position is written as what costs least from
 * there, with the nearest place before it for each length of what is the same there.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "vmm/cli/packed.h"

#define PACK_MAX 65536

static uint8_t in[PACK_MAX];
static size_t size;

static struct pack_step {
	unsigned int bits; /* from here to the end */
	unsigned int len;  /* 1: a byte as it is */
	unsigned int distance;
} steps[PACK_MAX + 1];

static struct {
	uint32_t size;
	uint8_t bytes[2 * PACK_MAX];
} out; /* a struct packed */
static size_t out_size;
static size_t bits_at; /* the byte that bits go to */
static unsigned int bits_left;

/* ---- the way ---- */

static unsigned int pack_number_bits(unsigned int n)
{
	return n > 1 ? 2 + pack_number_bits(n / 2) : 1;
}

static void pack_plan_at(size_t at)
{
	size_t longest = 1;

	steps[at] = (struct pack_step){9 + steps[at + 1].bits, 1, 0};
	for (size_t distance = 1; distance <= at; distance++) {
		size_t len = 0;

		while (at + len < size && in[at + len] == in[at + len - distance])
			len++;
		for (; longest < len; longest++) {
			unsigned int bits =
				9 + pack_number_bits((unsigned int)((distance - 1) >> 8) + 1) +
				pack_number_bits((unsigned int)longest) +
				steps[at + longest + 1].bits;

			if (bits < steps[at].bits)
				steps[at] = (struct pack_step){bits, (unsigned int)longest + 1,
							       (unsigned int)distance};
		}
	}
}

/* ---- what is written ---- */

static void pack_bit(unsigned int bit)
{
	if (bits_left == 0) {
		bits_at = out_size++;
		bits_left = 8;
	}
	out.bytes[bits_at] |= (uint8_t)(bit << --bits_left);
}

static void pack_number(unsigned int n)
{
	unsigned int top = 0;

	while (n >> top > 1)
		top++;
	while (top-- > 0) {
		pack_bit(1);
		pack_bit(n >> top & 1);
	}
	pack_bit(0);
}

static void pack_steps(void)
{
	for (size_t at = 0; at < size; at += steps[at].len) {
		const struct pack_step *step = &steps[at];

		pack_bit(step->len > 1);
		if (step->len == 1) {
			out.bytes[out_size++] = in[at];
			continue;
		}
		pack_number(((step->distance - 1) >> 8) + 1);
		out.bytes[out_size++] = (uint8_t)(step->distance - 1);
		pack_number(step->len - 1);
	}
}

/* Whether vmm will unpack it to what it was. */
static int pack_is_right(void)
{
	static uint8_t again[PACK_MAX];

	packed_unpack((const struct packed *)(const void *)&out, again);
	return memcmp(again, in, size) == 0;
}

int main(int argc, char **argv)
{
	FILE *from = argc == 3 ? fopen(argv[1], "rb") : NULL, *to;

	size = from ? fread(in, 1, sizeof(in), from) : sizeof(in);
	if (size == sizeof(in)) {
		fprintf(stderr, "usage: pack FROM TO, which is below %d bytes\n", PACK_MAX);
		return 1;
	}
	out.size = (uint32_t)size;
	for (size_t at = size; at-- > 0;)
		pack_plan_at(at);
	pack_steps();
	to = fopen(argv[2], "wb");
	if (!pack_is_right() || !to || fwrite(&out, sizeof(out.size) + out_size, 1, to) != 1 ||
	    fclose(to) != 0) {
		fprintf(stderr, "pack: %s is not written\n", argv[2]);
		return 1;
	}
	return 0;
}
