/*
 * What a Linux guest's kernel tells of itself to those who read its memory after a crash (VMCOREINFO): lines NAME=VALUE with its
 * release, addresses of variables and the layout of structs.
 *
 * The kernel keeps it in a page of its own, as the ELF note that a crash kernel would be given. All guest memory is searched for
 * that page, at most once from end to end. What is found was written by the guest: the text is plain ASCII, and nothing
 * else is sure of it.
 *
 * Any thread. The struct is the caller's, and is a copy.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/core/guest_mem.h"

#define GUEST_VMCOREINFO_NAME "VMCOREINFO"
#define GUEST_VMCOREINFO_SIZE 4096

struct guest_vmcoreinfo {
	size_t len;			      /* bytes */
	char text[GUEST_VMCOREINFO_SIZE + 1]; /* and a zero behind them */
};

/* Returns whether there is one. */
bool guest_vmcoreinfo_find(const struct guest_mem *mem, struct guest_vmcoreinfo *info);

/* The number behind name, which is the beginning of a line with its equals sign. Returns whether it is there. */
bool guest_vmcoreinfo_number(const struct guest_vmcoreinfo *info, const char *name,
			     unsigned int base, uint64_t *number);
