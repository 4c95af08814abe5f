#include "virtio/disk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/core/assert.h"
#include "vmm/core/iov.h"
#include "vmm/core/log.h"
#include "vmm/core/unset.h"

/* How much one system call is given; between two of them a request can be cancelled. */
#define DISK_PIECES	  256u
#define DISK_CALL_BYTES	  (UINT64_C(16) << 20)
#define DISK_BOUNCE_BYTES (UINT64_C(1) << 20)
#define DISK_ZERO_BYTES	  (UINT64_C(256) << 20)

int __attribute__((cold)) disk_open(struct disk *disk, const struct disk_config *config)
{
	int ret;

	*disk = (struct disk){.readonly = config->image.readonly, .engine = config->engine};
	if (asprintf(&disk->name, "disk '%s'", config->image.path) < 0) {
		disk->name = NULL;
		log_failure(-ENOMEM, "cannot open disk '%s'", config->image.path);
		return -ENOMEM;
	}
	ret = image_open(&disk->image, &config->image);
	if (ret < 0) {
		disk_close(disk);
		return ret;
	}
	disk->size = disk->image->size;
	disk->logical_block = disk->image->logical_block;
	disk->physical_block = disk->image->physical_block;
	disk->optimal_io = disk->image->optimal_io;
	return 0;
}

void __attribute__((cold)) disk_close(struct disk *disk)
{
	if (disk->image)
		disk->image->ops->close(disk->image);
	disk->image = NULL;
	free(disk->name);
	disk->name = NULL;
}

int __attribute__((cold)) disk_resized(struct disk *disk)
{
	int err = disk->image->ops->resize ? disk->image->ops->resize(disk->image) : 0;

	if (err == 0)
		__atomic_store_n(&disk->size, disk->image->size, __ATOMIC_RELAXED);
	return err;
}

static size_t disk_min(uint64_t a, uint64_t b)
{
	return (size_t)(a < b ? a : b);
}

static bool disk_cancelled(const _Atomic bool *cancel)
{
	return cancel && atomic_load_explicit(cancel, memory_order_relaxed);
}

static bool disk_in_range(const struct disk *disk, uint64_t offset, uint64_t len)
{
	uint64_t end;

	return !__builtin_add_overflow(offset, len, &end) && end <= disk_size(disk);
}

/* ---- reads and writes ---- */

enum disk_way {
	DISK_WAY_READ,
	DISK_WAY_READ_NOWAIT, /* from the page cache, else -EAGAIN */
	DISK_WAY_WRITE,
};

/* The kernel looks at a vector for longer than at a single piece, by a fifth of a cached read of 4 KiB. */
static ssize_t disk_call(enum disk_way way, int fd, const struct iovec *iov, unsigned int n,
			 uint64_t offset)
{
	if (way == DISK_WAY_READ_NOWAIT)
		return preadv2(fd, iov, (int)n, (off_t)offset, RWF_NOWAIT);
	if (n == 1)
		return way == DISK_WAY_WRITE
			       ? pwrite(fd, iov->iov_base, iov->iov_len, (off_t)offset)
			       : pread(fd, iov->iov_base, iov->iov_len, (off_t)offset);
	return way == DISK_WAY_WRITE ? pwritev(fd, iov, (int)n, (off_t)offset)
				     : preadv(fd, iov, (int)n, (off_t)offset);
}

/* A transfer on its way: what is left of it. */
struct disk_move {
	const struct disk *disk;
	const _Atomic bool *cancel;
	enum disk_way way;
	struct iov_cursor cur;
	int fd;
	bool direct;	 /* fd takes direct I/O */
	uint64_t offset; /* in fd */
};

/* Direct I/O on memory that is not aligned as it must be. cur is not moved. */
static ssize_t __attribute__((cold)) disk_call_bounced(const struct disk_move *move, size_t len)
{
	struct iov_cursor cur = move->cur;
	struct iovec one = {.iov_len = len};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t align = move->disk->image->memory_align;
	ssize_t done;
	int err;

	if (posix_memalign(&one.iov_base, align > page ? align : page, len) != 0) {
		errno = ENOMEM;
		return -1;
	}
	if (move->way == DISK_WAY_WRITE)
		iov_cursor_read(&cur, one.iov_base, len);
	done = disk_call(move->way, move->fd, &one, 1, move->offset);
	err = errno;
	if (move->way != DISK_WAY_WRITE && done > 0)
		iov_cursor_write(&cur, one.iov_base, (size_t)done);
	free(one.iov_base);
	errno = err;
	return done;
}

/* What one call is given: nearly always all that is left, as it is; else a copy of as much as fits into pieces. */
static const struct iovec *disk_next_pieces(const struct disk_move *move, uint64_t len,
					    struct iovec *pieces, unsigned int *n)
{
	const struct iovec *rest = iov_cursor_rest(&move->cur, n);
	struct iov_cursor next = move->cur;
	size_t taken;

	if (rest && *n <= DISK_PIECES && len == iov_cursor_left(&move->cur) &&
	    len <= DISK_CALL_BYTES)
		return rest;
	*n = iov_cursor_take(&next, pieces, DISK_PIECES, disk_min(len, DISK_CALL_BYTES), &taken);
	return pieces;
}

/* One call may move less than asked: 2 GiB, IOV_MAX pieces, up to a signal, a full disk or the end of the file. */
static int disk_move_file(struct disk_move *move, uint64_t len)
{
	UNSET struct iovec room[DISK_PIECES];
	const struct image *image = move->disk->image;

	while (len > 0) {
		unsigned int n;
		const struct iovec *pieces = disk_next_pieces(move, len, room, &n);
		ssize_t done = !move->direct || iov_is_aligned(pieces, n, image->memory_align,
							       image->direct_align)
				       ? disk_call(move->way, move->fd, pieces, n, move->offset)
				       : disk_call_bounced(move, disk_min(len, DISK_BOUNCE_BYTES));

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		if (move->way == DISK_WAY_READ_NOWAIT && (uint64_t)done < len)
			return -EAGAIN;
		iov_cursor_skip(&move->cur, (size_t)done);
		move->offset += (uint64_t)done;
		len -= (uint64_t)done;
		if (len > 0 && disk_cancelled(move->cancel))
			return -ECANCELED;
	}
	return 0;
}

/* What only the image can read, cut to what fits in the array; *len becomes what was read. */
static int __attribute__((cold))
disk_read_self(struct disk *disk, struct disk_move *move, uint64_t offset, uint64_t *len)
{
	UNSET struct iovec pieces[DISK_PIECES];
	size_t taken;
	unsigned int n = iov_cursor_take(&move->cur, pieces, DISK_PIECES,
					 disk_min(*len, DISK_CALL_BYTES), &taken);

	*len = taken;
	return disk->image->ops->read(disk->image, pieces, n, offset);
}

static int disk_move_extent(struct disk *disk, struct disk_move *move, uint64_t offset,
			    struct image_extent *extent)
{
	int err;

	switch (extent->place) {
	case IMAGE_FILE:
		move->fd = extent->fd;
		move->direct = extent->direct;
		move->offset = extent->offset;
		err = disk_move_file(move, extent->len);
		if (err == 0 && move->way == DISK_WAY_WRITE && disk->image->ops->wrote)
			disk->image->ops->wrote(disk->image, offset, extent->len);
		return err;
	case IMAGE_ZERO:
		assert(move->way != DISK_WAY_WRITE);
		iov_cursor_zero(&move->cur, extent->len);
		return 0;
	default:
		assert(extent->place == IMAGE_SELF && move->way != DISK_WAY_WRITE);
		return disk_read_self(disk, move, offset, &extent->len);
	}
}

static int disk_map(struct disk *disk, enum disk_way way, uint64_t offset, uint64_t len,
		    struct image_extent *extent)
{
	const struct image_ops *ops = disk->image->ops;

	return (way == DISK_WAY_WRITE ? ops->map_write : ops->map_read)(disk->image, offset, len,
									extent);
}

/* Extent by extent, and as much of each as one call will move. Apart from what is usual, which does without its bookkeeping. */
static __attribute__((noinline)) int disk_transfer_parts(struct disk *disk,
							 const struct disk_io *io,
							 enum disk_way way,
							 const _Atomic bool *cancel)
{
	struct disk_move move = {.disk = disk, .cancel = cancel, .way = way};
	uint64_t offset = io->offset, left = io->len;
	struct image_extent extent;
	int err = 0;

	iov_cursor_init(&move.cur, io->iov, io->n_iov);
	while (left > 0 && err == 0) {
		if (disk_cancelled(cancel))
			return -ECANCELED;
		err = disk_map(disk, way, offset, left, &extent);
		if (err == 0)
			err = disk_move_extent(disk, &move, offset, &extent);
		if (err == 0) {
			offset += extent.len;
			left -= extent.len;
		}
	}
	return err;
}

/* What nearly every request is: one call for one place of one file. Returns 0 or negative errno; 1: it must go in parts. */
static int disk_transfer_whole(struct disk *disk, const struct disk_io *io, enum disk_way way)
{
	UNSET struct image_extent extent;
	ssize_t done;

	if (io->len == 0 || io->len > DISK_CALL_BYTES || io->n_iov > DISK_PIECES ||
	    disk_map(disk, way, io->offset, io->len, &extent) < 0 || extent.place != IMAGE_FILE ||
	    extent.len != io->len)
		return 1;
	done = disk_call(way, extent.fd, io->iov, io->n_iov, extent.offset);
	if (done == 0 || (done < 0 && errno != EINTR))
		return done < 0 ? -errno : -EIO;
	if (done != (ssize_t)io->len)
		return way == DISK_WAY_READ_NOWAIT ? -EAGAIN : 1;
	if (way == DISK_WAY_WRITE && disk->image->ops->wrote)
		disk->image->ops->wrote(disk->image, io->offset, io->len);
	return 0;
}

static int disk_transfer(struct disk *disk, const struct disk_io *io, enum disk_way way,
			 const _Atomic bool *cancel)
{
	int err = 1;

	if (way == DISK_WAY_WRITE && disk->readonly)
		return -EROFS;
	if (!disk_in_range(disk, io->offset, io->len))
		return -EINVAL;
	if (disk_can_try(disk))
		err = disk_transfer_whole(disk, io, way);
	return err > 0 ? disk_transfer_parts(disk, io, way, cancel) : err;
}

/* ---- the others ---- */

int disk_flush(struct disk *disk)
{
	bool lost = false;
	int err;

	if (disk->readonly)
		return 0;
	if (__atomic_load_n(&disk->state.lost, __ATOMIC_RELAXED))
		return -EIO;
	err = disk->image->ops->flush(disk->image, &lost);
	if (err < 0 && lost)
		__atomic_store_n(&disk->state.lost, true, __ATOMIC_RELAXED);
	return err;
}

/* For images and hosts that know no other way. */
static int __attribute__((cold))
disk_write_zeros(struct disk *disk, uint64_t offset, uint64_t len, const _Atomic bool *cancel)
{
	size_t room = disk_min(len, DISK_BOUNCE_BYTES);
	struct iovec iov;
	void *zeros = NULL;
	int err = posix_memalign(&zeros, (size_t)sysconf(_SC_PAGESIZE), room) == 0 ? 0 : -ENOMEM;

	if (err == 0)
		memset(zeros, 0, room);
	while (len > 0 && err == 0) {
		struct disk_io io = {.iov = &iov, .n_iov = 1, .offset = offset};

		iov = (struct iovec){zeros, disk_min(len, room)};
		io.len = iov.iov_len;
		err = disk_transfer(disk, &io, DISK_WAY_WRITE, cancel);
		offset += io.len;
		len -= io.len;
	}
	free(zeros);
	return err;
}

static int __attribute__((cold))
disk_clear(struct disk *disk, const struct disk_io *io, uint64_t offset, uint64_t len)
{
	const struct image_ops *ops = disk->image->ops;

	if (io->op == DISK_DISCARD && ops->discard)
		return ops->discard(disk->image, offset, len);
	return ops->zero ? ops->zero(disk->image, offset, len, io->op == DISK_DISCARD || io->unmap)
			 : -EOPNOTSUPP;
}

static int __attribute__((cold))
disk_zero_range(struct disk *disk, const struct disk_io *io, struct disk_range range,
		const _Atomic bool *cancel)
{
	while (range.len > 0) {
		uint64_t len = disk_min(range.len, DISK_ZERO_BYTES);
		int err = disk_clear(disk, io, range.offset, len);

		/* A discard that cannot be done, or not without more room, need not be. */
		if (io->op == DISK_DISCARD && (err == -EOPNOTSUPP || err == -ENOSPC))
			err = 0;
		else if (err == -EOPNOTSUPP)
			err = disk_write_zeros(disk, range.offset, len, cancel);
		if (err < 0)
			return err;
		range.offset += len;
		range.len -= len;
		if (range.len > 0 && disk_cancelled(cancel))
			return -ECANCELED;
	}
	return 0;
}

static int __attribute__((cold))
disk_zero(struct disk *disk, const struct disk_io *io, const _Atomic bool *cancel)
{
	if (disk->readonly)
		return -EROFS;
	for (unsigned int i = 0; i < io->n_ranges; i++) {
		int err = disk_in_range(disk, io->ranges[i].offset, io->ranges[i].len) ? 0
										       : -EINVAL;

		if (err == 0)
			err = disk_zero_range(disk, io, io->ranges[i], cancel);
		if (err < 0)
			return err;
	}
	return 0;
}

int disk_execute(struct disk *disk, const struct disk_io *io, const _Atomic bool *cancel)
{
	int err;

	if (disk_cancelled(cancel))
		return -ECANCELED;
	switch (io->op) {
	case DISK_READ:
		err = disk_transfer(disk, io, DISK_WAY_READ, cancel);
		break;
	case DISK_WRITE:
		err = disk_transfer(disk, io, DISK_WAY_WRITE, cancel);
		break;
	case DISK_FLUSH:
		return disk_flush(disk);
	default:
		assert(io->op == DISK_DISCARD || io->op == DISK_ZERO);
		err = disk_zero(disk, io, cancel);
	}
	return err == 0 && io->sync ? disk_flush(disk) : err;
}

bool disk_can_try(const struct disk *disk)
{
	const struct image *image = disk->image;

	return image->memory_align == 0 && !image->map_blocks;
}

int disk_try(struct disk *disk, const struct disk_io *io, uint64_t max)
{
	bool in_memory = disk->image->in_memory;

	if (io->len > max || !disk_can_try(disk))
		return -EAGAIN;
	if (io->op == DISK_WRITE && in_memory && !io->sync)
		return disk_transfer(disk, io, DISK_WAY_WRITE, NULL);
	if (io->op != DISK_READ)
		return -EAGAIN;
	if (in_memory)
		return disk_transfer(disk, io, DISK_WAY_READ, NULL);
	/* What came of an attempt that may not wait is no news of the disk's. */
	return disk_transfer(disk, io, DISK_WAY_READ_NOWAIT, NULL) < 0 ? -EAGAIN : 0;
}
