/*
 * What a file of the cache of unpacked kernels holds: a head, then the kernel's bytes but for zero pages, then its
 * relocation table.
 *
 * Internal to boot/kernel_cache*.c. Any thread; functions return 0 or negative errno.
 */
#pragma once

#include "boot/kernel_cache.h"

#define KERNEL_CACHE_MAX_RUNS 512

/* Where bytes go, from the kernel's place on; whole pages. */
struct kernel_cache_run {
	uint64_t at;
	uint64_t len;
};

struct kernel_cache_head {
	char magic[8];
	struct kernel_cache_id id;
	uint64_t entry; /* from the place on, as are the segments' gpa */
	/* Where the file has the kernel's own configuration, as it is packed there; 0: the kernel holds none. */
	uint64_t config_at, config_len;
	uint64_t tail_len;
	uint32_t n_segments;
	uint32_t n_runs;
	struct vmlinux_segment segments[VMLINUX_MAX_SEGMENTS];
	struct kernel_cache_run runs[KERNEL_CACHE_MAX_RUNS];
};

/* Writes the file's content. */
int kernel_cache_write(int fd, const struct kernel_cache_id *id, const struct guest_mem *mem,
		       const struct vmlinux_place *place, const struct vmlinux *vmlinux);

/* Reads it, as kernel_cache_load() says. -ESTALE when it is another kernel's, -EBADMSG when it is damaged. */
int kernel_cache_read(int fd, const struct kernel_cache_id *id, const struct guest_mem *mem,
		      const struct vmlinux_place *place, struct steps *steps,
		      struct vmlinux *vmlinux);

/*
 * The configuration that the kernel of that file holds, which is the one of kernel_fd as far as its inode tells; see
 * kernel_info_config(). -ESTALE when it is another one.
 */
int kernel_cache_read_config(int fd, int kernel_fd, char **text);
