/*
 * Guest virtual addresses, by the guest's own page tables: Intel SDM volume 3, 5.3 to 5.5 (32-bit, PAE, 4-level and
 * 5-level paging, and none).
 *
 * For whoever looks at a guest from outside. Tables are read entry by entry as they are now, at most five of them for
 * an address (and two root tables); rights and reserved bits are not looked at, nor are accessed bits set. Addresses are linear: the
 * caller has added a segment's base. While a program of a Linux kernel with page table isolation runs, the kernel's addresses are found
 * by the kernel's tables.
 *
 * Any thread; only that of a paused vCPU gives an answer that lasts.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <linux/kvm.h>

#include "vmm/core/guest_mem.h"

#define X86_EFER_LMA 0x400u /* 64-bit mode, and paging with it */

/*
 * Where an address lies, and how many bytes from there on lie in the same page. Returns 0, or -EFAULT when no page is there, nor
 * in *left bytes from there on. What a page is mapped to need not be memory.
 */
int guest_walk(const struct guest_mem *mem, const struct kvm_sregs *sregs, uint64_t address,
	       gpa_t *gpa, uint64_t *left);

/* Copy up to len bytes, over pages' ends. Return how many there were before the first one that is not to be had. */
size_t guest_walk_read(const struct guest_mem *mem, const struct kvm_sregs *sregs, uint64_t address,
		       void *dst, size_t len);
size_t guest_walk_write(const struct guest_mem *mem, const struct kvm_sregs *sregs,
			uint64_t address, const void *src, size_t len);
