/*
 * What the tests of boot/ share: a small guest, files in memory, the last line that was reported, and a
 * bzImage made by hand. Everything is static: each test file has its own.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <asm/bootparam.h>

#include "boot/kernel.h"
#include "vmm/core/log.h"

#define MIB	    (UINT64_C(1) << 20)
#define LOW_END	    0x9fc00
#define CMDLINE_MAX 4096

static const struct boot_layout layout = {
	.zero_page = 0x7000,
	.cmdline = 0x20000,
	.cmdline_max = CMDLINE_MAX,
	.gdt = 0x500,
	.page_tables = 0x9000,
	.pvh_info = 0x6000,
	.acpi_rsdp = 0xe0000,
};

static struct guest_mem mem;
static struct boot_e820 e820[BOOT_E820_MAX];
static struct boot_config cfg;
static struct boot_entry entry;
static char last_line[1024];
static unsigned int n_lines;
static unsigned int n_warnings; /* that a kernel chooses its addresses itself */
static unsigned int n_damaged;	/* warnings that a kernel may be */

static inline void fixture_log(void *arg, int level, const char *line)
{
	(void)arg;
	ck_assert_ptr_null(strchr(line, '\n'));
	if (level == LOG_LEVEL_WARN && strstr(line, "unpacks itself")) {
		n_warnings++;
		return;
	}
	if (level == LOG_LEVEL_WARN && strstr(line, "kernel 'k' may be damaged")) {
		n_damaged++;
		return;
	}
	ck_assert_int_eq(level, LOG_LEVEL_ERROR);
	snprintf(last_line, sizeof(last_line), "%s", line);
	n_lines++;
}

/* A machine with so much RAM, all of it below 3 GiB. */
static inline void fixture_setup_ram(uint64_t size)
{
	struct guest_mem_region region = {.base = 0, .size = size};

	ck_assert_int_eq(guest_mem_init(&mem, &region, 1), 0);
	e820[0] = (struct boot_e820){0, LOW_END, BOOT_E820_RAM};
	e820[1] = (struct boot_e820){LOW_END, MIB - LOW_END, BOOT_E820_RESERVED};
	e820[2] = (struct boot_e820){MIB, size - MIB, BOOT_E820_RAM};
	cfg = (struct boot_config){
		.kernel_fd = -1,
		.kernel_name = "k",
		.initrd_fd = -1,
		.initrd_name = "i",
		.cmdline = "console=ttyS0",
		.layout = &layout,
		.e820 = e820,
		.n_e820 = 3,
	};
	memset(&entry, 0xee, sizeof(entry));
	n_lines = 0;
	log_set_sink(fixture_log, NULL);
}

static inline void fixture_setup(void)
{
	fixture_setup_ram(64 * MIB);
}

/* As it was before anything was loaded. */
static inline void fixture_clear_ram(void)
{
	uint64_t size = guest_mem_size(&mem);

	ck_assert_int_eq(guest_mem_discard(&mem, guest_mem_ptr(&mem, 0, size), size), 0);
}

static inline void fixture_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void fixture_teardown(void)
{
	fixture_close(&cfg.kernel_fd);
	fixture_close(&cfg.initrd_fd);
	guest_mem_fini(&mem);
}

static inline int fixture_file(const void *bytes, size_t len)
{
	int fd = memfd_create("boot", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, bytes, len), (ssize_t)len);
	return fd;
}

/* Boots these bytes. */
static inline int fixture_boot(const void *bytes, size_t len)
{
	fixture_close(&cfg.kernel_fd);
	cfg.kernel_fd = fixture_file(bytes, len);
	n_lines = 0;
	return boot_finish(NULL, &mem, &cfg, &entry);
}

/* One line that names the file and holds the words; entry untouched. */
static inline void fixture_expect_refused(int ret, int err, const char *words)
{
	const uint8_t *e = (const uint8_t *)&entry;

	ck_assert_msg(ret == -err, "%d, not %d: %s", ret, -err, last_line);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_msg(strstr(last_line, words) != NULL, "'%s' lacks '%s'", last_line, words);
	ck_assert_msg(strncmp(last_line, "cannot boot 'k': ", 17) == 0 ||
			      strncmp(last_line, "cannot load initrd 'i': ", 24) == 0,
		      "'%s'", last_line);
	for (size_t i = 0; i < sizeof(entry); i++)
		ck_assert_uint_eq(e[i], 0xee);
}

static inline void fixture_expect_booted(int ret)
{
	ck_assert_msg(ret == 0, "%d: %s", ret, last_line);
	ck_assert_uint_eq(n_lines, 0);
}

#define guest_bytes(gpa, len) ((const uint8_t *)guest_mem_ptr(&mem, gpa, len))

/* A relocatable 64-bit bzImage as Linux makes it: 8 KiB of kernel with something that looks like gzip. */
#define BZ_SETUP_SECTS 3
#define BZ_OFFSET      ((BZ_SETUP_SECTS + 1) * 512)
#define BZ_SIZE	       8192
#define BZ_FILE	       (BZ_OFFSET + BZ_SIZE)
#define BZ_PAYLOAD     0x2c4
#define BZ_PREF	       0x1000000
#define BZ_INIT_SIZE   0x200000

static uint8_t bz_file[BZ_FILE];
static struct setup_header *const bz_hdr = (struct setup_header *)(bz_file + 0x1f1);

static inline void fixture_make_bzimage(void)
{
	for (unsigned int i = 0; i < BZ_FILE; i++)
		bz_file[i] = (uint8_t)(i * 7 + (i >> 8));
	memset(bz_file, 0, 1024);
	*bz_hdr = (struct setup_header){
		.setup_sects = BZ_SETUP_SECTS,
		.syssize = BZ_SIZE / 16,
		.boot_flag = 0xaa55,
		.jump = 0x6aeb,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.code32_start = 0x100000,
		.initrd_addr_max = 0x7fffffff,
		.kernel_alignment = 0x200000,
		.relocatable_kernel = 1,
		.min_alignment = 21,
		.xloadflags = XLF_KERNEL_64,
		.cmdline_size = 2047,
		.payload_offset = BZ_PAYLOAD,
		.payload_length = BZ_SIZE - BZ_PAYLOAD - 64,
		.pref_address = BZ_PREF,
		.init_size = BZ_INIT_SIZE,
	};
	bz_file[0x1ef] = 0xff; /* the sentinel */
	memcpy(bz_file + BZ_OFFSET + BZ_PAYLOAD, "\x1f\x8b\x08", 3);
}

static inline int fixture_boot_bzimage(void)
{
	return fixture_boot(bz_file, sizeof(bz_file));
}

static inline int fixture_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
