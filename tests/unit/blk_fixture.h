/*
 * A virtio-blk device behind a fake transport, with a hand-driven ring and a file of the host, for tests.
 *
 * A test calls the device's operations itself with begin() and kick(), or starts the event loop and talks to it
 * from outside.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/virtio_config.h>

#include "tests/unit/skip.h"
#include "tests/unit/virtq_driver.h"
#include "virtio/blk.h"

#define RAM_SIZE     UINT64_C(0x1000000)
#define DISK_SECTORS 4096u
#define DISK_SIZE    (DISK_SECTORS * 512u)
#define MAX_DATA     (1u << 20)
#define MAX_PIECES   250

#define BIT(n)	  (UINT64_C(1) << (n))
#define RING_BITS BIT(VIRTIO_RING_F_EVENT_IDX)

/* One disk as the machine and the guest see it. */
struct blk_fixture {
	char path[128];
	struct disk disk;
	struct evloop loop;
	struct virtio_blk blk;
	struct virtq_driver drv;
	gpa_t hdr, data, status; /* of one request */
	_Atomic unsigned int interrupts, needs_reset;
	sem_t interrupt, stopped;
};

static struct guest_mem mem;
static struct blk_fixture fix;
/* For blk_open(). With this one requests are done when kick() returns. */
static enum disk_engine engine = DISK_ENGINE_LOOP;
static bool direct;
/* For blk_init(). */
static unsigned int inline_requests;
static uint64_t inline_bytes;
/* For blk_try_open(): a tmpfs has another way of serving. */
static const char *directory = "/tmp";
static unsigned int n_lines;
static char line[1024];

static inline void sink(void *arg, int level, const char *text)
{
	(void)arg;
	(void)level;
	n_lines++;
	snprintf(line, sizeof(line), "%s", text);
}

static inline void on_interrupt(void *arg, unsigned int queue)
{
	struct blk_fixture *b = arg;

	ck_assert_uint_eq(queue, 0);
	b->interrupts++;
	sem_post(&b->interrupt);
}

static inline void on_config_changed(void *arg)
{
	(void)arg;
}

static inline void on_needs_reset(void *arg)
{
	struct blk_fixture *b = arg;

	b->needs_reset++;
}

static inline void on_stopped(void *arg)
{
	struct blk_fixture *b = arg;

	sem_post(&b->stopped);
}

/* The file is unlinked at once, so that a failed test leaves nothing behind. Returns what disk_open() does. */
static inline int blk_try_open(struct blk_fixture *b, off_t size, bool readonly)
{
	struct disk_config config = {
		.image = {.path = b->path, .readonly = readonly, .direct = direct},
		.engine = engine};
	int fd, ret;

	snprintf(b->path, sizeof(b->path), "%s/test_virtio_blk.XXXXXX", directory);
	fd = mkstemp(b->path);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, size), 0);
	close(fd);
	ret = disk_open(&b->disk, &config);
	unlink(b->path);
	return ret;
}

static inline void blk_open(struct blk_fixture *b, off_t size, bool readonly)
{
	ck_assert_int_eq(blk_try_open(b, size, readonly), 0);
}

/* The descriptor behind a raw image. */
static inline int image_fd(const struct disk *disk)
{
	struct image_extent extent;

	ck_assert_int_eq(disk->image->ops->map_read(disk->image, 0, 512, &extent), 0);
	return extent.fd;
}

static inline int blk_init(struct blk_fixture *b, const char *serial)
{
	struct virtio_blk_options options = {.disk = &b->disk,
					     .loop = &b->loop,
					     .serial = serial,
					     .inline_requests = inline_requests,
					     .inline_bytes = inline_bytes};
	int ret;

	ck_assert_int_eq(evloop_init(&b->loop), 0);
	ret = virtio_blk_init(&b->blk, &options);
	sem_init(&b->interrupt, 0, 0);
	sem_init(&b->stopped, 0, 0);
	b->interrupts = 0;
	b->needs_reset = 0;
	b->blk.dev.transport = (struct virtio_transport){
		.interrupt = on_interrupt,
		.config_changed = on_config_changed,
		.needs_reset = on_needs_reset,
		.stopped = on_stopped,
		.arg = b,
	};
	return ret;
}

static inline void blk_fini(struct blk_fixture *b)
{
	evloop_stop(&b->loop);
	virtio_blk_fini(&b->blk);
	evloop_fini(&b->loop);
	disk_close(&b->disk);
}

/* What a driver and its transport do up to DRIVER_OK; rings in [base, base + 4 MiB). */
static inline void blk_negotiate(struct blk_fixture *b, gpa_t base, uint64_t features)
{
	struct virtio_device *dev = &b->blk.dev;

	ck_assert_uint_eq(features & ~dev->features, 0);
	virtq_driver_init(&b->drv, &mem, base, base + 0x400000, VIRTIO_BLK_QUEUE_SIZE);
	b->hdr = virtq_driver_alloc(&b->drv, sizeof(struct virtio_blk_outhdr));
	b->data = virtq_driver_alloc(&b->drv, MAX_DATA);
	b->status = virtq_driver_alloc(&b->drv, 1);
	dev->negotiated = features | BIT(VIRTIO_F_VERSION_1);
	dev->enabled[0] = true;
	ck_assert_int_eq(virtq_init(&dev->queue[0], &mem, &b->drv.config, dev->negotiated), 0);
}

static inline void begin(uint64_t features)
{
	blk_negotiate(&fix, 0, features);
	fix.blk.dev.broken = false;
	fix.blk.dev.ops->start(&fix.blk.dev);
}

static inline void kick(void)
{
	fix.blk.dev.ops->kick(&fix.blk.dev, 0);
}

static inline bool rekicked(void)
{
	struct pollfd p = {.fd = fix.blk.dev.kick_fd[0], .events = POLLIN};
	uint64_t count;

	return poll(&p, 1, 0) == 1 && read(p.fd, &count, sizeof(count)) == sizeof(count);
}

static inline void setup_mem(void)
{
	const struct guest_mem_region region = {.base = 0, .size = RAM_SIZE};

	ck_assert_int_eq(guest_mem_init(&mem, &region, 1), 0);
	log_set_sink(sink, NULL);
	n_lines = 0;
}

static inline void setup(void)
{
	setup_mem();
	blk_open(&fix, DISK_SIZE, false);
	ck_assert_int_eq(blk_init(&fix, "serial-1"), 0);
	begin(BIT(VIRTIO_BLK_F_FLUSH));
}

static inline void setup_readonly(void)
{
	setup_mem();
	blk_open(&fix, DISK_SIZE, true);
	ck_assert_int_eq(blk_init(&fix, NULL), 0);
	begin(BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_RO));
}

static inline void teardown(void)
{
	blk_fini(&fix);
	guest_mem_fini(&mem);
}

static inline void fill(uint8_t *bytes, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525u + 1013904223u;
		bytes[i] = (uint8_t)(seed >> 24);
	}
}

static inline uint8_t *at(gpa_t gpa, size_t len)
{
	return guest_mem_ptr(&mem, gpa, len);
}

/* How to cut a request: bytes per descriptor, 0 for one descriptor per part. Joined: data shares the descriptor of
 * the header that precedes it or the status that follows it. */
struct framing {
	uint32_t cut;
	bool joined;
};

static const struct framing plain;

/* Puts header, data and status where the framing wants them. Returns the number of pieces. */
static inline unsigned int frame(struct blk_fixture *b, struct virtq_piece *pieces, bool in,
				 uint32_t len, const struct framing *f)
{
	uint32_t hdr_len = sizeof(struct virtio_blk_outhdr);
	uint32_t joined_len = f->joined ? len : 0;
	unsigned int n;

	if (f->joined && !in) /* header and data are one piece of memory */
		b->data = b->hdr + hdr_len;
	if (f->joined && in)
		b->status = b->data + len;
	n = virtq_driver_cut(pieces, MAX_PIECES, b->hdr, hdr_len + (in ? 0 : joined_len), false,
			     f->cut);
	if (!f->joined && len > 0)
		n += virtq_driver_cut(pieces + n, MAX_PIECES - n, b->data, len, in, f->cut);
	if (f->joined && in)
		return n +
		       virtq_driver_cut(pieces + n, MAX_PIECES - n, b->data, len + 1, true, f->cut);
	return n + virtq_driver_cut(pieces + n, MAX_PIECES - n, b->status, 1, true, 0);
}

/* Requests sent together share header and buffers, so they must be alike. */
static inline void submit(struct blk_fixture *b, uint32_t type, uint64_t sector, bool in,
			  uint32_t len, const struct framing *f)
{
	struct virtio_blk_outhdr hdr = {.type = type, .sector = sector};
	struct virtq_piece pieces[MAX_PIECES];
	unsigned int n = frame(b, pieces, in, len, f);

	ck_assert_int_eq(guest_mem_write(&mem, b->hdr, &hdr, sizeof(hdr)), 0);
	*at(b->status, 1) = 0xee;
	virtq_driver_put(&b->drv, virtq_driver_chain(&b->drv, pieces, n));
	virtq_driver_publish(&b->drv);
}

/* The used length always covers all that the device may write. */
static inline uint8_t reap(struct blk_fixture *b, bool in, uint32_t len)
{
	uint32_t used;

	ck_assert(virtq_driver_used(&b->drv, NULL, &used));
	ck_assert_uint_eq(used, (in ? len : 0) + 1);
	return *at(b->status, 1);
}

static inline uint8_t request(uint32_t type, uint64_t sector, bool in, uint32_t len,
			      const struct framing *f)
{
	gpa_t heap = fix.drv.heap, data = fix.data, status = fix.status;
	uint8_t result;

	submit(&fix, type, sector, in, len, f);
	kick();
	result = reap(&fix, in, len);
	ck_assert(!virtq_driver_used(&fix.drv, NULL, NULL));
	fix.drv.heap = heap;
	fix.data = data;
	fix.status = status;
	return result;
}

static inline uint8_t do_read(uint64_t sector, uint32_t len)
{
	return request(VIRTIO_BLK_T_IN, sector, true, len, &plain);
}

static inline uint8_t do_write(uint64_t sector, uint32_t len)
{
	return request(VIRTIO_BLK_T_OUT, sector, false, len, &plain);
}

static inline uint8_t do_flush(void)
{
	return request(VIRTIO_BLK_T_FLUSH, 0, false, 0, &plain);
}

static inline int run(Suite *s)
{
	SRunner *runner = srunner_create(s);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return skip_status(failed);
}
