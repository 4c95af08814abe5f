#include "virtio/blk_queue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/blk.h"
#include "vmm/core/assert.h"
#include "vmm/core/iov.h"
#include "vmm/core/lazy.h"
#include "vmm/core/unset.h"

/*
 * How much one kick may do before the loop gets its turn, and how much may be done
 * before the driver sees it: batches save interrupts, but what is done should not wait for a slow request.
 */
#define VIRTIO_BLK_KICK_REQUESTS    256
#define VIRTIO_BLK_KICK_BYTES	    (UINT64_C(16) << 20)
#define VIRTIO_BLK_PUBLISH_REQUESTS 16
#define VIRTIO_BLK_PUBLISH_BYTES    (256u << 10)

/* Kicks that are left to the loop after one that a vCPU could not serve: one such is seldom alone. */
#define VIRTIO_BLK_NOT_INLINE 16

/* ---- completion ---- */

static void virtio_blk_publish(struct virtio_blk_queue *queue)
{
	if (queue->unpublished == 0)
		return;
	queue->unpublished = 0;
	queue->unpublished_bytes = 0;
	virtio_device_publish(&queue->blk->dev, queue->index);
}

/* Everything up to the status byte, so that the used length is true whatever happened (2.7.8.2). */
static void __attribute__((cold)) virtio_blk_zero(const struct blk_request_data *in)
{
	for (unsigned int i = 0; i < in->n; i++)
		memset(in->iov[i].iov_base, 0, in->iov[i].iov_len);
}

static void virtio_blk_free_slot(struct virtio_blk_queue *queue, struct virtio_blk_slot *slot)
{
	if (slot->long_iov) {
		free(slot->long_iov);
		slot->long_iov = NULL;
	}
	slot->next_free = queue->free;
	queue->free = slot;
}

/* A slot that was used before, else one whose memory was not touched yet; NULL when all are in use. */
static struct virtio_blk_slot *virtio_blk_get_slot(struct virtio_blk_queue *queue)
{
	struct virtio_blk_slot *slot = queue->free;

	if (slot)
		queue->free = slot->next_free;
	else if (queue->n_slots < queue->blk->dev.queue_size)
		slot = &queue->slots[queue->n_slots++];
	return slot;
}

/* The only way a request ends, but for those that a reset has dropped. */
static void virtio_blk_complete(struct virtio_blk_queue *queue, struct virtio_blk_slot *slot,
				uint8_t status)
{
	struct blk_request *req = &slot->request;
	struct virtio_device *dev = &queue->blk->dev;

	*req->status = status;
	virtq_push(&dev->queue[queue->index], slot->head, (uint32_t)(req->in.len + 1));
	queue->unpublished++;
	queue->unpublished_bytes += req->in.len + req->out.len;
	virtio_blk_free_slot(queue, slot);
	if (queue->starved) {
		queue->starved = false;
		virtio_device_rekick(dev, queue->index);
	}
	if (queue->unpublished >= VIRTIO_BLK_PUBLISH_REQUESTS ||
	    queue->unpublished_bytes >= VIRTIO_BLK_PUBLISH_BYTES)
		virtio_blk_publish(queue);
}

static void __attribute__((cold))
virtio_blk_report(struct virtio_blk_queue *queue, const struct disk_io *io, int err)
{
	static const char *const names[] = {[DISK_READ] = "read",
					    [DISK_WRITE] = "write",
					    [DISK_FLUSH] = "flush",
					    [DISK_DISCARD] = "discard",
					    [DISK_ZERO] = "write of zeros"};
	struct virtio_device *dev = &queue->blk->dev;

	if (io->op == DISK_FLUSH)
		log_guest(&dev->log, "%s: flush failed, written data may be lost: %s", dev->name,
			  strerror(-err));
	else
		log_guest(&dev->log, "%s: %s of %" PRIu64 " bytes at byte %" PRIu64 " failed: %s",
			  dev->name, names[io->op], io->n_ranges > 0 ? io->ranges[0].len : io->len,
			  io->n_ranges > 0 ? io->ranges[0].offset : io->offset, strerror(-err));
}

static void virtio_blk_io_done(void *arg, struct disk_request *io, int err)
{
	struct virtio_blk_queue *queue = arg;
	struct virtio_blk_slot *slot =
		(struct virtio_blk_slot *)(void *)((char *)io -
						   offsetof(struct virtio_blk_slot, io));

	if (queue->quiescing) {
		virtio_blk_free_slot(queue, slot);
		return;
	}
	if (err < 0) {
		virtio_blk_zero(&slot->request.in);
		virtio_blk_report(queue, &io->io, err);
	}
	virtio_blk_complete(queue, slot, err < 0 ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}

static void virtio_blk_batch_done(void *arg)
{
	virtio_blk_publish(arg);
}

/* ---- requests ---- */

/* 5.2.6: up to 20 bytes; more room than that is filled with zeros. */
static void __attribute__((cold))
virtio_blk_get_id(const struct virtio_blk *blk, const struct blk_request *req)
{
	struct iov_cursor cur;

	virtio_blk_zero(&req->in);
	iov_cursor_init(&cur, req->in.iov, req->in.n);
	iov_cursor_write(&cur, blk->serial, sizeof(blk->serial));
}

/* What the disk shall do. */
static void virtio_blk_fill_io(const struct virtio_blk *blk, const struct blk_request *req,
			       struct disk_io *io)
{
	const struct blk_request_data *data = req->type == VIRTIO_BLK_T_OUT ? &req->out : &req->in;

	*io = (struct disk_io){.offset = req->offset};
	switch (req->type) {
	case VIRTIO_BLK_T_IN:
	case VIRTIO_BLK_T_OUT:
		io->op = req->type == VIRTIO_BLK_T_OUT ? DISK_WRITE : DISK_READ;
		io->sync = req->type == VIRTIO_BLK_T_OUT && blk->state.writethrough;
		io->iov = data->iov;
		io->n_iov = data->n;
		io->len = data->len;
		break;
	case VIRTIO_BLK_T_FLUSH:
		io->op = DISK_FLUSH;
		break;
	default: /* the parser accepts no other */
		assert(req->type == VIRTIO_BLK_T_DISCARD || req->type == VIRTIO_BLK_T_WRITE_ZEROES);
		io->op = req->type == VIRTIO_BLK_T_DISCARD ? DISK_DISCARD : DISK_ZERO;
		io->unmap = req->unmap;
		io->sync = io->op == DISK_ZERO && blk->state.writethrough;
		io->ranges = req->ranges;
		io->n_ranges = req->n_ranges;
	}
}

static void virtio_blk_start_slot(struct virtio_blk_queue *queue, struct virtio_blk_slot *slot)
{
	struct blk_request *req = &slot->request;

	if (req->verdict != VIRTIO_BLK_S_OK) {
		virtio_blk_zero(&req->in);
		virtio_blk_complete(queue, slot, req->verdict);
		return;
	}
	if (req->type == VIRTIO_BLK_T_GET_ID) {
		virtio_blk_get_id(queue->blk, req);
		virtio_blk_complete(queue, slot, VIRTIO_BLK_S_OK);
		return;
	}
	if (req->type == VIRTIO_BLK_T_FLUSH) {
		virtio_blk_zero(&req->in);
		/* It may take long, so what is done already is shown first. */
		virtio_blk_publish(queue);
	}
	virtio_blk_fill_io(queue->blk, req, &slot->io.io);
	disk_queue_submit(&queue->io, &slot->io);
}

/* There was no memory to keep its chain, which is the host's fault: it is answered as long as the chain is there. */
static void __attribute__((cold))
virtio_blk_refuse(struct virtio_blk_queue *queue, struct virtio_blk_slot *slot)
{
	struct blk_request *req = &slot->request;

	if (req->verdict != VIRTIO_BLK_S_OK || req->type == VIRTIO_BLK_T_GET_ID)
		return;
	virtio_blk_fill_io(queue->blk, req, &slot->io.io);
	virtio_blk_report(queue, &slot->io.io, -ENOMEM);
	req->verdict = VIRTIO_BLK_S_IOERR;
}

/* Takes the next chain into a slot. Returns as virtq_pop() does; a request that cannot be answered breaks the ring. */
static int virtio_blk_take(struct virtio_blk_queue *queue, struct virtio_blk_slot *slot)
{
	struct virtio_blk *blk = queue->blk;
	struct virtq *vq = &blk->dev.queue[queue->index];
	struct blk_request_limits limits = {__atomic_load_n(&blk->state.size, __ATOMIC_RELAXED),
					    blk->disk->readonly};
	struct iovec *last = &queue->iov[blk->dev.queue_size * VIRTIO_BLK_PIECES];
	UNSET struct virtq_chain chain;
	int ret = virtq_pop(vq, &chain, &queue->iov[(slot - queue->slots) * VIRTIO_BLK_PIECES],
			    VIRTIO_BLK_PIECES);

	/* More segments than we asked for, which a large queue has room for. */
	if (ret == -ENOBUFS) {
		slot->long_iov = malloc(vq->size * sizeof(*slot->long_iov));
		ret = virtq_pop(vq, &chain, slot->long_iov ? slot->long_iov : last, vq->size);
	}
	if (ret <= 0)
		return ret;
	slot->head = chain.head;
	if (blk_request_parse(&slot->request, &chain, &limits) < 0)
		return -EPROTO;
	if (chain.readable == last)
		virtio_blk_refuse(queue, slot);
	return 1;
}

/* Whether the rate limit lets this slot pass; if not, the timer kicks again when it does. */
static bool virtio_blk_may_pass(struct virtio_blk_queue *queue, struct virtio_blk_slot *slot)
{
	const struct blk_request *req = &slot->request;
	uint64_t wait;

	if (!queue->blk->limit.limited || req->verdict != VIRTIO_BLK_S_OK)
		return true;
	wait = disk_limit_take(&queue->blk->limit, evloop_now(), blk_request_bytes(req),
			       queue->waited);
	queue->waited = false;
	queue->held = wait > 0 ? slot : NULL;
	if (wait > 0)
		evloop_timer_set(queue->io.loop, &queue->timer, wait);
	return wait == 0;
}

/* How much a kick has done so far. */
struct virtio_blk_work {
	unsigned int requests;
	uint64_t bytes;
};

enum virtio_blk_served {
	VIRTIO_BLK_NEXT,   /* one was started */
	VIRTIO_BLK_EMPTY,  /* the ring is empty */
	VIRTIO_BLK_LATER,  /* enough for now */
	VIRTIO_BLK_WAIT,   /* something else will have the queue kicked */
	VIRTIO_BLK_BROKEN, /* the driver is at fault */
};

/* What is held back, else the next of the ring. */
static enum virtio_blk_served virtio_blk_next(struct virtio_blk_queue *queue,
					      struct virtio_blk_slot **slot)
{
	int ret;

	*slot = queue->held;
	queue->held = NULL;
	if (*slot)
		return VIRTIO_BLK_NEXT;
	*slot = virtio_blk_get_slot(queue);
	if (!*slot) {
		queue->starved = true;
		return VIRTIO_BLK_WAIT;
	}
	ret = virtio_blk_take(queue, *slot);
	if (ret > 0)
		return VIRTIO_BLK_NEXT;
	virtio_blk_free_slot(queue, *slot);
	return ret == 0 ? VIRTIO_BLK_EMPTY : VIRTIO_BLK_BROKEN;
}

static void virtio_blk_count(struct virtio_blk_work *work, const struct virtio_blk_slot *slot)
{
	work->requests++;
	work->bytes += slot->request.in.len + slot->request.out.len;
}

static enum virtio_blk_served virtio_blk_serve(struct virtio_blk_queue *queue,
					       struct virtio_blk_work *work)
{
	enum virtio_blk_served next;
	struct virtio_blk_slot *slot;

	if (work->requests >= VIRTIO_BLK_KICK_REQUESTS || work->bytes >= VIRTIO_BLK_KICK_BYTES)
		return VIRTIO_BLK_LATER;
	next = virtio_blk_next(queue, &slot);
	if (next != VIRTIO_BLK_NEXT)
		return next;
	if (!virtio_blk_may_pass(queue, slot))
		return VIRTIO_BLK_WAIT;
	virtio_blk_count(work, slot);
	virtio_blk_start_slot(queue, slot);
	return VIRTIO_BLK_NEXT;
}

void virtio_blk_queue_kick(struct virtio_blk_queue *queue)
{
	struct virtio_device *dev = &queue->blk->dev;
	struct virtq *vq = &dev->queue[queue->index];
	struct virtio_blk_work work = {0};
	enum virtio_blk_served served;

	/* The timer will. */
	if (queue->held && queue->timer.armed)
		return;
	do {
		virtq_disable_kick(vq);
		do {
			served = virtio_blk_serve(queue, &work);
		} while (served == VIRTIO_BLK_NEXT);
		disk_queue_run(&queue->io);
		virtio_blk_publish(queue);
	} while (served == VIRTIO_BLK_EMPTY && virtq_enable_kick(vq));
	if (served == VIRTIO_BLK_LATER)
		virtio_device_rekick(dev, queue->index);
	else if (served == VIRTIO_BLK_BROKEN)
		virtio_device_broken(dev, "malformed ring, chain or request");
}

/* Returns whether the request was done; if not, it is as if it was not begun. */
static bool virtio_blk_try(struct virtio_blk_queue *queue, struct virtio_blk_slot *slot)
{
	const struct blk_request *req = &slot->request;
	int err;

	if (req->verdict != VIRTIO_BLK_S_OK || req->type == VIRTIO_BLK_T_GET_ID) {
		virtio_blk_start_slot(queue, slot);
		return true;
	}
	virtio_blk_fill_io(queue->blk, req, &slot->io.io);
	err = disk_try(queue->blk->disk, &slot->io.io, queue->blk->inline_bytes);
	if (err == -EAGAIN)
		return false;
	virtio_blk_io_done(queue, &slot->io, err);
	return true;
}

static enum virtio_blk_served virtio_blk_serve_inline(struct virtio_blk_queue *queue,
						      struct virtio_blk_work *work)
{
	const struct virtio_blk *blk = queue->blk;
	enum virtio_blk_served next;
	struct virtio_blk_slot *slot;

	if (work->requests >= blk->inline_requests || work->bytes >= blk->inline_bytes)
		return virtq_pending(&blk->dev.queue[queue->index]) ? VIRTIO_BLK_LATER
								    : VIRTIO_BLK_EMPTY;
	next = virtio_blk_next(queue, &slot);
	if (next != VIRTIO_BLK_NEXT)
		return next;
	virtio_blk_count(work, slot);
	if (virtio_blk_try(queue, slot))
		return VIRTIO_BLK_NEXT;
	queue->held = slot;
	if (!blk->disk->image->in_memory)
		queue->not_inline = VIRTIO_BLK_NOT_INLINE;
	return VIRTIO_BLK_LATER;
}

bool virtio_blk_queue_kick_inline(struct virtio_blk_queue *queue)
{
	struct virtio_device *dev = &queue->blk->dev;
	struct virtq *vq = &dev->queue[queue->index];
	struct virtio_blk_work work = {0};
	enum virtio_blk_served served;

	if (queue->not_inline > 0) {
		queue->not_inline--;
		return false;
	}
	if (queue->held || virtq_waiting(vq) > queue->blk->inline_requests)
		return false;
	do {
		virtq_disable_kick(vq);
		do {
			served = virtio_blk_serve_inline(queue, &work);
		} while (served == VIRTIO_BLK_NEXT);
		virtio_blk_publish(queue);
	} while (served == VIRTIO_BLK_EMPTY && virtq_enable_kick(vq));
	if (served == VIRTIO_BLK_BROKEN)
		virtio_device_broken(dev, "malformed ring, chain or request");
	return served != VIRTIO_BLK_LATER;
}

static void virtio_blk_on_timer(void *arg)
{
	struct virtio_blk_queue *queue = arg;

	queue->waited = queue->held != NULL;
	if (!atomic_load_explicit(&queue->blk->dev.broken, memory_order_relaxed))
		virtio_blk_queue_kick(queue);
}

/* ---- life ---- */

static void virtio_blk_io_idle(void *arg)
{
	struct virtio_blk_queue *queue = arg;

	queue->quiescing = false;
	virtio_device_quiesced(&queue->blk->dev);
}

void __attribute__((cold)) virtio_blk_queue_quiesce(struct virtio_blk_queue *queue)
{
	queue->quiescing = true;
	evloop_timer_cancel(queue->io.loop, &queue->timer);
	if (queue->held)
		virtio_blk_free_slot(queue, queue->held);
	queue->held = NULL;
	queue->waited = false;
	queue->not_inline = 0;
	queue->starved = false;
	queue->unpublished = 0;
	queue->unpublished_bytes = 0;
	disk_queue_cancel(&queue->io);
}

int __attribute__((cold))
virtio_blk_queue_init(struct virtio_blk_queue *queue, struct virtio_blk *blk, unsigned int index)
{
	size_t n = blk->dev.queue_size;
	int err;

	*queue = (struct virtio_blk_queue){.blk = blk, .index = index};
	queue->timer = (struct evloop_timer){.fn = virtio_blk_on_timer, .arg = queue};
	queue->slots = lazy_calloc(n, sizeof(*queue->slots));
	queue->iov = lazy_calloc(n * VIRTIO_BLK_PIECES + n, sizeof(*queue->iov));
	queue->io.disk = blk->disk;
	queue->io.loop = blk->dev.queue_loop[index];
	queue->io.done = virtio_blk_io_done;
	queue->io.batch_done = virtio_blk_batch_done;
	queue->io.idle = virtio_blk_io_idle;
	queue->io.guard = blk->inline_requests > 0 ? &blk->dev.serve_lock[index] : NULL;
	queue->io.arg = queue;
	err = queue->slots && queue->iov ? disk_queue_init(&queue->io) : -ENOMEM;
	if (err < 0) {
		free(queue->slots);
		free(queue->iov);
		return err;
	}
	return 0;
}

void __attribute__((cold)) virtio_blk_queue_fini(struct virtio_blk_queue *queue)
{
	disk_queue_fini(&queue->io);
	evloop_timer_cancel(queue->io.loop, &queue->timer);
	for (unsigned int i = 0; i < queue->n_slots; i++)
		free(queue->slots[i].long_iov);
	free(queue->slots);
	free(queue->iov);
}
