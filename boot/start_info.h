/*
 * The wire structs of PVH, from Xen's public header xen/include/public/arch-x86/hvm/start_info.h (no uapi or
 * libc header has them). All addresses are guest physical.
 */
#pragma once

#include <stdint.h>

#define XEN_HVM_START_MAGIC_VALUE   0x336ec578
#define XEN_HVM_START_INFO_VERSION1 1

struct hvm_start_info {
	uint32_t magic;
	uint32_t version;
	uint32_t flags;
	uint32_t nr_modules;
	uint64_t modlist_paddr;
	uint64_t cmdline_paddr;
	uint64_t rsdp_paddr;
	/* version 1 */
	uint64_t memmap_paddr;
	uint32_t memmap_entries;
	uint32_t reserved;
} __attribute__((packed));

struct hvm_modlist_entry {
	uint64_t paddr;
	uint64_t size;
	uint64_t cmdline_paddr;
	uint64_t reserved;
} __attribute__((packed));

struct hvm_memmap_table_entry {
	uint64_t addr;
	uint64_t size;
	uint32_t type; /* as in e820 */
	uint32_t reserved;
} __attribute__((packed));
