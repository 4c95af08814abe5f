/*
 * Which pages of the process exist: /proc/self/pagemap, with 8 bytes for each. No state; any thread.
 */
#pragma once

#include <stdint.h>

/* It is in memory, in swap, or on its way from one place to another. */
#define PAGEMAP_THERE UINT64_C(0xc000000000000000)

/* Opens it without the right to see where in the host's memory pages lie. Returns a descriptor, or -1. */
int pagemap_open(void);
