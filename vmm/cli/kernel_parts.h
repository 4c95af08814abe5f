/*
 * What a guest needs its kernel for, by name: whether the kernel has it, and as which module.
 *
 * Owner: the caller. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/cli/kernel_choice.h"

/* In the order in which their modules are loaded. */
enum kernel_part {
	KERNEL_INITRAMFS,
	KERNEL_ELF,
	KERNEL_64,
	KERNEL_DEVTMPFS,
	KERNEL_CLOCK, /* without which it begins in the year 2000, if it does not stand still */
	KERNEL_SERIAL,
	KERNEL_SHA256, /* by which the kernel checks the others' signatures */
	KERNEL_PCI,
	KERNEL_PCI_MSI, /* there are no other interrupts */
	KERNEL_VIRTIO_PCI,
	KERNEL_VIRTIO_MMIO,
	KERNEL_CONSOLE,
	KERNEL_BLK,
	KERNEL_NET,
	KERNEL_PACKET, /* by which the guest's program asks for an address */
	KERNEL_VSOCK,  /* without which the next is not asked for when a kernel is configured */
	KERNEL_VIRTIO_VSOCK,
	KERNEL_RNG,
	KERNEL_BALLOON,
	KERNEL_EXT4,
	KERNEL_SQUASHFS,
	KERNEL_EROFS,
	KERNEL_OVERLAY,
	KERNEL_FUSE, /* as above */
	KERNEL_VIRTIOFS,
	/* what a squashfs may be packed by; never modules */
	KERNEL_SQUASHFS_LZ4, /* vmm's own are */
	KERNEL_SQUASHFS_ZLIB,
	KERNEL_SQUASHFS_LZO,
	KERNEL_SQUASHFS_XZ,
	KERNEL_SQUASHFS_ZSTD,
	KERNEL_PARTS
};

#define KERNEL_PART(part) (UINT32_C(1) << (part))

enum kernel_answer {
	KERNEL_UNKNOWN,
	KERNEL_LACKS,
	KERNEL_BUILTIN,
	KERNEL_MODULE, /* which is there */
};

/* "virtio_pci (CONFIG_VIRTIO_PCI)" is made of these. */
const char *kernel_part_name(enum kernel_part part);
const char *kernel_part_symbol(enum kernel_part part);

/* The text of kernel->config, to be freed by free(), or NULL if there is none that can be read. */
char *kernel_read_config(const struct kernel_choice *kernel);

/*
 * Finds out about all parts in want, a mask of KERNEL_PART(). config: the text of the kernel's configuration, or NULL. The
 * modules that are files go to out, if it is not NULL (modules_gather()). Returns 0, or a negative errno after one line on stderr.
 */
int kernel_ask(const struct kernel_choice *kernel, const char *config, uint32_t want,
	       enum kernel_answer answers[KERNEL_PARTS], FILE *out);

/*
 * All that a start needs, after kernel_look_around(): reads the configuration, if it is a file, or else, when there are needs and no modules
 * either, that inside the kernel, from the cache (NULL: there is none) if it has that; packs the modules for what is in
 * needs and wishes (masks of KERNEL_PART()), and refuses a kernel that is known to lack something in needs by one line that names all of
 * it. A wish may be lacking: those that are known to be go to *lacking, if that is not NULL. Returns 0 with *archive to be freed by free(), NULL when no module is needed; or a negative errno,
 * -ENOTSUP for a kernel that lacks something.
 */
int kernel_prepare(const struct kernel_choice *kernel, const char *cache, uint32_t needs,
		   uint32_t wishes, uint32_t *lacking, void **archive, size_t *size);

/*
 * After a start that failed: if nothing was known beforehand of what the kernel has, says how that is found out, by one line. To look
 * for its own configuration (CONFIG_IKCONFIG) takes files, which are out of reach by then, and as long as unpacking the kernel.
 * Returns whether there was something to say.
 */
bool kernel_hint(const struct kernel_choice *kernel);
