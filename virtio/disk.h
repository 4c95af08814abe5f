/*
 * A disk's backend: an image (image.h) and how its bytes are moved, by calls that wait until they are.
 *
 * Devices hand their requests to a struct disk_queue (disk_queue.h), which does not wait; the functions here are what its
 * threads call.
 *
 * Owner: whoever calls disk_open(). Threads: disk_open() and disk_close() by the owner, disk_resized() on the main loop; disk_execute() and what
 * it is made of by any number of threads at once. They block on the host's storage: never call them on a vCPU thread, which
 * has disk_try().
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/image_open.h"

#define DISK_SECTOR 512u

/* Who does a queue's I/O. AUTO takes the best that works here; the others are for tests and for finding faults. */
enum disk_engine {
	DISK_ENGINE_AUTO,
	DISK_ENGINE_URING,   /* io_uring, threads for what it cannot do */
	DISK_ENGINE_THREADS, /* threads alone */
	DISK_ENGINE_LOOP,    /* the queue's event loop itself, which then waits for storage */
};

struct disk_config {
	struct image_config image; /* borrowed during disk_open() */
	enum disk_engine engine;
};

/* What a snapshot must save. */
struct disk_state {
	bool lost; /* a flush failed, and data may be gone: see disk_flush() */
};

struct disk {
	/* immutable after open */
	struct image *image;
	char *name; /* for messages: disk 'x.img' */
	enum disk_engine engine;
	bool readonly;
	uint32_t logical_block; /* see image.h */
	uint32_t physical_block;
	uint32_t optimal_io;
	/* any thread, by atomic accesses */
	uint64_t size; /* bytes, a multiple of DISK_SECTOR, not 0 */
	struct disk_state state;
};

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH,
	DISK_DISCARD, /* the ranges' contents matter no more */
	DISK_ZERO,    /* the ranges read as zeros */
};

struct disk_range {
	uint64_t offset;
	uint64_t len;
};

/* One operation. Everything in it is borrowed until it is done. */
struct disk_io {
	enum disk_op op;
	bool unmap; /* DISK_ZERO: storage may be given back */
	bool sync;  /* DISK_WRITE, DISK_ZERO: is stable when done */
	/* DISK_READ, DISK_WRITE */
	const struct iovec *iov;
	unsigned int n_iov;
	uint64_t offset;
	uint64_t len; /* bytes in iov */
	/* DISK_DISCARD, DISK_ZERO */
	const struct disk_range *ranges;
	unsigned int n_ranges;
};

/*
 * Opens the image. On failure one line was reported by log_error() and nothing is left open. Returns 0 or
 * negative errno; -EBUSY: somebody else uses the image.
 */
int disk_open(struct disk *disk, const struct disk_config *config);

/*
 * Does it all. Returns 0 or negative errno: -EINVAL beyond the size, -EROFS on a read-only disk, -EIO also when the file was
 * cut short by others, -ECANCELED when *cancel (if not NULL) became true before the end. After an error any part may have been
 * done. A write is stable only once a flush that began after it succeeded.
 */
int disk_execute(struct disk *disk, const struct disk_io *io, const _Atomic bool *cancel);

/*
 * Does a read or write of at most max bytes if storage need not be waited for: the image is in memory, or what is read is in the
 * host's page cache. Returns as disk_execute() does, or -EAGAIN with nothing but the guest's buffers changed.
 */
int disk_try(struct disk *disk, const struct disk_io *io, uint64_t max);

/* Whether disk_try() can ever do something. */
bool disk_can_try(const struct disk *disk);

/*
 * Makes all finished writes stable (fdatasync). After a failure the kernel may have dropped the data and
 * forgotten the error, so that a second fdatasync() would succeed without having written it. What was lost is
 * unknown; therefore every later flush of this disk fails with -EIO too, until it is opened anew. Only an overlay that has
 * no room for its books has lost nothing yet, and may find room later.
 */
int disk_flush(struct disk *disk);

/* Looks how large the image is now. Returns 0 or negative errno with the size unchanged. */
int disk_resized(struct disk *disk);

static inline uint64_t disk_size(const struct disk *disk)
{
	return __atomic_load_n(&disk->size, __ATOMIC_RELAXED);
}

/* Unlocks. What was written but not flushed stays with the host kernel, which writes it in its own time. */
void disk_close(struct disk *disk);
