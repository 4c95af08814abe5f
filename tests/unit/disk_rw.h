/* Reads from a disk and writes to it, for tests. */
#pragma once

#include "virtio/disk.h"

static inline int disk_rw(struct disk *disk, enum disk_op op, const struct iovec *iov,
			  unsigned int n, uint64_t offset)
{
	struct disk_io io = {.op = op, .iov = iov, .n_iov = n, .offset = offset};

	for (unsigned int i = 0; i < n; i++)
		io.len += iov[i].iov_len;
	return disk_execute(disk, &io, NULL);
}

static inline int disk_readv(struct disk *disk, const struct iovec *iov, unsigned int n,
			     uint64_t offset)
{
	return disk_rw(disk, DISK_READ, iov, n, offset);
}

static inline int disk_writev(struct disk *disk, const struct iovec *iov, unsigned int n,
			      uint64_t offset)
{
	return disk_rw(disk, DISK_WRITE, iov, n, offset);
}
