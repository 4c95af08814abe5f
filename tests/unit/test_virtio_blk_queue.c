/* virtio/blk: batches, bounds, protocol violations, and life on event loops. */
#include <time.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "tests/unit/blk_fixture.h"

/* batches, kicks, interrupts */

START_TEST(interrupts_come_in_batches)
{
	for (unsigned int i = 0; i < 33; i++)
		submit(&fix, VIRTIO_BLK_T_IN, i, true, 512, &plain);
	kick();
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 33);
	ck_assert_uint_eq(fix.interrupts, 3); /* 16, 16, 1 */
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv), 0);
	ck_assert(!rekicked());
	kick(); /* for nothing */
	ck_assert_uint_eq(fix.interrupts, 3);
}
END_TEST

START_TEST(event_idx_saves_interrupts)
{
	begin(BIT(VIRTIO_BLK_F_FLUSH) | RING_BITS);
	virtq_driver_set_used_event(&fix.drv, 39);
	for (unsigned int i = 0; i < 40; i++)
		submit(&fix, VIRTIO_BLK_T_IN, i, true, 512, &plain);
	kick();
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 40);
	ck_assert_uint_eq(fix.interrupts, 1);
	ck_assert_uint_eq(virtq_driver_avail_event(&fix.drv), 40);
}
END_TEST

START_TEST(large_requests_are_shown_early)
{
	for (unsigned int i = 0; i < 4; i++)
		submit(&fix, _i ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 0, !_i, 256 << 10, &plain);
	kick();
	ck_assert_uint_eq(fix.interrupts, 4);
	for (unsigned int i = 0; i < 4; i++)
		ck_assert_uint_eq(reap(&fix, !_i, 256 << 10), VIRTIO_BLK_S_OK);
	for (unsigned int i = 0; i < 16; i++) /* and small ones wait for each other again */
		submit(&fix, _i ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 0, !_i, 512, &plain);
	kick();
	ck_assert_uint_eq(fix.interrupts, 5);
}
END_TEST

static unsigned int used_at_interrupt;

static void count_used(void *arg, unsigned int queue)
{
	struct blk_fixture *b = arg;

	(void)queue;
	if (used_at_interrupt == 0)
		used_at_interrupt = virtq_driver_n_used(&b->drv);
}

START_TEST(flush_does_not_delay_others)
{
	fix.blk.dev.transport.interrupt = count_used;
	submit(&fix, VIRTIO_BLK_T_IN, 0, true, 512, &plain);
	submit(&fix, VIRTIO_BLK_T_IN, 0, true, 512, &plain);
	fix.hdr = virtq_driver_alloc(&fix.drv, sizeof(struct virtio_blk_outhdr));
	submit(&fix, VIRTIO_BLK_T_FLUSH, 0, false, 0, &plain);
	kick();
	ck_assert_uint_eq(used_at_interrupt, 2);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 3);
}
END_TEST

START_TEST(one_kick_is_bounded_by_requests)
{
	gpa_t heap = fix.drv.heap;

	for (unsigned int i = 0; i < 256; i++) {
		fix.drv.heap = heap;
		submit(&fix, VIRTIO_BLK_T_FLUSH, 0, false, 0, &plain);
	}
	kick();
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 256);
	ck_assert(rekicked());
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv), VRING_USED_F_NO_NOTIFY);
	kick();
	ck_assert_uint_eq(virtq_driver_used_flags(&fix.drv), 0);
	ck_assert(!rekicked());
}
END_TEST

START_TEST(one_kick_is_bounded_by_bytes)
{
	for (unsigned int i = 0; i < 20; i++)
		submit(&fix, _i ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 0, !_i, MAX_DATA, &plain);
	kick();
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 16);
	ck_assert(rekicked());
	kick();
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 20);
	ck_assert(!rekicked());
}
END_TEST

/* errors of the host */

static bool no_memory;
void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
	return no_memory && size >= 4096 ? NULL : __real_malloc(size); /* Check's own are small */
}

/* A chain that there is no memory for fails, and only that: the driver did nothing wrong. */
START_TEST(no_memory_for_a_long_chain)
{
	const struct framing framing = {.cut = 1000};
	uint8_t *data = at(fix.data, 100000), zero[1000] = {0};

	memset(data, 0xee, 100000);
	no_memory = true;
	ck_assert_uint_eq(
		request(_i ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 8, !_i, 100352, &framing),
		VIRTIO_BLK_S_IOERR);
	ck_assert_uint_eq(n_lines, 1);
	ck_assert_ptr_nonnull(strstr(line, fix.path));
	ck_assert_ptr_nonnull(strstr(line, "of 100352 bytes at byte 4096 failed: Cannot allocate"));
	ck_assert_int_eq(memcmp(data + 99000, zero, 1000) == 0, !_i);
	ck_assert_uint_eq(do_read(0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(
		request(VIRTIO_BLK_T_GET_ID, 0, true, 20000, &(struct framing){.cut = 200}),
		VIRTIO_BLK_S_OK);
	no_memory = false;
	ck_assert_uint_eq(
		request(_i ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN, 8, !_i, 100352, &framing),
		VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(fix.needs_reset, 0);
	ck_assert_uint_eq(n_lines, 1);
}
END_TEST

/* protocol violations */

static void assert_needs_reset(void)
{
	kick();
	ck_assert_uint_eq(fix.needs_reset, 1);
	ck_assert(fix.blk.dev.broken);
	ck_assert_ptr_nonnull(strstr(line, fix.path));
	/* 2.1.2: the driver resets and begins anew */
	fix.blk.dev.ops->stop(&fix.blk.dev);
	begin(BIT(VIRTIO_BLK_F_FLUSH));
	ck_assert_uint_eq(do_read(0, 512), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(fix.needs_reset, 1);
}

START_TEST(short_header_breaks)
{
	const struct virtq_piece pieces[] = {{fix.hdr, 15, false}, {fix.status, 1, true}};

	virtq_driver_send(&fix.drv, pieces, 2);
	assert_needs_reset();
}
END_TEST

START_TEST(missing_status_breaks)
{
	const struct virtq_piece pieces[] = {{fix.hdr, 16, false}, {fix.data, 512, false}};

	virtq_driver_send(&fix.drv, pieces, 2);
	assert_needs_reset();
}
END_TEST

START_TEST(empty_chain_breaks)
{
	const struct virtq_piece piece = {fix.hdr, 0, false};

	virtq_driver_send(&fix.drv, &piece, 1);
	assert_needs_reset();
}
END_TEST

START_TEST(buffer_outside_ram_breaks)
{
	const struct virtq_piece pieces[] = {
		{fix.hdr, 16, false}, {RAM_SIZE - 256, 512, true}, {fix.status, 1, true}};

	virtq_driver_send(&fix.drv, pieces, 3);
	assert_needs_reset();
}
END_TEST

START_TEST(jumping_index_breaks)
{
	virtq_driver_set_avail_idx(&fix.drv, 257);
	assert_needs_reset();
}
END_TEST

START_TEST(what_was_done_before_is_shown)
{
	submit(&fix, VIRTIO_BLK_T_IN, 0, true, 512, &plain);
	virtq_driver_put(&fix.drv, 999);
	virtq_driver_publish(&fix.drv);
	kick();
	ck_assert_uint_eq(fix.needs_reset, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 1);
	ck_assert_uint_eq(reap(&fix, true, 512), VIRTIO_BLK_S_OK);
}
END_TEST

/* on event loops of their own */

static void await(sem_t *sem)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	while (sem_timedwait(sem, &until) < 0)
		ck_assert_int_eq(errno, EINTR);
}

static void driver_kick(struct blk_fixture *b)
{
	uint64_t one = 1;

	ck_assert_int_eq(write(b->blk.dev.kick_fd[0], &one, sizeof(one)), sizeof(one));
}

static uint8_t remote_request(struct blk_fixture *b, uint32_t type, uint64_t sector, bool in,
			      uint32_t len)
{
	virtq_driver_set_used_event(&b->drv, b->drv.next_used);
	submit(b, type, sector, in, len, &plain);
	if (virtq_driver_needs_kick(&b->drv, true))
		driver_kick(b);
	while (virtq_driver_n_used(&b->drv) == 0)
		await(&b->interrupt);
	return reap(b, in, len);
}

#define N_DISKS 3

START_TEST(disks_do_not_mix)
{
	static struct blk_fixture disks[N_DISKS];
	uint8_t want[4096];

	setup_mem();
	for (unsigned int i = 0; i < N_DISKS; i++) {
		blk_open(&disks[i], DISK_SIZE, false);
		ck_assert_int_eq(blk_init(&disks[i], NULL), 0);
		ck_assert_int_eq(evloop_start(&disks[i].loop, "disk"), 0);
		blk_negotiate(&disks[i], i * UINT64_C(0x400000),
			      BIT(VIRTIO_BLK_F_FLUSH) | RING_BITS);
		virtio_device_start(&disks[i].blk.dev);
	}
	for (unsigned int k = 0; k < 200; k++) {
		struct blk_fixture *b = &disks[k % N_DISKS];

		fill(at(b->data, 4096), 4096, k);
		ck_assert_uint_eq(remote_request(b, VIRTIO_BLK_T_OUT, k * 8, false, 4096),
				  VIRTIO_BLK_S_OK);
	}
	for (unsigned int k = 0; k < 200; k++) {
		struct blk_fixture *b = &disks[k % N_DISKS];

		ck_assert_uint_eq(remote_request(b, VIRTIO_BLK_T_IN, k * 8, true, 4096),
				  VIRTIO_BLK_S_OK);
		fill(want, 4096, k);
		ck_assert_mem_eq(at(b->data, 4096), want, 4096);
	}
	for (unsigned int i = 0; i < N_DISKS; i++) {
		ck_assert_uint_eq(remote_request(&disks[i], VIRTIO_BLK_T_FLUSH, 0, false, 0),
				  VIRTIO_BLK_S_OK);
		virtio_device_stop(&disks[i].blk.dev);
		await(&disks[i].stopped);
		blk_fini(&disks[i]);
	}
	guest_mem_fini(&mem);
}
END_TEST

START_TEST(reset_under_load)
{
	ck_assert_int_eq(evloop_start(&fix.loop, "disk"), 0);
	for (unsigned int round = 0; round < 50; round++) {
		uint8_t *ring;
		uint8_t before[64];

		blk_negotiate(&fix, 0, BIT(VIRTIO_BLK_F_FLUSH));
		for (unsigned int i = 0; i < 60; i++)
			submit(&fix, VIRTIO_BLK_T_IN, 0, true, 65536, &plain);
		virtio_device_start(&fix.blk.dev);
		driver_kick(&fix);
		if (round % 2)
			await(&fix.interrupt);
		virtio_device_stop(&fix.blk.dev);
		await(&fix.stopped);
		/* From here on the memory is the driver's again. */
		ring = (uint8_t *)fix.drv.used;
		memcpy(before, ring, sizeof(before));
		memset(at(fix.data, 65536), 0xee, 65536);
		usleep(500);
		ck_assert_mem_eq(before, ring, sizeof(before));
		ck_assert_uint_eq(*at(fix.data + round, 1), 0xee);
		while (sem_trywait(&fix.interrupt) == 0)
			;
	}
	ck_assert_uint_eq(fix.needs_reset, 0);
}
END_TEST

START_TEST(broken_on_its_loop)
{
	ck_assert_int_eq(evloop_start(&fix.loop, "disk"), 0);
	for (unsigned int round = 1; round <= 3; round++) {
		blk_negotiate(&fix, 0, BIT(VIRTIO_BLK_F_FLUSH) | RING_BITS);
		virtio_device_start(&fix.blk.dev);
		ck_assert_uint_eq(remote_request(&fix, VIRTIO_BLK_T_IN, 0, true, 512),
				  VIRTIO_BLK_S_OK);
		virtq_driver_set_avail_idx(&fix.drv, 5000);
		driver_kick(&fix);
		while (fix.needs_reset < round)
			usleep(100);
		driver_kick(&fix); /* is not heard any more */
		virtio_device_stop(&fix.blk.dev);
		await(&fix.stopped);
		ck_assert_uint_eq(fix.needs_reset, round);
	}
}
END_TEST

/* A kernel that is short of memory for good, or says that it is busy, holds no loop up: threads do what the ring does not. */
START_TEST(ring_that_takes_nothing)
{
	static const unsigned int errors[] = {EAGAIN, EBUSY, ENOMEM};
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_enter, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errors[_i]),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	engine = DISK_ENGINE_URING;
	directory = "/var/tmp"; /* no tmpfs, which has no ring */
	setup();
	if (!fix.blk.queues[0].io.uring) {
		skip_note("a ring that takes nothing, for there is no io_uring here");
		teardown();
		return;
	}
	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	memset(at(fix.data, 4096), 0xee, 4096);
	submit(&fix, VIRTIO_BLK_T_IN, 0, true, 4096, &(struct framing){.cut = 0});
	kick();
	ck_assert_int_eq(evloop_start(&fix.loop, "disk"), 0);
	while (sem_wait(&fix.interrupt) < 0)
		;
	ck_assert_uint_eq(reap(&fix, true, 4096), VIRTIO_BLK_S_OK);
	ck_assert_uint_eq(*at(fix.data, 1), 0);
	/* The last one says that there are no rings, of which nobody need be told. */
	ck_assert_uint_eq(n_lines, _i < 2);
	ck_assert(_i == 2 || strstr(line, "io_uring takes no requests any more"));
	teardown();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_blk_queue");
	TCase *writable = tcase_create("writable");
	TCase *own = tcase_create("own");

	tcase_add_checked_fixture(writable, setup, teardown);
	tcase_set_timeout(writable, 60);
	tcase_add_test(writable, interrupts_come_in_batches);
	tcase_add_test(writable, event_idx_saves_interrupts);
	tcase_add_loop_test(writable, large_requests_are_shown_early, 0, 2);
	tcase_add_test(writable, flush_does_not_delay_others);
	tcase_add_test(writable, one_kick_is_bounded_by_requests);
	tcase_add_loop_test(writable, one_kick_is_bounded_by_bytes, 0, 2);
	tcase_add_loop_test(writable, no_memory_for_a_long_chain, 0, 2);
	tcase_add_test(writable, short_header_breaks);
	tcase_add_test(writable, missing_status_breaks);
	tcase_add_test(writable, empty_chain_breaks);
	tcase_add_test(writable, buffer_outside_ram_breaks);
	tcase_add_test(writable, jumping_index_breaks);
	tcase_add_test(writable, what_was_done_before_is_shown);
	tcase_add_test(writable, reset_under_load);
	tcase_add_test(writable, broken_on_its_loop);
	suite_add_tcase(s, writable);

	tcase_set_timeout(own, 60);
	tcase_add_test(own, disks_do_not_mix);
	tcase_add_loop_test(own, ring_that_takes_nothing, 0, 3);
	suite_add_tcase(s, own);
	return run(s);
}
