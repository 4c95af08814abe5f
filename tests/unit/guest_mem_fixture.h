/*
 * Guest memory with a hole in it, of each kind that any host has. Check runs each test in a process of its own.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/core/guest_mem.h"

#define KIB UINT64_C(0x400)
#define MIB UINT64_C(0x100000)
#define GIB UINT64_C(0x40000000)

static struct guest_mem mem;

/* 1 MiB, a hole, 64 KiB behind it. */
#define LOW_SIZE  MIB
#define HIGH_BASE (4 * MIB)
#define HIGH_SIZE (64 * KIB)

/* What can back it anywhere; hugetlb cannot. */
static const struct guest_mem_options kinds[] = {
	{.pages = GUEST_MEM_THP},
	{.pages = GUEST_MEM_SMALL},
	{.pages = GUEST_MEM_THP, .shared = true},
	{.pages = GUEST_MEM_SMALL, .shared = true},
};

#define N_KINDS (int)(sizeof(kinds) / sizeof(kinds[0]))

static inline void setup_as(const struct guest_mem_options *options)
{
	const struct guest_mem_region regions[] = {
		{.base = 0, .size = LOW_SIZE},
		{.base = HIGH_BASE, .size = HIGH_SIZE},
	};

	ck_assert_int_eq(guest_mem_init_as(&mem, options, regions, 2), 0);
}

static inline void setup(void)
{
	setup_as(&kinds[0]);
}

static inline void teardown(void)
{
	guest_mem_fini(&mem);
}

static inline bool is_resident(const void *page)
{
	unsigned char vec = 0;

	ck_assert_int_eq(mincore((void *)(uintptr_t)page, 4096, &vec), 0);
	return vec & 1;
}
