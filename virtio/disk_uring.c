#include "virtio/disk_uring.h"

#include "virtio/disk_queue.h"

#ifdef VMM_HAVE_URING

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/core/iov.h"
#include "vmm/core/log.h"

/* Linux 5.19; headers of liburing before 2.2 do not know it. */
#ifndef IORING_SETUP_COOP_TASKRUN
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif

#define DISK_URING_ENTRIES 256u
#define DISK_URING_FILES   8u
/* The largest request, for it cannot be stopped on its way; and the longest vector the kernel takes. */
#define DISK_URING_BYTES   (UINT64_C(4) << 20)
#define DISK_URING_PIECES  1024u
/*
 * Bytes that are gathered for one call. What the page cache has is copied during the call, and a guest with a CPU of its own can
 * be at work on the first requests while the next are copied.
 */
#define DISK_URING_BATCH   (UINT64_C(256) << 10)

struct disk_uring {
	struct disk_queue *queue;
	struct disk_job_list unsubmitted; /* in the ring, not known to the kernel */
	uint64_t unsubmitted_bytes;	  /* of those, since the list was empty */
	unsigned int in_flight;		  /* in the ring or the kernel, and not yet completed */
	bool forbidden;			  /* from now on, as by a filter of system calls */
	bool fixed;			  /* files can be registered */
	struct io_uring ring;
	struct evloop_fd watch;
	int files[DISK_URING_FILES]; /* registered at the same index; -1: none */
};

/* The kernel finds a registered file without taking a reference. Returns its index, or -1. */
static int disk_uring_register(struct disk_uring *uring, int fd)
{
	unsigned int i = 0;

	if (!uring->fixed)
		return -1;
	while (i < DISK_URING_FILES && uring->files[i] != fd && uring->files[i] >= 0)
		i++;
	if (i == DISK_URING_FILES)
		return -1;
	if (uring->files[i] != fd) {
		if (io_uring_register_files_update(&uring->ring, i, &fd, 1) != 1)
			return -1;
		uring->files[i] = fd;
	}
	return (int)i;
}

static void disk_uring_complete(struct disk_uring *uring, struct disk_request *request, int res)
{
	struct disk_queue *queue = uring->queue;
	const struct disk_io *io = &request->io;

	uring->in_flight--;
	/* Canceled: it would have waited, and no thread of the kernel's could be started for that. */
	if (res < 0 && res != -EAGAIN && res != -EINTR && res != -EINVAL && res != -EOPNOTSUPP &&
	    res != -ECANCELED) {
		disk_queue_complete(queue, request, res);
	} else if (res < 0 || (uint64_t)res != io->len) {
		disk_queue_to_pool(queue, request);
	} else {
		if (io->op == DISK_WRITE && queue->disk->image->ops->wrote)
			queue->disk->image->ops->wrote(queue->disk->image, io->offset, io->len);
		disk_queue_complete(queue, request, 0);
	}
}

static void disk_uring_reap(struct disk_uring *uring)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&uring->ring, &cqe) == 0) {
		struct disk_request *request = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&uring->ring, cqe);
		disk_uring_complete(uring, request, res);
	}
}

static void disk_uring_on_ready(void *arg, uint32_t events)
{
	struct disk_uring *uring = arg;

	(void)events;
	if (uring->queue->guard)
		pthread_mutex_lock(uring->queue->guard);
	disk_uring_reap(uring);
	/* for what was cut short */
	disk_pool_submit(&uring->queue->pool, &uring->queue->batch);
	uring->queue->batch_done(uring->queue->arg);
	if (uring->queue->guard)
		pthread_mutex_unlock(uring->queue->guard);
}

/* A ring could open files and make sockets past any filter of system calls. This one takes no orders but those used here. */
static int disk_uring_restrict(struct disk_uring *uring)
{
	static const uint8_t ops[] = {IORING_OP_READ, IORING_OP_WRITE, IORING_OP_READV,
				      IORING_OP_WRITEV};
	struct io_uring_restriction only[sizeof(ops) + 2] = {
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_FIXED_FILE},
		{.opcode = IORING_RESTRICTION_REGISTER_OP,
		 .register_op = IORING_REGISTER_FILES_UPDATE}};
	int fd = uring->ring.ring_fd;

	for (size_t i = 0; i < sizeof(ops); i++)
		only[2 + i] = (struct io_uring_restriction){.opcode = IORING_RESTRICTION_SQE_OP,
							    .sqe_op = ops[i]};
	/* Shared libraries of liburing have forgotten both functions for long. */
	if (syscall(SYS_io_uring_register, fd, IORING_REGISTER_RESTRICTIONS, only,
		    sizeof(only) / sizeof(only[0])) < 0 ||
	    syscall(SYS_io_uring_register, fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
		return -errno;
	return 0;
}

static int __attribute__((cold))
disk_uring_init_ring(struct disk_uring *uring, struct io_uring_params *params)
{
	*params = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED |
						    IORING_SETUP_COOP_TASKRUN};
	int err = io_uring_queue_init_params(DISK_URING_ENTRIES, &uring->ring, params);

	if (err == -EINVAL) { /* Linux before 5.19 */
		*params = (struct io_uring_params){.flags = IORING_SETUP_R_DISABLED};
		err = io_uring_queue_init_params(DISK_URING_ENTRIES, &uring->ring, params);
	}
	return err;
}

struct disk_uring *__attribute__((cold)) disk_uring_new(struct disk_queue *queue)
{
	struct disk_uring *uring = calloc(1, sizeof(*uring));
	struct io_uring_params params;

	if (!uring)
		return NULL;
	if (disk_uring_init_ring(uring, &params) < 0) {
		free(uring);
		return NULL;
	}
	uring->queue = queue;
	for (unsigned int i = 0; i < DISK_URING_FILES; i++)
		uring->files[i] = -1;
	uring->fixed = io_uring_register_files(&uring->ring, uring->files, DISK_URING_FILES) == 0;
	uring->watch = (struct evloop_fd){
		.fd = uring->ring.ring_fd, .fn = disk_uring_on_ready, .arg = uring};
	/* Rings that cannot be restricted (Linux before 5.10), or whose completions may be lost, are not worth the trouble. */
	if (!(params.features & IORING_FEAT_NODROP) || disk_uring_restrict(uring) < 0 ||
	    evloop_add(queue->loop, &uring->watch, EPOLLIN) < 0) {
		io_uring_queue_exit(&uring->ring);
		free(uring);
		return NULL;
	}
	return uring;
}

/* Whether the ring is the right place, and if so which part of which file it is. */
static bool disk_uring_fits(const struct disk_uring *uring, const struct disk_io *io,
			    struct image_extent *extent)
{
	struct image *image = uring->queue->disk->image;
	bool write = io->op == DISK_WRITE;

	if ((io->op != DISK_READ && !write) || io->sync || io->len == 0)
		return false;
	if ((write && image->memory_align == 0) || io->len > DISK_URING_BYTES ||
	    io->n_iov > DISK_URING_PIECES || image->map_blocks)
		return false;
	if ((write ? image->ops->map_write : image->ops->map_read)(image, io->offset, io->len,
								   extent) < 0)
		return false;
	/* Most file systems write through the page cache only where they may wait: a kernel thread would be sent for each. */
	if (extent->direct
		    ? !iov_is_aligned(io->iov, io->n_iov, image->memory_align, image->direct_align)
		    : write)
		return false;
	return extent->place == IMAGE_FILE && extent->len == io->len;
}

bool disk_uring_submit(struct disk_uring *uring, struct disk_request *request)
{
	const struct disk_io *io = &request->io;
	struct image_extent extent;
	struct io_uring_sqe *sqe;
	int file;

	/* With no more in flight than the ring has room for, no completion ever waits in the kernel. */
	if (uring->in_flight == DISK_URING_ENTRIES || uring->forbidden ||
	    !disk_uring_fits(uring, io, &extent))
		return false;
	sqe = io_uring_get_sqe(&uring->ring);
	if (!sqe)
		return false;
	file = disk_uring_register(uring, extent.fd);
	if (io->n_iov == 1)
		io_uring_prep_rw(io->op == DISK_WRITE ? IORING_OP_WRITE : IORING_OP_READ, sqe,
				 file < 0 ? extent.fd : file, io->iov[0].iov_base,
				 (unsigned int)io->len, extent.offset);
	else
		io_uring_prep_rw(io->op == DISK_WRITE ? IORING_OP_WRITEV : IORING_OP_READV, sqe,
				 file < 0 ? extent.fd : file, io->iov, io->n_iov, extent.offset);
	if (file >= 0)
		io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
	io_uring_sqe_set_data(sqe, request);
	disk_job_list_add(&uring->unsubmitted, &request->job);
	uring->in_flight++;
	uring->unsubmitted_bytes += io->len;
	if (uring->unsubmitted_bytes >= DISK_URING_BATCH)
		disk_uring_run(uring);
	return true;
}

/* Nothing in the ring will be looked at any more; threads do it, and all that follows. */
static void __attribute__((cold)) disk_uring_give_up(struct disk_uring *uring)
{
	struct disk_job *job;

	uring->forbidden = true;
	while ((job = disk_job_list_take(&uring->unsubmitted))) {
		uring->in_flight--;
		disk_queue_to_pool(uring->queue, disk_request_of(job));
	}
}

/* For how long the loop may be kept by a kernel that is short of memory. */
#define DISK_URING_TRIES_NS UINT64_C(5000000)

void disk_uring_run(struct disk_uring *uring)
{
	uint64_t since = 0; /* the kernel took none for the first time */

	uring->unsubmitted_bytes = 0;
	while (uring->unsubmitted.head) {
		int n = io_uring_submit(&uring->ring);

		if (n > 0)
			since = 0;
		else if (since == 0)
			since = evloop_now();
		/* Some pass: a signal, or a lack of memory or of room for completions. But the loop has others to serve. */
		if (n < 0 && n != -EINTR && n != -EAGAIN && n != -EBUSY)
			disk_uring_give_up(uring);
		else if (n <= 0 && evloop_now() - since > DISK_URING_TRIES_NS) {
			log_warn("%s: io_uring takes no requests any more: threads do them",
				 uring->queue->disk->name);
			disk_uring_give_up(uring);
		}
		while (n-- > 0)
			disk_job_list_take(&uring->unsubmitted);
		disk_uring_reap(uring);
	}
}

void __attribute__((cold)) disk_uring_free(struct disk_uring *uring)
{
	struct io_uring_cqe *cqe;

	if (!uring)
		return;
	evloop_del(uring->queue->loop, &uring->watch);
	disk_uring_give_up(uring);
	while (uring->in_flight > 0) {
		if (io_uring_wait_cqe(&uring->ring, &cqe) < 0)
			continue;
		io_uring_cqe_seen(&uring->ring, cqe);
		uring->in_flight--;
	}
	io_uring_queue_exit(&uring->ring);
	free(uring);
}

#else /* without liburing */

#include <stddef.h>

struct disk_uring *disk_uring_new(struct disk_queue *queue)
{
	(void)queue;
	return NULL;
}

bool disk_uring_submit(struct disk_uring *uring, struct disk_request *request)
{
	(void)uring;
	(void)request;
	return false;
}

void disk_uring_run(struct disk_uring *uring)
{
	(void)uring;
}

void disk_uring_free(struct disk_uring *uring)
{
	(void)uring;
}

#endif
