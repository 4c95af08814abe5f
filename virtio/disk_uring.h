/*
 * A disk queue's io_uring: reads and writes that go to one place of one file, a batch with one system call.
 *
 * The ring's descriptor is watched by the queue's loop. What the kernel does at once is taken back within
 * disk_uring_run(). A transfer that the kernel cut short goes to the queue's threads, which do the whole again and learn why.
 *
 * Owner: the disk queue. Threads: init and fini by its owner while the loop does not run, all else on the loop's.
 */
#pragma once

#include <stdbool.h>

struct disk_queue;
struct disk_request;
struct disk_uring;

/* Returns NULL when this host has none or forbids it, or vmm was built without liburing. */
struct disk_uring *disk_uring_new(struct disk_queue *queue);

/* Takes a request, unless it is none for a ring or the ring is full. Those that were taken may be completed before this returns. */
bool disk_uring_submit(struct disk_uring *uring, struct disk_request *request);

/* Tells the kernel what was submitted, and completes what is done. */
void disk_uring_run(struct disk_uring *uring);

/* Waits for the kernel to let go of all memory, completing nothing. NULL is fine. */
void disk_uring_free(struct disk_uring *uring);
