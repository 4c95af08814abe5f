/*
 * virtio-blk on the engines that do not wait, with a file on storage: many requests of all kinds at once, and resets while
 * they are in flight.
 */
#include <sys/syscall.h>
#include <time.h>

#include "tests/unit/blk_fixture.h"

#define SLOTS	   60u
#define SLOT_BASE  UINT64_C(0x800000)
#define SLOT_SIZE  UINT64_C(0x10000)
#define MOST_BYTES 32768u

/* Some have more pieces than a slot of the device has room for. */
#define LONG_PIECES (VIRTIO_BLK_PIECES + 1u)

static const struct way {
	enum disk_engine engine;
	bool direct;
	bool writethrough; /* the driver does without flushes */
	unsigned int inline_requests;
	bool memory;
} ways[] = {
	{.engine = DISK_ENGINE_URING},
	{.engine = DISK_ENGINE_URING, .direct = true},
	{.engine = DISK_ENGINE_URING, .writethrough = true},
	{.engine = DISK_ENGINE_THREADS},
	{.engine = DISK_ENGINE_THREADS, .direct = true},
	{.engine = DISK_ENGINE_THREADS, .writethrough = true},
	{.engine = DISK_ENGINE_AUTO},
	{.engine = DISK_ENGINE_AUTO, .inline_requests = 1},
	{.engine = DISK_ENGINE_AUTO, .inline_requests = 64},
	{.engine = DISK_ENGINE_AUTO, .inline_requests = 1, .memory = true},
	{.engine = DISK_ENGINE_AUTO, .inline_requests = 64, .memory = true},
	{.engine = DISK_ENGINE_AUTO, .inline_requests = 64, .memory = true, .writethrough = true},
};
#define N_WAYS	  ((int)(sizeof(ways) / sizeof(ways[0])))
#define N_STORAGE 7 /* the first ones, where something is in flight when the kick returns */

/* One request of a batch; no two touch the same sectors. */
struct slot {
	uint32_t type;
	uint64_t first;
	uint32_t len; /* bytes of the disk */
	gpa_t data;   /* of the descriptor: the disk's bytes, or the range of write zeroes */
	gpa_t header, status;
	uint8_t old[MOST_BYTES]; /* what the disk held */
	bool done;
};

static struct slot slots[SLOTS];
static unsigned int n_batch;
static unsigned int slot_of[VIRTIO_BLK_QUEUE_SIZE];
static uint8_t model[DISK_SIZE]; /* what the disk holds */
static unsigned int in_flight;	 /* at the moment of a reset */
static unsigned int block;	 /* sectors */

/* ---- the disk as a driver has it ---- */

static uint64_t features(const struct way *way)
{
	return (way->writethrough ? 0 : BIT(VIRTIO_BLK_F_FLUSH)) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) |
	       BIT(VIRTIO_RING_F_EVENT_IDX);
}

static void await(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	while (sem_timedwait(sem, &until) < 0)
		ck_assert_int_eq(errno, EINTR);
}

static void start_device(const struct way *way)
{
	blk_negotiate(&fix, 0, features(way));
	virtio_device_start(&fix.blk.dev);
}

/* Where the host has io_uring, asking for it gave it. */
static void assert_engine(const struct way *way)
{
	const struct disk_uring *uring = fix.blk.queues[0].io.uring;

	if (way->engine == DISK_ENGINE_THREADS)
		ck_assert_ptr_null(uring);
#ifdef VMM_HAVE_URING
	if (way->engine == DISK_ENGINE_URING && syscall(SYS_io_uring_setup, 1, NULL) < 0 &&
	    errno == EFAULT)
		ck_assert_ptr_nonnull(uring);
#endif
}

/* Returns false where there is no direct I/O. */
static bool setup_way(const struct way *way)
{
	engine = way->engine;
	direct = way->direct;
	inline_requests = way->inline_requests;
	inline_bytes = MOST_BYTES;
	directory = way->memory ? "/dev/shm" : "/tmp";
	if (direct)
		directory = skip_unless_direct();
	if (!directory)
		return false;
	setup_mem();
	blk_open(&fix, DISK_SIZE, false);
	ck_assert_int_eq(blk_init(&fix, NULL), 0);
	assert_engine(way);
	block = fix.disk.logical_block / DISK_SECTOR;
	ck_assert_int_eq(evloop_start(&fix.loop, "disk"), 0);
	start_device(way);
	memset(model, 0, sizeof(model));
	return true;
}

static void teardown_way(void)
{
	virtio_device_stop(&fix.blk.dev);
	await(&fix.stopped);
	ck_assert_uint_eq(fix.needs_reset, 0);
	ck_assert_uint_eq(n_lines, 0);
	teardown();
}

/* ---- batches ---- */

static bool overlaps(const struct slot *slot)
{
	for (unsigned int i = 0; i < n_batch; i++) {
		if (slot->first * 512 < slots[i].first * 512 + slots[i].len &&
		    slots[i].first * 512 < slot->first * 512 + slot->len)
			return true;
	}
	return false;
}

static void choose(struct slot *slot, const struct way *way)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN,    VIRTIO_BLK_T_IN,
					 VIRTIO_BLK_T_OUT,   VIRTIO_BLK_T_OUT,
					 VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_WRITE_ZEROES};
	uint32_t blocks = MOST_BYTES / 512 / block;

	do {
		slot->type = types[random() % 6];
	} while (slot->type == VIRTIO_BLK_T_FLUSH && way->writethrough);
	slot->len = (uint32_t)(1 + random() % blocks) * block * 512;
	if (slot->type == VIRTIO_BLK_T_FLUSH)
		slot->len = 0;
	slot->first = (uint64_t)random() % ((DISK_SECTORS - slot->len / 512) / block + 1) * block;
	slot->done = false;
}

static uint32_t data_len(const struct slot *slot)
{
	return slot->type == VIRTIO_BLK_T_WRITE_ZEROES
		       ? sizeof(struct virtio_blk_discard_write_zeroes)
		       : slot->len;
}

/* The new data go to the model at once. */
static void fill_slot(struct slot *slot)
{
	struct virtio_blk_discard_write_zeroes range = {.sector = slot->first,
							.num_sectors = slot->len / 512,
							.flags = (uint32_t)random() % 2};
	uint8_t *held = model + slot->first * 512, *data = at(slot->data, MOST_BYTES);

	memcpy(slot->old, held, slot->len);
	switch (slot->type) {
	case VIRTIO_BLK_T_IN:
		memset(data, 0xee, slot->len);
		break;
	case VIRTIO_BLK_T_OUT:
		fill(data, slot->len, (uint32_t)random());
		memcpy(held, data, slot->len);
		break;
	case VIRTIO_BLK_T_WRITE_ZEROES:
		memcpy(data, &range, sizeof(range));
		memset(held, 0, slot->len);
		break;
	default:
		break;
	}
}

static void put_slot(struct slot *slot)
{
	bool ranges = slot->type == VIRTIO_BLK_T_WRITE_ZEROES || slot->type == VIRTIO_BLK_T_FLUSH;
	struct virtio_blk_outhdr header = {.type = slot->type, .sector = ranges ? 0 : slot->first};
	struct virtq_piece pieces[LONG_PIECES + 2] = {{slot->header, sizeof(header), false}};
	uint32_t cut = (slot - slots) % 3 == 0 ? data_len(slot) / LONG_PIECES + 1
					       : (uint32_t)(random() % 2) * 16384;
	unsigned int n = 1;
	uint16_t head;

	if (data_len(slot) > 0)
		n += virtq_driver_cut(pieces + 1, LONG_PIECES, slot->data, data_len(slot),
				      slot->type == VIRTIO_BLK_T_IN, cut);
	pieces[n++] = (struct virtq_piece){slot->status, 1, true};
	ck_assert_int_eq(guest_mem_write(&mem, slot->header, &header, sizeof(header)), 0);
	*at(slot->status, 1) = 0xee;
	head = virtq_driver_chain(&fix.drv, pieces, n);
	slot_of[head] = (unsigned int)(slot - slots);
	virtq_driver_put(&fix.drv, head);
}

/* Up to n requests, which the device does not hear of yet. */
static void put_batch(unsigned int n, const struct way *way)
{
	n_batch = 0;
	for (unsigned int i = 0; i < n; i++) {
		struct slot *slot = &slots[n_batch];

		slot->data = SLOT_BASE + n_batch * SLOT_SIZE;
		/* Direct I/O has a way of its own for memory that is not aligned. */
		slot->data += (gpa_t)(random() % 3 ? 0 : 512 + random() % 2 * 4);
		slot->header = SLOT_BASE + n_batch * SLOT_SIZE + 0xe000;
		slot->status = slot->header + 0x1000;
		choose(slot, way);
		if (overlaps(slot))
			continue;
		fill_slot(slot);
		put_slot(slot);
		n_batch++;
	}
	virtq_driver_publish(&fix.drv);
}

static void reap_batch(void)
{
	uint32_t head, used;

	while (virtq_driver_used(&fix.drv, &head, &used)) {
		struct slot *slot = &slots[slot_of[head]];

		ck_assert(!slot->done);
		slot->done = true;
		ck_assert_uint_eq(*at(slot->status, 1), VIRTIO_BLK_S_OK);
		ck_assert_uint_eq(used, (slot->type == VIRTIO_BLK_T_IN ? slot->len : 0) + 1);
		if (slot->type == VIRTIO_BLK_T_IN)
			ck_assert_mem_eq(at(slot->data, slot->len), slot->old, slot->len);
	}
}

static unsigned int n_done(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < n_batch; i++)
		n += slots[i].done;
	return n;
}

static void finish_batch(void)
{
	for (;;) {
		reap_batch();
		if (n_done() == n_batch)
			return;
		virtq_driver_set_used_event(&fix.drv, fix.drv.next_used);
		if (virtq_driver_n_used(&fix.drv) == 0)
			await(&fix.interrupt);
	}
}

static void read_file(void *buf, size_t len, off_t offset)
{
	/* what direct I/O wrote is seen through the page cache too */
	ck_assert_int_eq(pread(image_fd(&fix.disk), buf, len, offset), (ssize_t)len);
}

/* ---- tests ---- */

START_TEST(many_requests_at_once)
{
	const struct way *way = &ways[_i];
	static uint8_t file[DISK_SIZE] __attribute__((aligned(4096)));

	if (!setup_way(way))
		return;
	for (unsigned int round = 0; round < 60; round++) {
		/* From one on, which is what a vCPU may serve. */
		put_batch(1 + (unsigned int)random() % (round % 2 ? 2 : SLOTS), way);
		virtio_device_kick(&fix.blk.dev, 0);
		finish_batch();
	}
	read_file(file, sizeof(file), 0);
	ck_assert_mem_eq(file, model, sizeof(file));
	teardown_way();
}
END_TEST

static void kick_and_stop(void *arg)
{
	(void)arg;
	kick();
	in_flight += fix.blk.queues[0].io.in_flight;
	virtio_device_stop(&fix.blk.dev);
}

static void kick_alone(void *arg)
{
	(void)arg;
	kick();
}

/* The driver's own again: nobody may write there. */
static void assert_memory_is_left_alone(void)
{
	uint16_t used = fix.drv.used->idx;

	for (unsigned int i = 0; i < n_batch; i++) {
		memset(at(slots[i].data, MOST_BYTES), 0x77, MOST_BYTES);
		*at(slots[i].status, 1) = 0x77;
	}
	usleep(300);
	ck_assert_uint_eq(fix.drv.used->idx, used);
	for (unsigned int i = 0; i < n_batch; i++) {
		const uint8_t *data = at(slots[i].data, MOST_BYTES);

		ck_assert_uint_eq(*at(slots[i].status, 1), 0x77);
		ck_assert(data[0] == 0x77 && memcmp(data, data + 1, MOST_BYTES - 1) == 0);
	}
}

/* What was not completed may have been done, in part or not at all; the model learns which. */
static void find_out_what_was_done(void)
{
	static uint8_t file[DISK_SIZE] __attribute__((aligned(4096)));

	read_file(file, sizeof(file), 0);
	for (unsigned int i = 0; i < n_batch; i++) {
		const struct slot *slot = &slots[i];

		for (uint64_t k = 0; k < slot->len && !slot->done; k += 512) {
			uint64_t at = slot->first * 512 + k;

			if (memcmp(file + at, slot->old + k, 512) == 0)
				memcpy(model + at, slot->old + k, 512);
		}
	}
	ck_assert_mem_eq(file, model, sizeof(file));
}

START_TEST(reset_with_requests_in_flight)
{
	const struct way *way = &ways[_i];
	unsigned int dropped = 0;

	if (!setup_way(way))
		return;
	in_flight = 0;
	for (unsigned int round = 0; round < 60; round++) {
		put_batch(SLOTS, way);
		if (round % 2) {
			evloop_call(&fix.loop, kick_and_stop, NULL);
		} else { /* some are done by then, and some have just begun */
			evloop_call(&fix.loop, kick_alone, NULL);
			usleep((useconds_t)random() % 300);
			virtio_device_stop(&fix.blk.dev);
		}
		await(&fix.stopped);
		reap_batch();
		dropped += n_batch - n_done();
		assert_memory_is_left_alone();
		find_out_what_was_done();
		while (sem_trywait(&fix.interrupt) == 0)
			;
		start_device(way);
	}
	/* Or nothing was tested. */
	ck_assert_uint_gt(in_flight, 100);
	ck_assert_uint_gt(dropped, 100);
	teardown_way();
}
END_TEST

START_TEST(end_with_requests_in_flight)
{
	const struct way *way = &ways[_i];

	for (unsigned int round = 0; round < 10; round++) {
		if (!setup_way(way))
			return;
		put_batch(SLOTS, way);
		evloop_call(&fix.loop, kick_alone, NULL);
		teardown(); /* without a reset, as when the machine ends */
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_blk_engines");
	TCase *tc = tcase_create("engines");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, many_requests_at_once, 0, N_WAYS);
	tcase_add_loop_test(tc, reset_with_requests_in_flight, 0, N_STORAGE);
	tcase_add_loop_test(tc, end_with_requests_in_flight, 0, N_WAYS);
	suite_add_tcase(s, tc);
	return run(s);
}
