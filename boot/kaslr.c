#include "boot/kaslr.h"

#include <inttypes.h>
#include <string.h>

#include "boot/relocs.h"
#include "vmm/core/assert.h"
#include "vmm/core/log.h"

#define KASLR_STEPS 16 /* two threads are done at about the same time */

/* ---- the command line ---- */

bool kaslr_is_wanted(const char *cmdline)
{
	return !boot_has_word(cmdline, "nokaslr", true);
}

static bool kaslr_memory_is_told(const char *cmdline)
{
	return boot_has_word(cmdline, "mem=", false) || boot_has_word(cmdline, "memmap=", false) ||
	       boot_has_word(cmdline, "hugepages=", false);
}

/* ---- the physical address ---- */

/* The places in a piece of RAM: how many they are, and the first of them. */
static uint64_t kaslr_count_places(const struct boot_e820 *e, const struct vmlinux_place *place,
				   uint64_t align, uint64_t size, gpa_t limit, gpa_t *first)
{
	gpa_t start = e->base > place->load ? e->base : place->load;
	gpa_t end = e->base + e->size < limit ? e->base + e->size : limit;

	if (e->type != BOOT_E820_RAM || !image_align(start, align, first) || *first >= end ||
	    end - *first < size)
		return 0;
	return (end - *first - size) / align + 1;
}

gpa_t kaslr_choose_physical(const struct boot_config *cfg, const struct vmlinux_place *place,
			    uint64_t align, uint64_t initrd_size, gpa_t initrd_limit,
			    uint64_t random)
{
	gpa_t limit = initrd_size > 0 && initrd_limit < IMAGE_LIMIT ? initrd_limit : IMAGE_LIMIT;
	uint64_t size, n, n_places = 0;
	gpa_t first;

	assert(__builtin_popcountll(align) == 1);
	assert(cfg->n_e820 <= BOOT_E820_MAX);
	if (kaslr_memory_is_told(cfg->cmdline) ||
	    !image_align(place->size, IMAGE_PAGE_SIZE, &size) ||
	    __builtin_add_overflow(size, initrd_size, &size))
		return place->load;
	for (unsigned int i = 0; i < cfg->n_e820; i++)
		n_places += kaslr_count_places(&cfg->e820[i], place, align, size, limit, &first);
	if (n_places == 0)
		return place->load;
	random %= n_places;
	for (unsigned int i = 0;; i++) {
		n = kaslr_count_places(&cfg->e820[i], place, align, size, limit, &first);
		if (random < n)
			return first + random * align;
		random -= n;
	}
}

/* ---- the virtual address ---- */

uint64_t kaslr_choose_virtual(uint64_t end, uint64_t align, uint64_t random)
{
	assert(__builtin_popcountll(align) == 1);
	if (end > RELOCS_KERNEL_SPAN)
		return 0;
	return random % ((RELOCS_KERNEL_SPAN - end) / align + 1) * align;
}

/* Bytes of memory from the kernel's beginning to its end. */
static uint64_t kaslr_measure(const struct vmlinux_place *place, const struct vmlinux *vmlinux)
{
	const struct vmlinux_segment *last = &vmlinux->segments[vmlinux->n_segments - 1];

	assert(vmlinux->n_segments > 0);
	return last->gpa - place->load + last->room;
}

struct kaslr_move {
	struct relocs relocs;
	void *image;
	uint64_t delta;
};

static int kaslr_move_part(void *arg, unsigned int step)
{
	const struct kaslr_move *move = arg;

	relocs_apply_part(&move->relocs, move->image, move->delta, step, KASLR_STEPS);
	return 0;
}

bool kaslr_relocate(const struct guest_mem *mem, const struct vmlinux_place *place,
		    const struct vmlinux *vmlinux, uint64_t align, uint64_t random,
		    struct steps *steps)
{
	uint64_t len = kaslr_measure(place, vmlinux);
	struct kaslr_move move;

	if (relocs_parse(vmlinux->tail, vmlinux->tail_len, place->link, len, &move.relocs) < 0) {
		log_debug("the kernel stays at its virtual addresses: it has no relocation table"
			  " that vmm knows");
		return false;
	}
	move.image = guest_mem_ptr(mem, place->load, len);
	move.delta = kaslr_choose_virtual(place->link + len, align, random);
	steps_run(steps, kaslr_move_part, &move, KASLR_STEPS);
	log_debug("the kernel is at 0x%" PRIx64 ", its virtual addresses are moved by 0x%" PRIx64,
		  place->load, move.delta);
	return true;
}
