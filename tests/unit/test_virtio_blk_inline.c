/*
 * virtio-blk served by the vCPU that kicks: what it does, what it leaves to the loop, and that the two never meet. The
 * test is the vCPU; where a test stops the loop, whatever is done was done by the vCPU.
 */
#include <sys/vfs.h>

#include "tests/unit/blk_fixture.h"
#include "tests/unit/evloop_settle.h"

#define INLINE_BYTES 16384u

static struct virtq_driver *drv = &fix.drv;
static sem_t loop_stopped, loop_go;

static void await(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	while (sem_timedwait(sem, &until) < 0)
		ck_assert_int_eq(errno, EINTR);
}

static void wait_in_loop(void *arg)
{
	(void)arg;
	sem_post(&loop_stopped);
	await(&loop_go);
}

static struct evloop_task stop_task = {.fn = wait_in_loop};

static void stop_loop(void)
{
	evloop_post(&fix.loop, &stop_task);
	await(&loop_stopped);
}

static void let_loop_go(void)
{
	sem_post(&loop_go);
	evloop_settle(&fix.loop);
}

static void setup_in(const char *dir, unsigned int requests)
{
	setup_mem();
	engine = DISK_ENGINE_AUTO;
	directory = dir;
	inline_requests = requests;
	inline_bytes = INLINE_BYTES;
	blk_open(&fix, DISK_SIZE, false);
	ck_assert_int_eq(blk_init(&fix, "serial-1"), 0);
	sem_init(&loop_stopped, 0, 0);
	sem_init(&loop_go, 0, 0);
	ck_assert_int_eq(evloop_start(&fix.loop, "disk"), 0);
	blk_negotiate(&fix, 0, BIT(VIRTIO_BLK_F_FLUSH));
	virtio_device_start(&fix.blk.dev);
	evloop_settle(&fix.loop);
}

static void setup_memory(void)
{
	setup_in("/dev/shm", 1);
}

static void vcpu_kick(void)
{
	virtio_device_kick(&fix.blk.dev, 0);
}

static void write_file(unsigned int sector, uint32_t len, uint32_t seed)
{
	uint8_t *bytes = malloc(len);

	fill(bytes, len, seed);
	ck_assert_int_eq(pwrite(image_fd(&fix.disk), bytes, len, sector * 512), len);
	free(bytes);
}

static void assert_data(uint32_t len, uint32_t seed)
{
	uint8_t *bytes = malloc(len);

	fill(bytes, len, seed);
	ck_assert_mem_eq(at(fix.data, len), bytes, len);
	free(bytes);
}

/* Whether the file system reads what it has in memory without waiting, and says so of the rest. */
static bool reads_without_waiting(void)
{
	char bytes[512];
	struct iovec iov = {bytes, sizeof(bytes)};

	write_file(0, 512, 1);
	return preadv2(image_fd(&fix.disk), &iov, 1, 0, RWF_NOWAIT) == 512;
}

/* ---- tests ---- */

START_TEST(reads_and_writes_in_memory)
{
	uint8_t bytes[4096];

	stop_loop();
	write_file(8, 4096, 7);
	submit(&fix, VIRTIO_BLK_T_IN, 8, true, 4096, &plain);
	vcpu_kick();
	ck_assert_uint_eq(reap(&fix, true, 4096), VIRTIO_BLK_S_OK);
	assert_data(4096, 7);
	fill(at(fix.data, 4096), 4096, 9);
	submit(&fix, VIRTIO_BLK_T_OUT, 16, false, 4096, &plain);
	vcpu_kick();
	ck_assert_uint_eq(reap(&fix, false, 4096), VIRTIO_BLK_S_OK);
	ck_assert_int_eq(pread(image_fd(&fix.disk), bytes, 4096, 16 * 512), 4096);
	ck_assert_mem_eq(bytes, at(fix.data, 4096), 4096);
	ck_assert_uint_eq(fix.interrupts, 2);
	let_loop_go();
	ck_assert_uint_eq(fix.interrupts, 2);
}
END_TEST

/* What has no data is answered too, and so is what is refused. */
START_TEST(answers_the_rest)
{
	stop_loop();
	submit(&fix, VIRTIO_BLK_T_GET_ID, 0, true, 20, &plain);
	vcpu_kick();
	ck_assert_uint_eq(reap(&fix, true, 20), VIRTIO_BLK_S_OK);
	ck_assert_str_eq((const char *)at(fix.data, 20), "serial-1");
	submit(&fix, VIRTIO_BLK_T_IN, DISK_SECTORS, true, 512, &plain);
	vcpu_kick();
	ck_assert_uint_eq(reap(&fix, true, 512), VIRTIO_BLK_S_IOERR);
	submit(&fix, 77, 0, true, 512, &plain);
	vcpu_kick();
	ck_assert_uint_eq(reap(&fix, true, 512), VIRTIO_BLK_S_UNSUPP);
	let_loop_go();
}
END_TEST

/* The file was cut short by others. */
START_TEST(reports_errors)
{
	ck_assert_int_eq(ftruncate(image_fd(&fix.disk), 4096), 0);
	stop_loop();
	submit(&fix, VIRTIO_BLK_T_IN, 100, true, 512, &plain);
	vcpu_kick();
	ck_assert_uint_eq(reap(&fix, true, 512), VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(n_lines, 1);
	let_loop_go();
}
END_TEST

/* Many requests, large ones, and those that wait are the loop's. */
START_TEST(leaves_much_to_the_loop)
{
	stop_loop();
	submit(&fix, VIRTIO_BLK_T_IN, 0, true, 512, &plain);
	submit(&fix, VIRTIO_BLK_T_IN, 0, true, 512, &plain);
	vcpu_kick();
	ck_assert(!virtq_driver_used(drv, NULL, NULL));
	let_loop_go();
	ck_assert_uint_eq(virtq_driver_n_used(drv), 2);
	reap(&fix, true, 512);
	reap(&fix, true, 512);

	stop_loop();
	write_file(0, INLINE_BYTES + 512, 3);
	submit(&fix, VIRTIO_BLK_T_IN, 0, true, INLINE_BYTES + 512, &plain);
	vcpu_kick();
	ck_assert(!virtq_driver_used(drv, NULL, NULL));
	let_loop_go();
	ck_assert_uint_eq(reap(&fix, true, INLINE_BYTES + 512), VIRTIO_BLK_S_OK);
	assert_data(INLINE_BYTES + 512, 3);

	stop_loop();
	submit(&fix, VIRTIO_BLK_T_FLUSH, 0, false, 0, &plain);
	vcpu_kick();
	ck_assert(!virtq_driver_used(drv, NULL, NULL));
	let_loop_go();
	ck_assert_uint_eq(reap(&fix, false, 0), VIRTIO_BLK_S_OK);
}
END_TEST

/* With many allowed, up to so many and so many bytes; then it is the loop's turn. */
START_TEST(serves_a_batch_with_a_bound)
{
	setup_in("/dev/shm", 8);
	stop_loop();
	for (unsigned int i = 0; i < 8; i++)
		submit(&fix, VIRTIO_BLK_T_IN, i, true, 512, &plain);
	vcpu_kick();
	ck_assert_uint_eq(virtq_driver_n_used(drv), 8);
	ck_assert_uint_eq(fix.interrupts, 1);
	for (unsigned int i = 0; i < 8; i++)
		ck_assert_uint_eq(reap(&fix, true, 512), VIRTIO_BLK_S_OK);
	for (unsigned int i = 0; i < 8; i++)
		submit(&fix, VIRTIO_BLK_T_IN, 0, true, INLINE_BYTES / 4, &plain);
	vcpu_kick();
	ck_assert_uint_eq(virtq_driver_n_used(drv), 4);
	let_loop_go();
	ck_assert_uint_eq(virtq_driver_n_used(drv), 8);
	teardown();
}
END_TEST

START_TEST(reads_from_the_page_cache)
{
	setup_in("/tmp", 1);
	if (!reads_without_waiting()) {
		skip_note("the file system of /tmp has no reads that do not wait");
		teardown();
		return;
	}
	write_file(8, 4096, 7);
	stop_loop();
	submit(&fix, VIRTIO_BLK_T_IN, 8, true, 4096, &plain);
	vcpu_kick();
	ck_assert_uint_eq(reap(&fix, true, 4096), VIRTIO_BLK_S_OK);
	assert_data(4096, 7);
	/* A write may wait. */
	fill(at(fix.data, 4096), 4096, 9);
	submit(&fix, VIRTIO_BLK_T_OUT, 16, false, 4096, &plain);
	vcpu_kick();
	ck_assert(!virtq_driver_used(drv, NULL, NULL));
	/* Nor is anything done while one is held for the loop. */
	submit(&fix, VIRTIO_BLK_T_IN, 8, true, 4096, &plain);
	vcpu_kick();
	ck_assert(!virtq_driver_used(drv, NULL, NULL));
	sem_post(&loop_go);
	while (virtq_driver_n_used(drv) < 2)
		await(&fix.interrupt);
	teardown();
}
END_TEST

/* What is not in the cache is left to the loop, and so are the next ones, for a while. */
START_TEST(leaves_misses_to_the_loop)
{
	unsigned int left = 0;

	setup_in("/tmp", 1);
	write_file(0, DISK_SIZE / 2, 5);
	ck_assert_int_eq(fdatasync(image_fd(&fix.disk)), 0);
	ck_assert_int_eq(posix_fadvise(image_fd(&fix.disk), 0, 0, POSIX_FADV_DONTNEED), 0);
	if (!reads_without_waiting()) {
		skip_note("the file system of /tmp has no reads that do not wait");
		teardown();
		return;
	}
	stop_loop();
	submit(&fix, VIRTIO_BLK_T_IN, 1024, true, 512, &plain);
	vcpu_kick();
	if (virtq_driver_used(drv, NULL, NULL)) {
		skip_note("the file system of /tmp keeps what was to be dropped from memory");
		let_loop_go();
		teardown();
		return;
	}
	sem_post(&loop_go);
	while (!virtq_driver_used(drv, NULL, NULL))
		await(&fix.interrupt);
	for (unsigned int i = 0; i < 100; i++) {
		stop_loop();
		submit(&fix, VIRTIO_BLK_T_IN, 0, true, 512, &plain);
		vcpu_kick();
		left += virtq_driver_n_used(drv) == 0;
		sem_post(&loop_go);
		while (!virtq_driver_used(drv, NULL, NULL))
			await(&fix.interrupt);
	}
	ck_assert_uint_eq(left, 16);
	teardown();
}
END_TEST

static void interrupt_in_loop(void *arg, unsigned int queue)
{
	if (pthread_equal(pthread_self(), fix.loop.thread)) {
		sem_post(&loop_stopped);
		await(&loop_go);
	}
	on_interrupt(arg, queue);
}

/* The loop is at the queue: the vCPU goes on, and the loop sees what it kicked for. */
START_TEST(does_not_wait_for_the_loop)
{
	fix.blk.dev.transport.interrupt = interrupt_in_loop;
	submit(&fix, VIRTIO_BLK_T_IN, 0, true, 512, &plain);
	virtio_device_rekick(&fix.blk.dev, 0);
	await(&loop_stopped);
	ck_assert_uint_eq(reap(&fix, true, 512), VIRTIO_BLK_S_OK);
	submit(&fix, VIRTIO_BLK_T_IN, 1, true, 512, &plain);
	vcpu_kick();
	ck_assert(!virtq_driver_used(drv, NULL, NULL));
	sem_post(&loop_go);
	await(&loop_stopped);
	ck_assert_uint_eq(reap(&fix, true, 512), VIRTIO_BLK_S_OK);
	sem_post(&loop_go);
}
END_TEST

START_TEST(breaks_on_a_vcpu)
{
	stop_loop();
	virtq_driver_send(drv, &(struct virtq_piece){fix.hdr, 4, false}, 1);
	vcpu_kick();
	ck_assert_uint_eq(fix.needs_reset, 1);
	vcpu_kick();
	ck_assert_uint_eq(fix.needs_reset, 1);
	let_loop_go();
}
END_TEST

/* An index that is beyond all reason is the loop's to refuse. */
START_TEST(refuses_a_bad_index)
{
	virtq_driver_set_avail_idx(drv, VIRTIO_BLK_QUEUE_SIZE + 1);
	vcpu_kick();
	evloop_settle(&fix.loop);
	ck_assert_uint_eq(fix.needs_reset, 1);
}
END_TEST

static _Atomic bool hammering;

static void *hammer(void *arg)
{
	(void)arg;
	while (atomic_load(&hammering))
		vcpu_kick();
	return NULL;
}

/* Resets while another vCPU kicks all the time: the ring is left alone between them. */
START_TEST(resets_beside_kicks)
{
	pthread_t thread;
	unsigned int done = 0;

	atomic_store(&hammering, true);
	ck_assert_int_eq(pthread_create(&thread, NULL, hammer, NULL), 0);
	for (unsigned int round = 0; round < 200; round++) {
		uint16_t used;

		submit(&fix, VIRTIO_BLK_T_IN, 0, true, 512, &plain);
		usleep((useconds_t)random() % 50);
		virtio_device_stop(&fix.blk.dev);
		await(&fix.stopped);
		used = virtq_driver_n_used(drv);
		done += used;
		usleep(50);
		ck_assert_uint_eq(virtq_driver_n_used(drv), used);
		blk_negotiate(&fix, 0, BIT(VIRTIO_BLK_F_FLUSH));
		virtio_device_start(&fix.blk.dev);
	}
	atomic_store(&hammering, false);
	pthread_join(thread, NULL);
	/* Or nothing was tested. */
	ck_assert_uint_gt(done, 10);
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

/* A disk with a limit, and one whose engine was chosen, are served by the loop alone. */
START_TEST(is_not_for_every_disk)
{
	struct disk_limit_config limit = {.iops = 1000};
	struct virtio_blk_options options = {
		.disk = &fix.disk, .loop = &fix.loop, .inline_requests = 1, .limit = &limit};

	setup_mem();
	directory = "/dev/shm";
	engine = DISK_ENGINE_AUTO;
	blk_open(&fix, DISK_SIZE, false);
	ck_assert_int_eq(evloop_init(&fix.loop), 0);
	ck_assert_int_eq(virtio_blk_init(&fix.blk, &options), 0);
	ck_assert(!fix.blk.dev.serve_inline[0]);
	virtio_blk_fini(&fix.blk);
	options.limit = NULL;
	fix.disk.engine = DISK_ENGINE_THREADS;
	ck_assert_int_eq(virtio_blk_init(&fix.blk, &options), 0);
	ck_assert(!fix.blk.dev.serve_inline[0]);
	virtio_blk_fini(&fix.blk);
	fix.disk.engine = DISK_ENGINE_AUTO;
	ck_assert_int_eq(virtio_blk_init(&fix.blk, &options), 0);
	ck_assert(fix.blk.dev.serve_inline[0]);
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_blk_inline");
	TCase *memory = tcase_create("memory"), *own = tcase_create("own");

	tcase_set_timeout(memory, 60);
	tcase_add_checked_fixture(memory, setup_memory, teardown);
	tcase_add_test(memory, reads_and_writes_in_memory);
	tcase_add_test(memory, answers_the_rest);
	tcase_add_test(memory, reports_errors);
	tcase_add_test(memory, leaves_much_to_the_loop);
	tcase_add_test(memory, does_not_wait_for_the_loop);
	tcase_add_test(memory, breaks_on_a_vcpu);
	tcase_add_test(memory, refuses_a_bad_index);
	tcase_add_test(memory, resets_beside_kicks);
	suite_add_tcase(s, memory);
	tcase_set_timeout(own, 60);
	tcase_add_test(own, serves_a_batch_with_a_bound);
	tcase_add_test(own, reads_from_the_page_cache);
	tcase_add_test(own, leaves_misses_to_the_loop);
	tcase_add_test(own, is_not_for_every_disk);
	suite_add_tcase(s, own);
	return run(s);
}
