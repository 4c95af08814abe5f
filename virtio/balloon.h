/*
 * A memory balloon (virtio 1.2, 5.5): the guest gives pages back when it is asked to, tells how it uses its
 * memory, and reports what it has free. Pages that the host gets are discarded at once (guest_mem_discard()); what the
 * guest takes back comes as new, empty memory.
 *
 * Offered are statistics, deflate on OOM, page reporting and page poison. Not MUST_TELL_HOST: a page may be used again
 * the moment the guest wants it.
 *
 * Granularity. Guest and host addresses agree modulo 2 MiB, and Linux reports blocks of 2 MiB or more, so reporting gives
 * whole huge pages back. A balloon takes single pages: those of one request are sorted and discarded in ranges, and
 * the host frees a huge page when the last of its pages has gone. Where a few remain in use, the host's khugepaged
 * may fill the holes again.
 *
 * Huge pages of hugetlb stay with the guest: the balloon is there for its statistics, reporting is not offered, and pages of a
 * driver that inflates unasked are acknowledged and kept. Nor is reporting offered where memory was made to exist (prefault): within
 * seconds most of it would be gone.
 *
 * Page poison (5.5.6.7): reported pages become zero, so while the guest relies on any other pattern in free pages,
 * reports are acknowledged and nothing is discarded.
 *
 * Queues. 5.5.2 gives each a number; drivers that count only what was negotiated are as common. Both are understood.
 *
 * Bounds. A kick discards a limited number of pages; the rest of a request is done by later kicks.
 *
 * Owner: the machine. Threads: init and fini by the owner while the loop does not run or the device was never
 * started; virtio_balloon_set() and virtio_balloon_stats() any thread but the loop's; all else on the loop's thread.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <linux/virtio_balloon.h>

#include "virtio/virtio.h"
#include "vmm/core/iov.h"

/* Linux wants room for 32 ranges in a report. */
#define VIRTIO_BALLOON_QUEUE_SIZE 32

/* What a kick may do. */
#define VIRTIO_BALLOON_KICK_CHAINS 32
#define VIRTIO_BALLOON_KICK_PAGES  2048			 /* of a balloon, which may all lie apart */
#define VIRTIO_BALLOON_KICK_BYTES  (UINT64_C(128) << 20) /* of reported ranges */

/* What the guest said last; UINT64_MAX where it said nothing. Indexed by VIRTIO_BALLOON_S_*. */
struct virtio_balloon_stats {
	uint64_t value[VIRTIO_BALLOON_S_NR];
};

enum balloon_role {
	BALLOON_INFLATE,
	BALLOON_DEFLATE,
	BALLOON_STATS,
	BALLOON_HINT, /* never offered, so never served */
	BALLOON_REPORT,
	BALLOON_ROLES,
};

/* A request that one kick could not finish; a snapshot must wait until there is none. */
struct balloon_work {
	bool busy;
	uint16_t head;
	struct iov_cursor cursor; /* into iov */
	struct iovec iov[VIRTIO_BALLOON_QUEUE_SIZE];
};

struct virtio_balloon {
	struct virtio_device dev;
	/* immutable after init */
	const struct guest_mem *mem;
	/* owned by the loop thread */
	enum balloon_role role[BALLOON_ROLES]; /* what each queue is for */
	bool poisoned;			       /* free pages hold a pattern that is not zero */
	struct balloon_work work[2];	       /* of inflating and of reporting */
	bool stats_held;		       /* the driver's buffer is with us, as stats_head */
	uint16_t stats_head;
	unsigned int stats_queue;
	/* the loop's own lock */
	struct evloop_task stats_task;
	/* under stats_lock, which is taken before the loop's lock alone */
	pthread_mutex_t stats_lock;
	pthread_cond_t stats_came;
	bool stats_running;    /* a driver that knows of statistics is there */
	uint64_t stats_number; /* of the answers that have come */
	struct virtio_balloon_stats stats;
};

/* Returns 0 or negative errno, which was reported. loop and mem are borrowed. */
int virtio_balloon_init(struct virtio_balloon *balloon, struct evloop *loop,
			const struct guest_mem *mem);

/* Any thread. How much the guest shall give up, in bytes; it follows as far and as fast as it can. Returns 0, -EINVAL
 * for more than there is, or -EOPNOTSUPP when memory cannot be given back. */
int virtio_balloon_set(struct virtio_balloon *balloon, uint64_t bytes);

/* Any thread. How much is given up now, as the guest says. */
uint64_t virtio_balloon_actual(struct virtio_balloon *balloon);

/*
 * Any thread but the loop's. Asks the guest and waits, at most timeout_ms. Returns 0, -EAGAIN when no driver
 * is there (any more) that could answer, or -ETIMEDOUT.
 */
int virtio_balloon_stats(struct virtio_balloon *balloon, struct virtio_balloon_stats *stats,
			 unsigned int timeout_ms);

/* The guest has ended, and answers no more; on the loop's thread. */
void virtio_balloon_end(struct virtio_balloon *balloon);

/* The transport is detached and the loop stopped. */
void virtio_balloon_fini(struct virtio_balloon *balloon);
