/*
 * The protocol that shared directories speak, as of Linux 6.1, also where the kernel's headers are older (README.md says how old they may
 * be): what they lack by then, and the structs that begin a session as they are since 7.36, which end with flags2 and what is unused.
 */
#pragma once

#include <stdint.h>
#include <linux/fuse.h>

/* Linux 5.14 */
#if FUSE_KERNEL_MINOR_VERSION < 34
#define FUSE_SYNCFS 50
struct fuse_syncfs_in {
	uint64_t padding;
};
#endif

/* Linux 5.17 */
#if FUSE_KERNEL_MINOR_VERSION < 36
#define FUSE_INIT_EXT (1 << 30)
struct fs_init_in {
	uint32_t major, minor, max_readahead, flags, flags2;
	uint32_t unused[11];
};
struct fs_init_out {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2;
	uint32_t unused[7];
};
#define fuse_init_in  fs_init_in
#define fuse_init_out fs_init_out
#endif

/* Linux 6.1 */
#if FUSE_KERNEL_MINOR_VERSION < 37
#define FUSE_TMPFILE 51
#endif

_Static_assert(sizeof(struct fuse_init_in) == 64 && sizeof(struct fuse_init_out) == 64,
	       "as on the wire");
