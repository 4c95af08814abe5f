/* virtio/disk_queue with each engine: transfers of every kind, and errors of the host. */
#include "tests/unit/disk_queue_fixture.h"

static struct disk_range ranges[2];

/* A host whose storage takes memory from any multiple of 4 on, as that behind SCSI, SATA and NVMe does. */
static bool any_memory;

int statx(int fd, const char *restrict name, int flags, unsigned int mask,
	  struct statx *restrict stx)
{
	int ret = (int)syscall(SYS_statx, fd, name, flags, mask, stx);

#ifdef STATX_DIOALIGN
	if (any_memory && ret == 0 && (stx->stx_mask & STATX_DIOALIGN))
		stx->stx_dio_mem_align = 4;
#endif
	return ret;
}

/* ---- tests ---- */

static void there_and_back(void)
{
	for (unsigned int i = 0; i < REQUESTS; i++)
		memset(slots[i].data, (int)(i % 251) + 1, BLOCK);
	fill_all(REQUESTS, DISK_WRITE);
	run_all(REQUESTS);
	assert_all(REQUESTS, 0);
	slots[0].request.io = (struct disk_io){.op = DISK_FLUSH};
	syncs = 0;
	run_all(1);
	assert_all(1, 0);
	ck_assert_uint_eq(syncs, 1);
	for (unsigned int i = 0; i < REQUESTS; i++)
		memset(slots[i].data, 0xee, BLOCK);
	fill_all(REQUESTS, DISK_READ);
	run_all(REQUESTS);
	assert_all(REQUESTS, 0);
	for (unsigned int i = 0; i < REQUESTS; i++) {
		ck_assert_uint_eq(slots[i].data[0], i % 251 + 1);
		ck_assert_mem_eq(slots[i].data, slots[i].data + 1, BLOCK - 1);
	}
}

START_TEST(data_goes_there_and_back)
{
	setup_queue(engines[_i], false);
	there_and_back();
	teardown_queue();
}
END_TEST

/* Memory that direct I/O cannot take, and ranges that it cannot. */
START_TEST(direct)
{
	static uint8_t bytes[3 * BLOCK];

	if (!setup_queue(engines[_i], true))
		return;
	there_and_back();
	for (unsigned int i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	slots[0].iov[0] = (struct iovec){bytes + 1, 1000};
	slots[0].iov[1] = (struct iovec){bytes + 1001, 2 * BLOCK - 1000};
	slots[0].request.io = (struct disk_io){.op = DISK_WRITE,
					       .iov = slots[0].iov,
					       .n_iov = 2,
					       .offset = BLOCK,
					       .len = 2 * BLOCK};
	slots[1].iov[0] = (struct iovec){bytes + 100, 512};
	slots[1].request.io = (struct disk_io){.op = DISK_WRITE,
					       .iov = slots[1].iov,
					       .n_iov = 1,
					       .offset = 10 * BLOCK + 512,
					       .len = 512};
	run_all(2);
	assert_all(2, 0);
	fill_all(12, DISK_READ);
	run_all(12);
	assert_all(12, 0);
	ck_assert_mem_eq(slots[1].data, bytes + 1, BLOCK);
	ck_assert_mem_eq(slots[2].data, bytes + 1 + BLOCK, BLOCK);
	ck_assert_uint_eq(slots[10].data[511], 11);
	ck_assert_mem_eq(slots[10].data + 512, bytes + 100, 512);
	ck_assert_uint_eq(slots[10].data[1024], 11);
	slots[0].iov[0] = (struct iovec){bytes + 3, 2 * BLOCK};
	slots[0].request.io = (struct disk_io){.op = DISK_READ,
					       .iov = slots[0].iov,
					       .n_iov = 1,
					       .offset = BLOCK,
					       .len = 2 * BLOCK};
	run_all(1);
	assert_all(1, 0);
	ck_assert_mem_eq(bytes + 3, slots[1].data, BLOCK);
	ck_assert_mem_eq(bytes + 3 + BLOCK, slots[2].data, BLOCK);
	teardown_queue();
}
END_TEST

/* Block i in two pieces, neither of whole blocks. */
static void fill_odd(unsigned int i, unsigned int n, enum disk_op op)
{
	static const size_t first[] = {256, BLOCK - 8, 1000};
	struct slot *slot = &slots[i];

	fill_io(i, op);
	slot->iov[0] = (struct iovec){slot->data, first[i]};
	slot->iov[1] = (struct iovec){slots[n + i].data, BLOCK - first[i]};
	slot->request.io.n_iov = 2;
	for (unsigned int j = 0; j < 2; j++)
		memset(slot->iov[j].iov_base, op == DISK_WRITE ? (int)i + 1 : 0xee,
		       slot->iov[j].iov_len);
}

/* There too a piece must be as long as whole blocks: this host's kernel refuses others, whatever it is said to take. */
START_TEST(direct_in_odd_pieces)
{
	const unsigned int n = 3;

	any_memory = true;
	if (!setup_queue(engines[_i], true))
		return;
	for (unsigned int pass = 0; pass < 2; pass++) {
		for (unsigned int i = 0; i < n; i++)
			fill_odd(i, n, pass == 0 ? DISK_WRITE : DISK_READ);
		run_all(n);
		assert_all(n, 0);
	}
	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int j = 0; j < 2; j++) {
			const struct iovec *piece = &slots[i].iov[j];
			const uint8_t *bytes = piece->iov_base;

			ck_assert_uint_eq(bytes[0], i + 1);
			ck_assert_mem_eq(bytes, bytes + 1, piece->iov_len - 1);
		}
	}
	teardown_queue();
}
END_TEST

START_TEST(beyond_the_end_and_cut_short)
{
	setup_queue(engines[_i], false);
	fill_all(3, DISK_READ);
	slots[0].request.io.offset = SIZE;
	slots[1].request.io.offset = SIZE - 512;
	slots[2].request.io.offset = UINT64_MAX - 511;
	run_all(3);
	assert_all(3, -EINVAL);
	fill_all(REQUESTS, DISK_READ);
	ck_assert_int_eq(truncate(path, 100 * BLOCK + 1000), 0);
	run_all(REQUESTS);
	for (unsigned int i = 0; i < REQUESTS; i++)
		ck_assert_int_eq(slots[i].err, i < 100 ? 0 : -EIO);
	teardown_queue();
}
END_TEST

static void submit_and_look(void *arg)
{
	n_done = 0;
	for (unsigned int i = 0; i < n_submit; i++)
		disk_queue_submit(&queue, &slots[i].request);
	*(unsigned int *)arg = n_done;
	disk_queue_run(&queue);
}

/* The first of many bytes are not kept back until all were copied. */
START_TEST(much_is_done_in_parts)
{
	unsigned int before_run;

	setup_queue(DISK_ENGINE_URING, false);
	fill_all(REQUESTS, DISK_READ);
	n_submit = REQUESTS;
	evloop_call(&loop, submit_and_look, &before_run);
	await(&all_done);
	assert_all(REQUESTS, 0);
	if (queue.uring) {
		ck_assert_uint_ge(before_run, 64);
		ck_assert_uint_lt(before_run, REQUESTS);
	}
	teardown_queue();
}
END_TEST

START_TEST(errors_of_the_host)
{
	static const int errors[] = {EIO, ENOSPC, EDQUOT};

	setup_queue(engines[_i], false);
	for (unsigned int e = 0; e < 3; e++) {
		fail_with = errors[e];
		fill_all(20, DISK_WRITE);
		run_all(20);
		assert_all(20, -errors[e]);
	}
	fail_with = 0;
	slots[0].request.io = (struct disk_io){.op = DISK_FLUSH};
	run_all(1);
	assert_all(1, 0);
	sync_fail_with = EIO;
	run_all(1);
	assert_all(1, -EIO);
	sync_fail_with = 0;
	run_all(1);
	assert_all(1, -EIO); /* for ever */
	teardown_queue();
}
END_TEST

START_TEST(synchronous_writes)
{
	setup_queue(engines[_i], false);
	syncs = 0;
	fill_all(7, DISK_WRITE);
	for (unsigned int i = 0; i < 7; i++)
		slots[i].request.io.sync = true;
	run_all(7);
	assert_all(7, 0);
	ck_assert_uint_eq(syncs, 7);
	sync_fail_with = ENOSPC;
	run_all(1);
	assert_all(1, -ENOSPC);
	teardown_queue();
}
END_TEST

static blkcnt_t blocks(void)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	return st.st_blocks;
}

START_TEST(discard_and_zeroes)
{
	blkcnt_t before;

	setup_queue(engines[_i], false);
	for (unsigned int i = 0; i < 64; i++)
		memset(slots[i].data, 0x55, BLOCK);
	fill_all(64, DISK_WRITE);
	run_all(64);
	before = blocks();
	ranges[0] = (struct disk_range){4 * BLOCK, 8 * BLOCK};
	ranges[1] = (struct disk_range){32 * BLOCK, 8 * BLOCK};
	slots[0].request.io = (struct disk_io){.op = DISK_DISCARD, .ranges = ranges, .n_ranges = 2};
	run_all(1);
	assert_all(1, 0);
	ck_assert_int_eq(before - blocks(), 16 * BLOCK / 512);
	for (unsigned int unmap = 0; unmap <= 1; unmap++) {
		before = blocks();
		ranges[0] = (struct disk_range){(16 + 4 * unmap) * BLOCK + 512, BLOCK};
		slots[0].request.io = (struct disk_io){
			.op = DISK_ZERO, .unmap = unmap, .ranges = ranges, .n_ranges = 1};
		run_all(1);
		assert_all(1, 0);
		ck_assert_int_eq(before, blocks()); /* no whole block was freed */
	}
	fill_all(64, DISK_READ);
	run_all(64);
	for (unsigned int i = 0; i < 64; i++) {
		bool zero = (i >= 4 && i < 12) || (i >= 32 && i < 40);
		bool part = i == 16 || i == 20, rest = i == 17 || i == 21;

		ck_assert_uint_eq(slots[i].data[0], zero || rest ? 0 : 0x55);
		ck_assert_uint_eq(slots[i].data[511], zero || rest ? 0 : 0x55);
		ck_assert_uint_eq(slots[i].data[512], zero || part ? 0 : 0x55);
		ck_assert_uint_eq(slots[i].data[BLOCK - 1], zero || part ? 0 : 0x55);
	}
	ranges[0] = (struct disk_range){SIZE - 512, 1024};
	slots[0].request.io = (struct disk_io){.op = DISK_ZERO, .ranges = ranges, .n_ranges = 1};
	run_all(1);
	assert_all(1, -EINVAL);
	teardown_queue();
}
END_TEST

/* A host that knows neither holes nor unwritten extents. */
static _Atomic unsigned int zero_calls;

static int no_zero(struct image *image, uint64_t offset, uint64_t len, bool unmap)
{
	(void)image;
	(void)offset;
	(void)len;
	(void)unmap;
	zero_calls++;
	return -EOPNOTSUPP;
}

static int no_discard(struct image *image, uint64_t offset, uint64_t len)
{
	(void)image;
	(void)offset;
	(void)len;
	return -EOPNOTSUPP;
}

START_TEST(zeroes_are_written_where_there_is_no_other_way)
{
	struct image_ops ops;

	setup_queue(engines[_i], false);
	ops = *disk.image->ops;
	ops.zero = no_zero;
	ops.discard = no_discard;
	disk.image->ops = &ops;
	for (unsigned int i = 0; i < REQUESTS; i++)
		memset(slots[i].data, 0x55, BLOCK);
	fill_all(REQUESTS, DISK_WRITE);
	run_all(REQUESTS);
	ranges[0] = (struct disk_range){BLOCK, (REQUESTS - 2) * BLOCK};
	for (enum disk_op op = DISK_DISCARD; op <= DISK_ZERO; op++) {
		slots[0].request.io =
			(struct disk_io){.op = op, .unmap = true, .ranges = ranges, .n_ranges = 1};
		zero_calls = 0;
		run_all(1);
		assert_all(1, 0);
		/* Nothing is written for a discard. */
		ck_assert_uint_eq(zero_calls > 0, op == DISK_ZERO);
		fill_all(REQUESTS, DISK_READ);
		run_all(REQUESTS);
		for (unsigned int i = 0; i < REQUESTS; i++) {
			bool zero = op == DISK_ZERO && i > 0 && i < REQUESTS - 1;

			ck_assert_uint_eq(slots[i].data[i % BLOCK], zero ? 0 : 0x55);
		}
	}
	teardown_queue();
}
END_TEST

/* One request of many extents, and more than a system call takes. */
START_TEST(large_requests)
{
	static uint8_t bytes[SIZE];
	static struct iovec iov[2000];
	unsigned int n = 0, wrong = 0;

	setup_queue(engines[_i], false);
	for (size_t at = 0; at < SIZE; n++) {
		size_t len = n < 1999 ? 1 + n % 700 : SIZE - at;

		iov[n] = (struct iovec){bytes + at, len};
		at += len;
	}
	for (int write = 1; write >= 0; write--) {
		for (size_t i = 0; i < SIZE; i++)
			bytes[i] = write ? (uint8_t)(i * 7 + i / 251) : 0;
		slots[0].request.io = (struct disk_io){
			.op = write ? DISK_WRITE : DISK_READ, .iov = iov, .n_iov = n, .len = SIZE};
		run_all(1);
		assert_all(1, 0);
	}
	for (size_t i = 0; i < SIZE; i++)
		wrong += bytes[i] != (uint8_t)(i * 7 + i / 251);
	ck_assert_uint_eq(wrong, 0);
	teardown_queue();
}
END_TEST

/* Where the host has io_uring, asking for it gives it. */
START_TEST(the_ring_is_there)
{
#ifdef VMM_HAVE_URING
	long ret = syscall(SYS_io_uring_setup, 1, NULL);

	setup_queue(DISK_ENGINE_URING, false);
	if (ret < 0 && errno == EFAULT)
		ck_assert_ptr_nonnull(queue.uring);
	teardown_queue();
	setup_queue(DISK_ENGINE_THREADS, false);
	ck_assert_ptr_null(queue.uring);
	teardown_queue();
#endif
}
END_TEST

/* The kernel keeps the files of a ring for a moment after all is closed; nobody may be kept out by that. */
START_TEST(a_closed_disk_can_be_opened_at_once)
{
	struct disk_config config = {.image = {.path = path}, .engine = engines[_i]};

	setup_queue(engines[_i], false);
	fill_all(REQUESTS, DISK_READ);
	for (unsigned int i = 0; i < 20; i++) {
		run_all(REQUESTS);
		evloop_stop(&loop);
		disk_queue_fini(&queue);
		disk_close(&disk);
		ck_assert_int_eq(disk_open(&disk, &config), 0);
		ck_assert_int_eq(disk_queue_init(&queue), 0);
		ck_assert_int_eq(evloop_start(&loop, "disk"), 0);
		evloop_call(&loop, find_thread, NULL);
	}
	teardown_queue();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_disk_queue");
	TCase *tc = tcase_create("engines");

	tcase_set_timeout(tc, 30);
	tcase_add_test(tc, the_ring_is_there);
	tcase_add_loop_test(tc, data_goes_there_and_back, 0, N_ENGINES);
	tcase_add_loop_test(tc, direct, 0, N_ENGINES);
	tcase_add_loop_test(tc, direct_in_odd_pieces, 0, N_ENGINES);
	tcase_add_loop_test(tc, beyond_the_end_and_cut_short, 0, N_ENGINES);
	tcase_add_test(tc, much_is_done_in_parts);
	tcase_add_loop_test(tc, errors_of_the_host, 0, N_ENGINES);
	tcase_add_loop_test(tc, synchronous_writes, 0, N_ENGINES);
	tcase_add_loop_test(tc, discard_and_zeroes, 0, N_ENGINES);
	tcase_add_loop_test(tc, zeroes_are_written_where_there_is_no_other_way, 0, N_ENGINES);
	tcase_add_loop_test(tc, large_requests, 0, N_ENGINES);
	tcase_add_loop_test(tc, a_closed_disk_can_be_opened_at_once, 0, N_ENGINES);
	suite_add_tcase(s, tc);
	return run(s);
}
