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
#include <linux/fuse.h>

#include "virtio/virtq.h"
#include "vmm/core/iov.h"

union fs_args {
	struct fuse_init_in init;
	struct fuse_forget_in forget;
	struct fuse_batch_forget_in batch_forget;
	struct fuse_getattr_in getattr;
	struct fuse_open_in open;
	struct fuse_read_in read;
	struct fuse_release_in release;
	struct fuse_getxattr_in getxattr;
	struct fuse_lseek_in lseek;
};

struct fs_request {
	struct fuse_in_header header;
	union fs_args args;	 /* what the guest did not send is zero */
	char name[NAME_MAX + 1]; /* a file's, or an attribute's; "" when the operation has none */
	struct iov_cursor rest;	 /* what follows, still in guest memory */
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

/* Whether the operation would change something: one that is known, and is not served. */
bool fs_request_would_change(const struct fs_request *request);
