/*
 * A kernel's relocation table of any words: it is refused, or moves what is inside the image and nothing else.
 *
 * The input is the image's size in two bytes, then two bytes for each word: most stand for a place near the image, 0xffff for the 0
 * before a list, 0xfffe for the word that the next four bytes are. An odd byte at the end makes a table of odd size.
 *
 * Fuzzes: boot/relocs.c
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "boot/relocs.h"
#include "tests/fuzz/fuzz.h"

#define LINK	  UINT64_C(0x1000000)
#define DELTA	  UINT64_C(0x1200000)
#define MAX_INPUT (1u << 16)

static uint16_t next16(const uint8_t **data, size_t *size)
{
	uint16_t value;

	memcpy(&value, *data, sizeof(value));
	*data += sizeof(value);
	*size -= sizeof(value);
	return value;
}

static uint32_t next_word(const uint8_t **data, size_t *size)
{
	uint16_t value = next16(data, size);
	uint32_t word;

	if (value == 0xffff)
		return 0;
	if (value != 0xfffe || *size < 4)
		return (uint32_t)(RELOCS_KERNEL_MAP + LINK + value);
	word = next16(data, size);
	return word | (uint32_t)next16(data, size) << 16;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct relocs relocs;
	uint8_t *image, *table;
	size_t len, table_size = 0;

	if (size < 2 || size > MAX_INPUT)
		return 0;
	len = next16(&data, &size);
	image = calloc(1, len ? len : 1);
	table = malloc(2 * size + 4); /* at most */
	if (!image || !table)
		abort();
	for (; size >= 2; table_size += 4) {
		uint32_t word = next_word(&data, &size);

		memcpy(table + table_size, &word, sizeof(word));
	}
	/* not a byte more than there is, so that sanitizers see what is read or written outside */
	table = realloc(table, table_size + size + (table_size + size == 0));
	if (!table)
		abort();
	if (relocs_parse(table, table_size + size, LINK, len, &relocs) == 0)
		relocs_apply_part(&relocs, image, DELTA, 0, 1);
	free(table);
	free(image);
	return 0;
}
