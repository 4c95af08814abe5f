#include "virtio/balloon.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <linux/virtio_ids.h>

#define BALLOON_BIT(feature) (UINT64_C(1) << (feature))
#define BALLOON_PAGE	     (UINT64_C(1) << VIRTIO_BALLOON_PFN_SHIFT)

/*
 * Page numbers looked at together. qsort() of glibc sorts less than 1024 bytes on the stack; for more it asks how much memory
 * the host has, a system call that the sandbox forbids.
 */
#define BALLOON_BATCH 128

/* The index of balloon.work. */
enum {
	BALLOON_WORK_INFLATE,
	BALLOON_WORK_REPORT,
};

static struct virtio_balloon *virtio_balloon_of(struct virtio_device *dev)
{
	return (struct virtio_balloon *)(void *)((char *)dev -
						 offsetof(struct virtio_balloon, dev));
}

static bool virtio_balloon_has(const struct virtio_balloon *balloon, unsigned int feature)
{
	return balloon->dev.negotiated & BALLOON_BIT(feature);
}

/* ---- giving pages back ---- */

static int virtio_balloon_compare(const void *a, const void *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x < y ? -1 : x > y;
}

/* Discards n pages from page on. Those that are no memory are left out: nothing is there that could be given back. */
static void virtio_balloon_discard(struct virtio_balloon *balloon, uint32_t page, uint32_t n)
{
	gpa_t gpa = (gpa_t)page << VIRTIO_BALLOON_PFN_SHIFT;
	void *ptr = guest_mem_ptr(balloon->mem, gpa, (size_t)n << VIRTIO_BALLOON_PFN_SHIFT);
	int err = -EFAULT;

	if (!guest_mem_can_discard(balloon->mem))
		return;
	if (ptr)
		err = guest_mem_discard(balloon->mem, ptr, (size_t)n << VIRTIO_BALLOON_PFN_SHIFT);
	else if (n > 1) { /* it may reach over the end of a region */
		virtio_balloon_discard(balloon, page, n / 2);
		virtio_balloon_discard(balloon, page + n / 2, n - n / 2);
		return;
	}
	if (err < 0)
		log_guest(&balloon->dev.log, "%s: cannot give page 0x%x back: %s",
			  balloon->dev.name, page, strerror(-err));
}

static void virtio_balloon_discard_all(struct virtio_balloon *balloon, uint32_t *pages, size_t n)
{
	size_t first = 0;

	_Static_assert(BALLOON_BATCH * sizeof(pages[0]) < 1024, "see BALLOON_BATCH");
	qsort(pages, n, sizeof(pages[0]), virtio_balloon_compare);
	for (size_t i = 1; i <= n; i++) {
		/* A page may be named twice. */
		if (i < n && pages[i] - pages[i - 1] <= 1)
			continue;
		virtio_balloon_discard(balloon, pages[first], pages[i - 1] - pages[first] + 1);
		first = i;
	}
}

/* Some pages of a request to inflate. Returns how many. */
static uint64_t virtio_balloon_inflate_some(struct virtio_balloon *balloon,
					    struct balloon_work *work)
{
	uint32_t pages[BALLOON_BATCH];
	size_t n = iov_cursor_read(&work->cursor, pages, sizeof(pages)) / sizeof(pages[0]);

	for (size_t i = 0; i < n; i++)
		pages[i] = le32toh(pages[i]);
	virtio_balloon_discard_all(balloon, pages, n);
	return n;
}

/* Some of a report's bytes. Returns how many. */
static uint64_t virtio_balloon_report_some(struct virtio_balloon *balloon,
					   struct balloon_work *work)
{
	struct iovec piece;
	size_t taken;
	int err = 0;

	if (iov_cursor_take(&work->cursor, &piece, 1, VIRTIO_BALLOON_KICK_BYTES / 4, &taken) == 0)
		return 0;
	if (!balloon->poisoned)
		err = guest_mem_discard(balloon->mem, piece.iov_base, piece.iov_len);
	if (err < 0)
		log_guest(&balloon->dev.log, "%s: cannot give free pages back: %s",
			  balloon->dev.name, strerror(-err));
	return taken;
}

/* ---- queues ---- */

/* 5.5.6: the balloon's queues carry page numbers for us to read, a report is memory that we may write. */
static bool virtio_balloon_acceptable(enum balloon_role role, const struct virtq_chain *chain)
{
	if (role == BALLOON_REPORT)
		return chain->n_readable == 0 && chain->n_writable > 0;
	if (chain->n_writable > 0 || chain->n_readable == 0)
		return false;
	return role == BALLOON_STATS || chain->readable_bytes % sizeof(uint32_t) == 0;
}

/* Takes the next chain into iov. Returns 1, 0 when none waits, or -EPROTO. */
static int virtio_balloon_pop(struct virtio_balloon *balloon, unsigned int queue,
			      struct virtq_chain *chain, struct iovec *iov)
{
	int ret = virtq_pop(&balloon->dev.queue[queue], chain, iov, VIRTIO_BALLOON_QUEUE_SIZE);

	if (ret > 0 && !virtio_balloon_acceptable(balloon->role[queue], chain))
		ret = -EPROTO;
	return ret;
}

/* Works on the queue's next request, or on the one that was begun. Returns as pop does; *left is what the kick may do. */
static int virtio_balloon_work(struct virtio_balloon *balloon, unsigned int queue,
			       struct balloon_work *work, uint64_t *left)
{
	bool report = balloon->role[queue] == BALLOON_REPORT;
	struct virtq_chain chain;

	if (!work->busy) {
		int ret = virtio_balloon_pop(balloon, queue, &chain, work->iov);

		if (ret <= 0)
			return ret;
		work->busy = true;
		work->head = chain.head;
		iov_cursor_init(&work->cursor, work->iov, chain.n_readable + chain.n_writable);
	}
	while (*left > 0 && iov_cursor_left(&work->cursor) > 0) {
		uint64_t done = report ? virtio_balloon_report_some(balloon, work)
				       : virtio_balloon_inflate_some(balloon, work);

		*left -= done < *left ? done : *left;
	}
	if (iov_cursor_left(&work->cursor) == 0) {
		work->busy = false;
		virtq_push(&balloon->dev.queue[queue], work->head, 0);
	}
	return 1;
}

/* The pages come as new when they are touched. */
static int virtio_balloon_deflate(struct virtio_balloon *balloon, unsigned int queue)
{
	struct iovec iov[VIRTIO_BALLOON_QUEUE_SIZE];
	struct virtq_chain chain;
	int ret = virtio_balloon_pop(balloon, queue, &chain, iov);

	if (ret > 0)
		virtq_push(&balloon->dev.queue[queue], chain.head, 0);
	return ret;
}

/* ---- statistics, 5.5.6.3 ---- */

static void virtio_balloon_read_stats(struct virtio_balloon *balloon,
				      const struct virtq_chain *chain)
{
	struct virtio_balloon_stats stats;
	struct virtio_balloon_stat stat;
	struct iov_cursor cursor;

	memset(&stats, 0xff, sizeof(stats));
	iov_cursor_init(&cursor, chain->readable, chain->n_readable);
	/* What a driver of today says, with room for tags that we do not know. */
	for (unsigned int i = 0; i < 4 * VIRTIO_BALLOON_S_NR; i++) {
		if (iov_cursor_read(&cursor, &stat, sizeof(stat)) < sizeof(stat))
			break;
		if (le16toh(stat.tag) < VIRTIO_BALLOON_S_NR)
			stats.value[le16toh(stat.tag)] = le64toh(stat.val);
	}
	pthread_mutex_lock(&balloon->stats_lock);
	balloon->stats = stats;
	balloon->stats_number++;
	pthread_cond_broadcast(&balloon->stats_came);
	pthread_mutex_unlock(&balloon->stats_lock);
}

/* A driver has one such buffer; a second one sets the first free. */
static int virtio_balloon_take_stats(struct virtio_balloon *balloon, unsigned int queue)
{
	struct iovec iov[VIRTIO_BALLOON_QUEUE_SIZE];
	struct virtq_chain chain;
	int ret = virtio_balloon_pop(balloon, queue, &chain, iov);

	if (ret <= 0)
		return ret;
	if (balloon->stats_held)
		virtq_push(&balloon->dev.queue[queue], balloon->stats_head, 0);
	balloon->stats_held = true;
	balloon->stats_head = chain.head;
	virtio_balloon_read_stats(balloon, &chain);
	return 1;
}

/* Gives the buffer back, which asks for a new one. */
static void virtio_balloon_on_stats_task(void *arg)
{
	struct virtio_balloon *balloon = arg;

	if (!balloon->stats_held || balloon->dev.broken)
		return;
	balloon->stats_held = false;
	virtq_push(&balloon->dev.queue[balloon->stats_queue], balloon->stats_head, 0);
	virtio_device_publish(&balloon->dev, balloon->stats_queue);
}

static void virtio_balloon_stats_run(struct virtio_balloon *balloon, bool running)
{
	pthread_mutex_lock(&balloon->stats_lock);
	balloon->stats_running = running;
	pthread_cond_broadcast(&balloon->stats_came);
	pthread_mutex_unlock(&balloon->stats_lock);
}

/* ---- the device ---- */

static int virtio_balloon_serve(struct virtio_balloon *balloon, unsigned int queue, uint64_t *pages,
				uint64_t *bytes)
{
	switch (balloon->role[queue]) {
	case BALLOON_INFLATE:
		return virtio_balloon_work(balloon, queue, &balloon->work[BALLOON_WORK_INFLATE],
					   pages);
	case BALLOON_REPORT:
		return virtio_balloon_work(balloon, queue, &balloon->work[BALLOON_WORK_REPORT],
					   bytes);
	case BALLOON_DEFLATE:
		return virtio_balloon_deflate(balloon, queue);
	case BALLOON_STATS:
		return virtio_balloon_take_stats(balloon, queue);
	default:
		return 0;
	}
}

static void virtio_balloon_kick(struct virtio_device *dev, unsigned int queue)
{
	struct virtio_balloon *balloon = virtio_balloon_of(dev);
	struct virtq *vq = &dev->queue[queue];
	uint64_t pages = VIRTIO_BALLOON_KICK_PAGES, bytes = VIRTIO_BALLOON_KICK_BYTES;
	unsigned int chains = VIRTIO_BALLOON_KICK_CHAINS;
	int ret;

	if (balloon->role[queue] == BALLOON_HINT)
		return;
	do {
		virtq_disable_kick(vq);
		do
			ret = virtio_balloon_serve(balloon, queue, &pages, &bytes);
		while (ret > 0 && pages > 0 && bytes > 0 && --chains > 0);
		virtio_device_publish(dev, queue);
	} while (ret == 0 && virtq_enable_kick(vq));
	if (ret > 0)
		virtio_device_rekick(dev, queue);
	else if (ret < 0)
		virtio_device_broken(dev, "malformed ring or request");
}

/* Fills in what each queue is for; see the header. */
static void virtio_balloon_assign_queues(struct virtio_balloon *balloon)
{
	unsigned int next = BALLOON_STATS;

	for (unsigned int i = 0; i < BALLOON_ROLES; i++)
		balloon->role[i] = i < BALLOON_STATS ? (enum balloon_role)i : BALLOON_HINT;
	if (virtio_balloon_has(balloon, VIRTIO_BALLOON_F_STATS_VQ)) {
		balloon->stats_queue = next;
		balloon->role[next++] = BALLOON_STATS;
	}
	if (virtio_balloon_has(balloon, VIRTIO_BALLOON_F_REPORTING)) {
		if (balloon->dev.enabled[BALLOON_REPORT])
			next = BALLOON_REPORT;
		balloon->role[next] = BALLOON_REPORT;
	}
}

static void virtio_balloon_start(struct virtio_device *dev)
{
	struct virtio_balloon *balloon = virtio_balloon_of(dev);
	struct virtio_balloon_config config;

	virtio_balloon_assign_queues(balloon);
	/* The driver wrote it before DRIVER_OK (5.5.5). */
	virtio_device_config_get(dev, 0, &config, sizeof(config));
	balloon->poisoned = virtio_balloon_has(balloon, VIRTIO_BALLOON_F_PAGE_POISON) &&
			    config.poison_val != 0;
	virtio_balloon_stats_run(balloon, virtio_balloon_has(balloon, VIRTIO_BALLOON_F_STATS_VQ));
}

/* What was in the balloon is the guest's again: the next driver begins with an empty one. */
static void virtio_balloon_stop(struct virtio_device *dev)
{
	struct virtio_balloon *balloon = virtio_balloon_of(dev);

	balloon->work[BALLOON_WORK_INFLATE].busy = false;
	balloon->work[BALLOON_WORK_REPORT].busy = false;
	balloon->stats_held = false;
	virtio_balloon_stats_run(balloon, false);
	virtio_device_config_write(dev, offsetof(struct virtio_balloon_config, actual),
				   sizeof(uint32_t), 0);
}

static const struct virtio_device_ops virtio_balloon_ops = {
	.start = virtio_balloon_start,
	.kick = virtio_balloon_kick,
	.stop = virtio_balloon_stop,
};

static uint64_t virtio_balloon_bytes(size_t offset)
{
	return UINT64_C(0xf) << offset;
}

int virtio_balloon_init(struct virtio_balloon *balloon, struct evloop *loop,
			const struct guest_mem *mem)
{
	int err;

	memset(balloon, 0, sizeof(*balloon));
	balloon->mem = mem;
	balloon->stats_task = (struct evloop_task){.fn = virtio_balloon_on_stats_task,
						   .arg = balloon};
	balloon->dev = (struct virtio_device){
		.ops = &virtio_balloon_ops,
		.name = "the balloon",
		.loop = loop,
		.id = VIRTIO_ID_BALLOON,
		.queue_size = VIRTIO_BALLOON_QUEUE_SIZE,
		.n_queues = BALLOON_ROLES,
		.config_size = sizeof(struct virtio_balloon_config),
		.config_writable =
			virtio_balloon_bytes(offsetof(struct virtio_balloon_config, actual)) |
			virtio_balloon_bytes(offsetof(struct virtio_balloon_config, poison_val)),
		.features = BALLOON_BIT(VIRTIO_BALLOON_F_STATS_VQ) |
			    BALLOON_BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM) |
			    BALLOON_BIT(VIRTIO_BALLOON_F_PAGE_POISON),
	};
	if (guest_mem_can_discard(mem) && !mem->options.prefault)
		balloon->dev.features |= BALLOON_BIT(VIRTIO_BALLOON_F_REPORTING);
	err = virtio_device_init(&balloon->dev);
	if (err < 0) {
		log_failure(err, "cannot set up %s", balloon->dev.name);
		return err;
	}
	pthread_mutex_init(&balloon->stats_lock, NULL);
	pthread_cond_init(&balloon->stats_came, NULL);
	return 0;
}

int virtio_balloon_set(struct virtio_balloon *balloon, uint64_t bytes)
{
	uint32_t pages = htole32((uint32_t)(bytes / BALLOON_PAGE));

	if (!guest_mem_can_discard(balloon->mem))
		return -EOPNOTSUPP;
	if (bytes > guest_mem_size(balloon->mem) || bytes / BALLOON_PAGE > UINT32_MAX)
		return -EINVAL;
	virtio_device_config_set(&balloon->dev, offsetof(struct virtio_balloon_config, num_pages),
				 &pages, sizeof(pages));
	return 0;
}

uint64_t virtio_balloon_actual(struct virtio_balloon *balloon)
{
	uint32_t pages;

	virtio_device_config_get(&balloon->dev, offsetof(struct virtio_balloon_config, actual),
				 &pages, sizeof(pages));
	return le32toh(pages) * BALLOON_PAGE;
}

static struct timespec virtio_balloon_deadline(unsigned int timeout_ms)
{
	uint64_t at = evloop_now() + timeout_ms * UINT64_C(1000000);

	return (struct timespec){.tv_sec = (time_t)(at / 1000000000),
				 .tv_nsec = (long)(at % 1000000000)};
}

int virtio_balloon_stats(struct virtio_balloon *balloon, struct virtio_balloon_stats *stats,
			 unsigned int timeout_ms)
{
	struct timespec deadline = virtio_balloon_deadline(timeout_ms);
	uint64_t number;
	int err = 0;

	pthread_mutex_lock(&balloon->stats_lock);
	number = balloon->stats_number;
	if (balloon->stats_running)
		evloop_post(balloon->dev.loop, &balloon->stats_task);
	while (balloon->stats_running && balloon->stats_number == number && err == 0)
		err = -pthread_cond_clockwait(&balloon->stats_came, &balloon->stats_lock,
					      CLOCK_MONOTONIC, &deadline);
	if (balloon->stats_number != number) {
		*stats = balloon->stats;
		err = 0;
	} else if (!balloon->stats_running) {
		err = -EAGAIN;
	}
	pthread_mutex_unlock(&balloon->stats_lock);
	return err;
}

void virtio_balloon_end(struct virtio_balloon *balloon)
{
	virtio_balloon_stats_run(balloon, false);
}

void virtio_balloon_fini(struct virtio_balloon *balloon)
{
	pthread_cond_destroy(&balloon->stats_came);
	pthread_mutex_destroy(&balloon->stats_lock);
	virtio_device_fini(&balloon->dev);
}
