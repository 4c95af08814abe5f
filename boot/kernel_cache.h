/*
 * Unpacked kernels on disk, so that a kernel is unpacked once and then only read.
 *
 * A directory holds a file for each kernel file, named by its device and inode. It belongs to the user and nobody else may
 * write there, or it is not used. What it holds is believed as far as it is the user's own, but checked so that a damaged
 * file does no harm. A file counts when the kernel is still the very same, by its inode's times and by what its first and
 * its last bytes are, and the host was not started anew since: files are not synced, and a host that crashed may have lost
 * a part of one.
 *
 * Internal to boot/. Any thread and any number of processes at once: a file is written under another name, by one process
 * at a time, and then renamed. Whatever fails, the kernel is unpacked as without a cache; nothing is reported.
 */
#pragma once

#include <stdbool.h>

#include "boot/steps.h"
#include "boot/vmlinux.h"

/* All its files in the directory together; the oldest are removed. What others keep there is left alone. */
#define KERNEL_CACHE_MAX (UINT64_C(512) << 20)

/* Compared byte by byte, so there are no holes. */
struct kernel_cache_id {
	uint64_t dev, ino, size;
	int64_t mtime, mtime_ns, ctime, ctime_ns;
	uint64_t payload_offset, payload_len;
	uint64_t link, room; /* of the place, which the file's setup header tells */
	uint64_t digest;     /* of what the file begins with, and the payload ends with */
	char host_boot[40];  /* /proc/sys/kernel/random/boot_id */
};

/* Whose payload it is. Before the payload is read. Returns 0 or negative errno. */
int kernel_cache_identify(const struct codec_input *payload, const struct vmlinux_place *place,
			  struct kernel_cache_id *id);

/*
 * The configuration inside the kernel, as kernel_info_config() gives it, from its file in the directory. Returns 0, -ENODATA when the
 * kernel holds none, or another negative errno when nothing is known there.
 */
int kernel_cache_config(const char *dir, int kernel_fd, char **text);

/*
 * Reads the kernel to its place, as vmlinux_unpack() would put it there. Returns 0, or a negative errno with guest memory as
 * it was: it held zeros. Others may help by steps meanwhile.
 */
int kernel_cache_load(const char *dir, const struct kernel_cache_id *id,
		      const struct guest_mem *mem, const struct vmlinux_place *place,
		      struct steps *steps, struct vmlinux *vmlinux);

/*
 * Keeps the kernel that was just unpacked there. The directory is made where its parent is the user's. payload is asked once
 * more whose it is: a file that was changed in the meantime, or so lately that its times may not tell, is not kept.
 * Returns 0 or negative errno: -EBUSY while another process writes this file.
 */
int kernel_cache_store(const char *dir, const struct kernel_cache_id *id,
		       const struct codec_input *payload, const struct guest_mem *mem,
		       const struct vmlinux_place *place, const struct vmlinux *vmlinux);
