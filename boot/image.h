/*
 * What the files of the kernel loader share: the description of a loaded kernel that each format fills in,
 * reading from files, the question whether a range is usable RAM, and the one way to refuse.
 *
 * Internal to boot/. Threads: as boot/kernel.h. Functions return 0 or a negative errno; those that take the
 * boot_config report the error themselves.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/bootparam.h>

#include "boot/kernel.h"
#include "vmm/core/guest_mem.h"

/* The first MiB holds the boot_layout, ACPI tables and the like: no kernel or initrd goes there. */
#define IMAGE_LOWEST 0x100000

/* Nor above 4 GiB, where the 32-bit entries and the identity map do not reach. */
#define IMAGE_LIMIT (UINT64_C(1) << 32)

/* COMMAND_LINE_SIZE - 1 of arch/x86/include/asm/setup.h: for images that do not say. */
#define IMAGE_CMDLINE_SIZE 2047

#define IMAGE_PAGE_SIZE 4096

/* Fields of the setup header (boot.rst). */
#define IMAGE_BOOT_FLAG	     0xaa55
#define IMAGE_TYPE_OF_LOADER 0xff   /* no assigned number */
#define IMAGE_VIDEO_MODE     0xffff /* normal */

/*
 * Up to here a kernel is small: to clear a huge page takes longer than faults in all the small ones that it needs. Linux is
 * larger, and uses low memory for itself at once.
 */
#define IMAGE_SMALL_KERNEL (256 * 1024)

/* The kernel file as it was when loading began. The descriptor is borrowed. */
struct image_file {
	int fd;
	uint64_t size;
	const uint8_t *head; /* its first bytes */
	size_t head_len;
};

#define IMAGE_SEED_SIZE 32

struct image {
	enum boot_protocol protocol;
	gpa_t entry;
	/* All that the kernel occupies until it has looked at its memory map lies in [start, end). */
	gpa_t start;
	gpa_t end;
	gpa_t initrd_max;	       /* the last address an initrd may occupy */
	uint64_t cmdline_size;	       /* the longest command line, without NUL */
	gpa_t initrd;		       /* set by initrd_load() */
	uint64_t initrd_size;	       /* 0: none */
	uint8_t seed[IMAGE_SEED_SIZE]; /* random numbers for Linux */
	struct boot_params
		params; /* its setup header is set when the protocol is a BOOT_LINUX one */
};

/* Reports "cannot boot 'kernel': ..." or "cannot load initrd 'initrd': ...", unless cfg->quiet, and returns -err. */
int image_refuse(const struct boot_config *cfg, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int image_refuse_initrd(const struct boot_config *cfg, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for what err, a negative errno, says; returns err. */
int image_refuse_errno(const struct boot_config *cfg, int err);

/* The lowest address from which all is RAM up to gpa, which is RAM; not below 1 MiB. */
gpa_t image_ram_start(const struct boot_config *cfg, gpa_t gpa);

/* Reads exactly len bytes. Returns 0, -ENODATA when the file ends before, or the errno of pread(). */
int image_read(int fd, uint64_t offset, void *dst, size_t len);

/* The same, straight into guest memory; -EFAULT when that is not RAM. len 0 is fine. */
int image_read_guest(const struct guest_mem *mem, gpa_t gpa, int fd, uint64_t offset, uint64_t len);

/* Refuses unless [start, end) lies in one piece of RAM between 1 MiB and 4 GiB. start < end. */
int image_check_memory(const struct guest_mem *mem, const struct boot_config *cfg, gpa_t start,
		       gpa_t end);

/* A small kernel gets small pages. For when start and end are known, and nothing has been read into memory. */
void image_choose_pages(const struct guest_mem *mem, const struct image *image);

/* Fills in at most 256 bytes with random numbers of the host. Returns 0 or the errno of getrandom(). */
int image_get_random(void *bytes, size_t len);

/* Rounds up to a multiple of align, a power of two. Returns false when that does not fit 64 bits. */
bool image_align(uint64_t value, uint64_t align, uint64_t *aligned);

/* MiB, rounded up: the number to tell a user how much memory something needs. */
static inline uint64_t image_mib(uint64_t bytes)
{
	return (bytes >> 20) + ((bytes & 0xfffff) != 0);
}
