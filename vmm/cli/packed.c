#include "vmm/cli/packed.h"

struct packed_bits {
	const uint8_t *at;
	unsigned int byte;
	unsigned int left; /* bits of it that were not read */
};

static unsigned int packed_bit(struct packed_bits *bits)
{
	if (bits->left == 0) {
		bits->byte = *bits->at++;
		bits->left = 8;
	}
	return bits->byte >> --bits->left & 1;
}

static unsigned int packed_number(struct packed_bits *bits)
{
	unsigned int n = 1;

	while (packed_bit(bits))
		n = n << 1 | packed_bit(bits);
	return n;
}

void packed_unpack(const struct packed *from, void *to)
{
	struct packed_bits bits = {.at = from->bytes};
	uint8_t *at = to;
	const uint8_t *end = at + from->size;

	while (at < end) {
		unsigned int distance, len;

		if (!packed_bit(&bits)) {
			*at++ = *bits.at++;
			continue;
		}
		distance = (packed_number(&bits) - 1) << 8;
		distance += *bits.at++ + 1u;
		for (len = packed_number(&bits) + 1; len > 0; len--, at++)
			*at = at[-(int)distance];
	}
}
