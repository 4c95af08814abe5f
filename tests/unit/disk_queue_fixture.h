/*
 * virtio/disk_queue with each engine, for tests. The program brings its own preadv() and the like, so that storage can be slow
 * or broken where threads use it; io_uring knows the kernel's alone.
 */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <time.h>

#include "tests/unit/disk_fixture.h"
#include "virtio/disk_queue.h"

#define SIZE	 (UINT64_C(4) << 20)
#define BLOCK	 4096u
#define REQUESTS 300u

/* What storage does; under no lock, for it changes only while nothing is in flight, but for the gate. */
static _Atomic int fail_with; /* transfers */
static _Atomic int sync_fail_with;
static _Atomic bool gated; /* transfers wait at the gate */
static _Atomic unsigned int at_gate, syncs;
static sem_t gate;

static inline int storage(void)
{
	if (gated) {
		at_gate++;
		while (sem_wait(&gate) < 0)
			;
	}
	errno = fail_with;
	return fail_with ? -1 : 0;
}

ssize_t preadv(int fd, const struct iovec *iov, int n, off_t offset)
{
	return storage() < 0 ? -1 : syscall(SYS_preadv, fd, iov, n, offset, 0);
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t offset)
{
	return storage() < 0 ? -1 : syscall(SYS_pwritev, fd, iov, n, offset, 0);
}

ssize_t pread(int fd, void *buf, size_t len, off_t offset)
{
	return storage() < 0 ? -1 : syscall(SYS_pread64, fd, buf, len, offset);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t offset)
{
	return storage() < 0 ? -1 : syscall(SYS_pwrite64, fd, buf, len, offset);
}

int fdatasync(int fd)
{
	syncs++;
	errno = sync_fail_with;
	return sync_fail_with ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* ---- a device, in short ---- */

struct slot {
	struct disk_request request;
	struct iovec iov[4];
	uint8_t *data;
	int err;
	unsigned int done;
	unsigned int order;
};

static struct evloop loop;
static struct disk_queue queue;
static struct slot slots[REQUESTS];
static pthread_t loop_thread;
static unsigned int n_submit, n_done; /* the loop's */
static sem_t all_done, idle;

static inline void on_done(void *arg, struct disk_request *request, int err)
{
	struct slot *slot = (struct slot *)(void *)request;

	ck_assert_ptr_eq(arg, &queue);
	ck_assert(pthread_equal(pthread_self(), loop_thread));
	slot->err = err;
	slot->done++;
	slot->order = n_done++;
	if (n_done == n_submit)
		sem_post(&all_done);
}

static inline void on_batch_done(void *arg)
{
	ck_assert_ptr_eq(arg, &queue);
}

static inline void on_idle(void *arg)
{
	ck_assert_ptr_eq(arg, &queue);
	sem_post(&idle);
}

static inline void find_thread(void *arg)
{
	(void)arg;
	loop_thread = pthread_self();
}

static const enum disk_engine engines[] = {DISK_ENGINE_URING, DISK_ENGINE_THREADS, DISK_ENGINE_LOOP,
					   DISK_ENGINE_AUTO};
#define N_ENGINES      4
#define FIRST_BLOCKING 2 /* engines before this one do not wait on the loop */

/* Returns false where there is no direct I/O. */
static inline bool setup_queue(enum disk_engine engine, bool direct)
{
	struct disk_config config = {.image = {.path = path, .direct = direct}, .engine = engine};
	const char *in = direct ? skip_unless_direct() : "/tmp";

	if (!in)
		return false;
	setup_in(in);
	make_file(SIZE);
	ck_assert_int_eq(disk_open(&disk, &config), 0);
	ck_assert_int_eq(evloop_init(&loop), 0);
	queue = (struct disk_queue){.disk = &disk,
				    .loop = &loop,
				    .done = on_done,
				    .batch_done = on_batch_done,
				    .idle = on_idle,
				    .arg = &queue};
	ck_assert_int_eq(disk_queue_init(&queue), 0);
	sem_init(&gate, 0, 0);
	sem_init(&all_done, 0, 0);
	sem_init(&idle, 0, 0);
	for (unsigned int i = 0; i < REQUESTS; i++)
		ck_assert_int_eq(posix_memalign((void **)&slots[i].data, BLOCK, BLOCK), 0);
	ck_assert_int_eq(evloop_start(&loop, "disk"), 0);
	evloop_call(&loop, find_thread, NULL);
	return true;
}

static inline void teardown_queue(void)
{
	evloop_stop(&loop);
	disk_queue_fini(&queue);
	evloop_fini(&loop);
	disk_close(&disk);
	for (unsigned int i = 0; i < REQUESTS; i++)
		free(slots[i].data);
	teardown();
}

static inline void submit_all(void *arg)
{
	(void)arg;
	n_done = 0;
	for (unsigned int i = 0; i < n_submit; i++)
		disk_queue_submit(&queue, &slots[i].request);
	disk_queue_run(&queue);
}

static inline void await(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	while (sem_timedwait(sem, &until) < 0)
		ck_assert_int_eq(errno, EINTR);
}

static inline void submit(unsigned int n)
{
	n_submit = n;
	for (unsigned int i = 0; i < n; i++)
		slots[i].done = 0;
	evloop_call(&loop, submit_all, NULL);
}

/* All are done, each once. */
static inline void await_all(void)
{
	await(&all_done);
	for (unsigned int i = 0; i < n_submit; i++)
		ck_assert_uint_eq(slots[i].done, 1);
}

static inline void run_all(unsigned int n)
{
	submit(n);
	await_all();
}

/* Request i reads or writes block i, in pieces of its own kind. */
static inline void fill_io(unsigned int i, enum disk_op op)
{
	struct slot *slot = &slots[i];
	size_t cut = i % 2 ? 512 * (i % 5) : 0;

	slot->iov[0] = (struct iovec){slot->data, BLOCK - cut};
	slot->iov[1] = (struct iovec){slot->data + BLOCK - cut, cut};
	slot->request.io = (struct disk_io){.op = op,
					    .iov = slot->iov,
					    .n_iov = cut > 0 ? 2 : 1,
					    .offset = (uint64_t)i * BLOCK,
					    .len = BLOCK};
}

static inline void fill_all(unsigned int n, enum disk_op op)
{
	for (unsigned int i = 0; i < n; i++)
		fill_io(i, op);
}

static inline void assert_all(unsigned int n, int err)
{
	for (unsigned int i = 0; i < n; i++)
		ck_assert_int_eq(slots[i].err, err);
}
