#include "boot/relocs.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "vmm/core/assert.h"

#define WORD	  sizeof(uint32_t)
#define BLOCK	  16
#define MAX_LISTS 3

static inline uint32_t relocs_word(const uint8_t *table, size_t i)
{
	uint32_t word;

	memcpy(&word, table + i * WORD, sizeof(word));
	return word;
}

/* Whether all words of a block are of places inside. Without a branch for each, which compilers turn into vector instructions. */
static bool relocs_is_inside(const uint8_t *table, size_t first, uint32_t base, uint32_t last)
{
	uint32_t outside = 0;

	static_assert(RELOCS_KERNEL_SPAN <= INT32_MAX, "what is outside has bit 31 here or there");
	for (size_t i = 0; i < BLOCK; i++) {
		uint32_t offset = relocs_word(table, first + i) - base;

		outside |= offset | (last - offset);
	}
	return outside <= INT32_MAX;
}

/*
 * The list that ends before word end. Its 0 is outside of the image as an absurd word is, and there is one at the table's beginning,
 * so that each of a few hundred thousand words is compared once; which of the two it was is looked at afterwards.
 */
static int relocs_find_list(const struct relocs *relocs, size_t end, struct relocs_list *list)
{
	const uint8_t *table = relocs->table;
	const uint32_t base = relocs->base;
	const uint32_t last = (uint32_t)(relocs->len - sizeof(uint64_t));
	size_t stop = end;

	while (stop > BLOCK && relocs_is_inside(table, stop - BLOCK, base, last))
		stop -= BLOCK;
	do
		stop--;
	while (relocs_word(table, stop) - base <= last);
	*list = (struct relocs_list){stop + 1, end};
	return relocs_word(table, stop) == 0 ? 0 : -ENOEXEC;
}

static int relocs_find_lists(struct relocs *relocs, size_t end)
{
	struct relocs_list lists[MAX_LISTS];
	unsigned int n = 0;

	for (; end > 0; end = lists[n++].first - 1) {
		if (n == MAX_LISTS || relocs_find_list(relocs, end, &lists[n]) < 0)
			return -ENOEXEC;
	}
	if (n < 2)
		return -ENOEXEC;
	relocs->list32 = lists[0];
	relocs->list64 = lists[n - 1];
	if (n == MAX_LISTS)
		relocs->inverse32 = lists[1];
	return 0;
}

int relocs_parse(const void *table, size_t size, uint64_t link, uint64_t len, struct relocs *relocs)
{
	static_assert((uint32_t)RELOCS_KERNEL_MAP >= 2 * RELOCS_KERNEL_SPAN,
		      "a 0 is outside of any image");

	if (link > RELOCS_KERNEL_SPAN || len > RELOCS_KERNEL_SPAN - link || len < sizeof(uint64_t))
		return -ENOEXEC;
	if (size < WORD || size % WORD != 0 || relocs_word(table, 0) != 0)
		return -ENOEXEC;
	*relocs = (struct relocs){
		.table = table, .base = (uint32_t)(RELOCS_KERNEL_MAP + link), .len = len};
	return relocs_find_lists(relocs, size / WORD);
}

static void relocs_add32(const struct relocs *relocs, struct relocs_list list, uint8_t *image,
			 uint32_t delta)
{
	const uint8_t *table = relocs->table;
	const uint32_t base = relocs->base;

	for (size_t i = list.first; i < list.end; i++) {
		uint8_t *place = image + (uint32_t)(relocs_word(table, i) - base);
		uint32_t value;

		memcpy(&value, place, sizeof(value));
		value += delta;
		memcpy(place, &value, sizeof(value));
	}
}

static void relocs_add64(const struct relocs *relocs, struct relocs_list list, uint8_t *image,
			 uint64_t delta)
{
	const uint8_t *table = relocs->table;
	const uint32_t base = relocs->base;

	for (size_t i = list.first; i < list.end; i++) {
		uint8_t *place = image + (uint32_t)(relocs_word(table, i) - base);
		uint64_t value;

		memcpy(&value, place, sizeof(value));
		value += delta;
		memcpy(place, &value, sizeof(value));
	}
}

static struct relocs_list relocs_part(struct relocs_list list, unsigned int part,
				      unsigned int parts)
{
	size_t n = list.end - list.first;

	return (struct relocs_list){list.first + n * part / parts,
				    list.first + n * (part + 1) / parts};
}

void relocs_apply_part(const struct relocs *relocs, void *image, uint64_t delta, unsigned int part,
		       unsigned int parts)
{
	assert(delta <= RELOCS_KERNEL_SPAN - relocs->len);
	assert(part < parts);
	relocs_add64(relocs, relocs_part(relocs->list64, part, parts), image, delta);
	relocs_add32(relocs, relocs_part(relocs->inverse32, part, parts), image, (uint32_t)-delta);
	relocs_add32(relocs, relocs_part(relocs->list32, part, parts), image, (uint32_t)delta);
}
