/*
 * What the guest asks of a shared directory: FUSE requests as Linux sends them (linux/fuse.h; virtio 1.2, 5.11.6), each taken out of
 * its chain into a struct of our own, or refused, before anything is done.
 *
 * Linux is the only implementation on the other side that matters, and its libfuse, which would be the library for this, trusts
 * the kernel that it talks to: lengths, and zeros at the ends of names. Here nothing is trusted.
 *
 * Owner: the caller. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <limits.h>

#include "virtio/fs_fuse.h"
#include "virtio/virtq.h"
#include "vmm/core/iov.h"

#define FS_REQUEST_PIECES  1024 /* of guest memory: a request of 1 MiB is 256 pages and a few more */
#define FS_REQUEST_LISTING 65536 /* bytes: the largest value of an attribute (XATTR_SIZE_MAX) */

union fs_args {
	struct fuse_init_in init;
	struct fuse_forget_in forget;
	struct fuse_batch_forget_in batch_forget;
	struct fuse_getattr_in getattr;
	struct fuse_setattr_in setattr;
	struct fuse_open_in open;
	struct fuse_create_in create;
	struct fuse_mknod_in mknod;
	struct fuse_mkdir_in mkdir;
	struct fuse_rename2_in rename; /* of FUSE_RENAME the first field alone */
	struct fuse_link_in link;
	struct fuse_read_in read;
	struct fuse_write_in write;
	struct fuse_release_in release;
	struct fuse_fsync_in fsync;
	struct fuse_flush_in flush;
	struct fuse_fallocate_in fallocate;
	struct fuse_copy_file_range_in copy;
	struct fuse_getxattr_in getxattr;
	struct fuse_setxattr_in setxattr;
	struct fuse_lseek_in lseek;
};

struct fs_request {
	struct fuse_in_header header;
	union fs_args args;	 /* what the guest did not send is zero */
	char name[NAME_MAX + 1]; /* a file's, or an attribute's; "" when the operation has none */
	char second
		[PATH_MAX]; /* a new name, or what a symbolic link holds; "" when there is none */
	struct iov_cursor rest; /* what follows, still in guest memory */
	/* set by the device: where it came from, and where the whole answer goes */
	unsigned int queue;
	uint16_t head;
	struct iov_cursor answer;
	/* for the answer, or while it is made */
	struct iovec part[FS_REQUEST_PIECES];
	char listing[FS_REQUEST_LISTING];
};

/* Reads the header. False: there is none, so that nothing can be answered. */
bool fs_request_begin(struct fs_request *request, const struct virtq_chain *chain);

/*
 * Reads the rest. Returns 0, or what the guest is answered: -EINVAL for what is too short or has no end, -ENAMETOOLONG, -ENOSYS for an
 * operation that is none.
 */
int fs_request_parse(struct fs_request *request);

/* Whether nobody waits for an answer. */
bool fs_request_is_silent(const struct fs_request *request);

/* Whether the operation would change something, so that it is none for a share that is only read. */
bool fs_request_would_change(const struct fs_request *request);

/* Whether the operation is on the header's node, so that there must be one. */
bool fs_request_is_on_node(const struct fs_request *request);
