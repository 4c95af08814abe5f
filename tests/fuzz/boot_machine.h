/*
 * A machine to load kernels into: 64 MiB of RAM, and the loader's layout as vmm has it. What is loaded must leave what is no RAM alone.
 */
#pragma once

#include "boot/image.h"
#include "boot/kernel.h"
#include "tests/fuzz/bytes.h"

#define MIB	(UINT64_C(1) << 20)
#define RAM	(64 * MIB)
#define LOW_END 0x9fc00
#define INITRD	9000 /* bytes */
#define CMDLINE "console=ttyS0 quiet"

/* What an input says besides its file. */
enum {
	BOOT_WITH_INITRD = 1,
	BOOT_WITH_SEED = 2,
	BOOT_WITH_SETUP_DATA = 4,
	BOOT_WITH_KASLR = 8,
	BOOT_IN_PIECES = 16, /* RAM has a hole at 24 MiB */
	BOOT_UNPACKED = 32,  /* as far as it can be */
};

static void boot_check_entry(const struct guest_mem *mem, const struct boot_entry *entry)
{
	static const uint8_t zeros[4096];

	must(entry->entry >= MIB && entry->entry < RAM);
	must(entry->params < MIB && entry->gdt < MIB && entry->page_tables < MIB);
	if (entry->initrd_size > 0) {
		must(entry->initrd >= MIB && entry->initrd % IMAGE_PAGE_SIZE == 0);
		must(entry->initrd_size == INITRD && entry->initrd + INITRD <= RAM);
		must(entry->entry < entry->initrd || entry->entry >= entry->initrd + INITRD);
	}
	for (gpa_t at = 0xa0000; at < MIB; at += sizeof(zeros))
		must(memcmp(guest_mem_ptr(mem, at, sizeof(zeros)), zeros, sizeof(zeros)) == 0);
}

/* Boots the kernel in this file, which is closed. */
static int boot_file(int fd, uint8_t how, const char *cmdline)
{
	struct boot_layout layout = {
		.zero_page = 0x7000,
		.cmdline = 0x20000,
		.cmdline_max = 4096,
		.gdt = 0x500,
		.page_tables = 0x9000,
		.pvh_info = 0x6000,
		.acpi_rsdp = 0xe0000,
		.rng_seed = how & BOOT_WITH_SEED ? 0x8000 : 0,
		.setup_data = how & BOOT_WITH_SETUP_DATA ? 0x30000 : 0,
	};
	uint64_t hole = how & BOOT_IN_PIECES ? 24 * MIB : RAM;
	struct boot_e820 e820[] = {{0, LOW_END, BOOT_E820_RAM},
				   {LOW_END, MIB - LOW_END, BOOT_E820_RESERVED},
				   {MIB, hole - MIB, BOOT_E820_RAM},
				   {hole + MIB, RAM - hole - MIB, BOOT_E820_RAM}};
	struct guest_mem_region region = {.base = 0, .size = RAM};
	struct boot_config cfg = {.kernel_fd = fd,
				  .kernel_name = "k",
				  .initrd_fd = -1,
				  .initrd_name = "i",
				  .cmdline = cmdline,
				  .layout = &layout,
				  .e820 = e820,
				  .n_e820 = how & BOOT_IN_PIECES ? 4 : 3,
				  .kaslr = how & BOOT_WITH_KASLR};
	struct boot_job *job = NULL;
	struct boot_entry entry;
	struct guest_mem mem;
	int ret;

	keep_quiet();
	must(guest_mem_init(&mem, &region, 1) == 0);
	if (how & BOOT_WITH_INITRD) {
		cfg.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
		must(cfg.initrd_fd >= 0 && ftruncate(cfg.initrd_fd, INITRD) == 0);
	}
	if (how & BOOT_UNPACKED)
		job = boot_begin(&mem, &cfg, NULL);
	ret = boot_finish(job, &mem, &cfg, &entry);
	if (ret == 0)
		boot_check_entry(&mem, &entry);
	if (cfg.initrd_fd >= 0)
		close(cfg.initrd_fd);
	close(fd);
	guest_mem_fini(&mem);
	return ret;
}
