/*
 * What a disk image is to the disk that uses it: where its bytes lie, format by format (raw, overlay, qcow2).
 *
 * An image answers which piece of which file holds a range of the disk; the I/O itself is done by the disk (disk.h), with
 * io_uring or on threads, so that every format gets the same speed. What has no such place, as a compressed cluster, is
 * read by the image itself.
 *
 * Owner: the disk, which opens and closes it. Threads: every operation may be called by several threads at once,
 * for different or overlapping ranges; images keep their books with atomics or locks of their own, and hold no lock during
 * I/O. Operations marked "blocks" may wait for storage and are called on worker threads; flush also on the
 * I/O thread where the file never waits, and resize on the main loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include "vmm/core/kept_name.h"

enum image_place {
	IMAGE_FILE, /* bytes of fd, from offset on */
	IMAGE_ZERO, /* reads as zeros */
	IMAGE_SELF, /* only the image's own read() knows how */
};

/* The first part of a range that lies in one place. */
struct image_extent {
	enum image_place place;
	int fd;
	bool direct;	 /* fd takes direct I/O: see memory_align and direct_align */
	uint64_t offset; /* in fd */
	uint64_t len;	 /* bytes, at least 1, at most what was asked for */
};

struct image;

struct image_ops {
	/*
	 * Where [offset, offset + len) is read from; len is not 0 and the range lies on the disk. Returns 0 or negative errno
	 * (-EIO: the image is damaged there). Blocks when image->map_blocks.
	 */
	int (*map_read)(struct image *image, uint64_t offset, uint64_t len,
			struct image_extent *extent);
	/* Blocks. Reads an IMAGE_SELF extent, or a part of one, whole. May be NULL when there are none. */
	int (*read)(struct image *image, const struct iovec *iov, unsigned int n, uint64_t offset);
	/* Where it is written to: IMAGE_FILE always, and never blocks. NULL: the image cannot be written. */
	int (*map_write)(struct image *image, uint64_t offset, uint64_t len,
			 struct image_extent *extent);
	/* Never blocks. The bytes of this range were written to where map_write said; reads find them from now on. May be NULL. */
	void (*wrote)(struct image *image, uint64_t offset, uint64_t len);
	/*
	 * Blocks. The range reads as zeros from now on; with unmap its storage is given back where the host can do that.
	 * Returns 0 or negative errno, -EOPNOTSUPP when zeros can only be written (the disk does that then).
	 */
	int (*zero)(struct image *image, uint64_t offset, uint64_t len, bool unmap);
	/*
	 * Blocks. The range's content matters no more, and its storage is given back; nothing is written for that. Returns 0 or negative
	 * errno, -EOPNOTSUPP where the host cannot. NULL: zero() with unmap is as good.
	 */
	int (*discard)(struct image *image, uint64_t offset, uint64_t len);
	/*
	 * Blocks. Makes all that was written before the call stable, the image's own books included. Returns 0 or negative errno;
	 * *lost is then whether written data may be gone, so that no later flush must succeed (disk_flush() in disk.h), or all is
	 * where it was, as without room for the books, and a later flush may do it.
	 */
	int (*flush)(struct image *image, bool *lost);
	/* Blocks. Looks how large the backing storage is now; a size that fits the format goes to image->size. NULL: it is fixed. */
	int (*resize)(struct image *image);
	void (*close)(struct image *image);
};

/* Embedded in each format's own struct. */
struct image {
	/* immutable after open */
	const struct image_ops *ops;
	bool readonly;
	bool map_blocks; /* map_read() may wait for storage */
	bool in_memory;	 /* its files are on tmpfs: I/O on them waits for no storage */
	uint32_t
		memory_align; /* what buffers of I/O on its files must be aligned to (direct I/O); 0: nothing */
	uint32_t direct_align;	 /* with that: of offsets, and of the length of each buffer */
	uint32_t logical_block;	 /* smallest unit of the storage below, a power of two */
	uint32_t physical_block; /* unit it writes without reading first; not below logical_block */
	struct timespec changed; /* last change of its newest file; 0: a block device */
	uint32_t optimal_io;	 /* bytes that are moved best at once; 0: not known */
	mode_t mode;		 /* the permissions that all of its files give; 0: an overlay */
	const struct kept_name *made; /* a file that close() may remove; NULL: there is none */
	/* changed by resize() alone */
	uint64_t size; /* bytes, a multiple of 512, not 0 */
};
