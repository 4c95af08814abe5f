/*
 * Where an unpacked kernel is put, at random: what the startup code of a bzImage does when it unpacks the kernel itself
 * (arch/x86/boot/compressed/kaslr.c of Linux), with the host's random numbers.
 *
 * Internal to boot/. Any thread, while nobody else uses the guest memory in question. Nothing is reported. Every value of random
 * is one choice, and all choices are equally many.
 */
#pragma once

#include <stdbool.h>

#include "boot/image.h"
#include "boot/steps.h"
#include "boot/vmlinux.h"

/* False when the command line has the word nokaslr. */
bool kaslr_is_wanted(const char *cmdline);

/*
 * The physical address for a kernel that place->load is the lowest one for: anywhere in RAM above, in steps of align, such that it has
 * place->size bytes below 4 GiB, and an initrd that is not empty fits right behind and below initrd_limit.
 *
 * It is place->load when nothing else fits, or when the command line tells the kernel what memory to use (mem=, memmap=,
 * hugepages=), for it must not lie in what is taken from it. align is a power of two, of which place->load is a multiple.
 */
gpa_t kaslr_choose_physical(const struct boot_config *cfg, const struct vmlinux_place *place,
			    uint64_t align, uint64_t initrd_size, gpa_t initrd_limit,
			    uint64_t random);

/*
 * How far the virtual addresses of a kernel move up whose memory, as linked, ends at end bytes into its range: as far as the range
 * goes, in steps of align, a power of two. 0 where there is no room.
 */
uint64_t kaslr_choose_virtual(uint64_t end, uint64_t align, uint64_t random);

/*
 * Moves the kernel at place to other virtual addresses. Returns false, with nothing changed, when it brought no relocation table or
 * one that is not understood. Others may help by steps meanwhile.
 */
bool kaslr_relocate(const struct guest_mem *mem, const struct vmlinux_place *place,
		    const struct vmlinux *vmlinux, uint64_t align, uint64_t random,
		    struct steps *steps);
