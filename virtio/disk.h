/*
 * A disk's backend: a regular file or a block device of the host, used as it is (raw).
 *
 * The image is locked while it is open (open file description locks over the whole file): one writer, or any
 * number of readers, also within one process. Its size is taken at open, and nothing beyond it is read or
 * written. Opening creates and changes nothing.
 *
 * Owner: whoever calls disk_open(). Threads: disk_open() and disk_close() by the owner; the operations by one
 * thread at a time, that of the device. They block on the host's storage: never call them on a vCPU thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define DISK_SECTOR 512u

struct disk_config {
	const char *path; /* borrowed during disk_open() */
	bool readonly;
};

/* What a snapshot must save. */
struct disk_state {
	bool lost; /* a flush failed: see disk_flush() */
};

struct disk {
	/* immutable after open */
	int fd;
	char *name; /* for messages: disk 'x.img' */
	bool readonly;
	uint64_t size;		 /* bytes, a multiple of DISK_SECTOR, not 0 */
	uint32_t logical_block;	 /* smallest unit of the storage below, a power of two */
	uint32_t physical_block; /* unit it writes without reading first; not below logical_block */
	/* owned by the thread of the operations */
	struct disk_state state;
};

/*
 * Opens, locks and measures. On failure one line was reported by log_error() and nothing is left open.
 * Returns 0 or negative errno; -EBUSY: somebody else uses the image.
 */
int disk_open(struct disk *disk, const struct disk_config *config);

/*
 * Transfer all bytes of iov at this byte offset. iov is used up: its elements change. Returns 0 or negative
 * errno: -EINVAL beyond the size, -EROFS for a write to a read-only disk, -EIO also when the file was cut
 * short by others. After an error any part may have been transferred. A write is stable only once a
 * disk_flush() that began after it succeeded.
 */
int disk_readv(struct disk *disk, struct iovec *iov, unsigned int n, uint64_t offset);
int disk_writev(struct disk *disk, struct iovec *iov, unsigned int n, uint64_t offset);

/*
 * Makes all finished writes stable (fdatasync). After a failure the kernel may have dropped the data and
 * forgotten the error, so that a second fdatasync() would succeed without having written it. What was lost is
 * unknown; therefore every later flush of this disk fails with -EIO too, until it is opened anew.
 */
int disk_flush(struct disk *disk);

/* Unlocks. What was written but not flushed stays with the host kernel, which writes it in its own time. */
void disk_close(struct disk *disk);
