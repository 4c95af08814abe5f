/*
 * Requests to a disk that do not wait: submitted in batches, done later.
 *
 * A queue belongs to one event loop. Each request goes to the engine that serves it best without making the loop wait for
 * storage: io_uring (disk_uring.h), a thread (disk_pool.h), or the loop itself when the image lies in memory. Its end
 * comes by done(), on the loop's thread, once, in any order; for what did not have to wait even within
 * disk_queue_submit() or disk_queue_run().
 *
 *     submit, submit, ... , run: one wake-up or system call for the whole batch
 *
 * Owner: the device; the disk and the loop outlive the queue. Threads: init and fini by the owner while the loop does not
 * run; all else on the loop's thread.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "virtio/disk.h"
#include "virtio/disk_pool.h"
#include "vmm/core/evloop.h"

struct disk_queue;
struct disk_uring;

struct disk_request {
	/* set by the user, and left alone until done */
	struct disk_io io;
	/* the queue's */
	struct disk_job job;
	int result;
};

static inline struct disk_request *disk_request_of(struct disk_job *job)
{
	return (struct disk_request *)(void *)((char *)job - offsetof(struct disk_request, job));
}

struct disk_queue {
	/* immutable after init */
	struct disk *disk;
	struct evloop *loop;
	void (*done)(void *arg, struct disk_request *request,
		     int err); /* err: 0 or negative errno */
	/* Some calls of done() outside of submit and run were made: a good moment to tell the driver. */
	void (*batch_done)(void *arg);
	void (*idle)(void *arg); /* the answer to disk_queue_cancel() */
	void *arg;
	/* Held around the calls of these functions that are not made within submit, run or cancel; NULL: nothing. Borrowed. */
	pthread_mutex_t *guard;
	struct disk_uring *uring; /* NULL: there is none */
	/* owned by the loop thread */
	struct disk_job_list batch; /* for the threads, not handed over yet */
	unsigned int in_flight;	    /* submitted and not done */
	bool cancelling;	    /* idle() is owed */
	/* any thread */
	struct disk_pool pool;
	_Atomic bool cancel; /* threads give up at the next opportunity */
};

/* disk, loop, the functions and arg are set. Returns 0 or negative errno. */
int disk_queue_init(struct disk_queue *queue);

/* Takes a request. Nothing may happen to it before disk_queue_run(). */
void disk_queue_submit(struct disk_queue *queue, struct disk_request *request);

/* Hands over what was submitted. */
void disk_queue_run(struct disk_queue *queue);

/* Has everything end soon: what has begun at most finishes its present system call, the rest ends with -ECANCELED. When
 * nothing is in flight any more, idle() is called, perhaps at once. Until then nothing may be submitted. */
void disk_queue_cancel(struct disk_queue *queue);

/* Cancels, and waits. done() is not called any more: the requests are forgotten. */
void disk_queue_fini(struct disk_queue *queue);

/* For the engines, on the loop's thread: the only way a request ends. */
void disk_queue_complete(struct disk_queue *queue, struct disk_request *request, int err);
/* For the engines: gives a request that the engine could not do to the threads, when the batch is handed over. */
void disk_queue_to_pool(struct disk_queue *queue, struct disk_request *request);
