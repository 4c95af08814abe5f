/* virtio/virtq: where rings may lie, and chains that keep the rules, in every framing. */
#include "tests/unit/virtq_fixture.h"

/* init */

START_TEST(init_accepts_every_power_of_two)
{
	for (unsigned int size = 1; size <= VIRTQ_MAX_SIZE; size *= 2) {
		virtq_driver_init(&fix.drv, &fix.mem, RINGS, HEAP_END, (uint16_t)size);
		ck_assert_int_eq(virtq_init(&fix.vq, &fix.mem, &fix.drv.config, 0), 0);
		ck_assert_uint_eq(fix.vq.size, size);
		ck_assert_int_eq(fix_pop(), 0);
	}
}
END_TEST

START_TEST(init_refuses_other_sizes)
{
	static const uint16_t sizes[] = {0, 3, 5, 12, 255, 257, 1000, 2048, 32768, 65535};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		fix.drv.config.size = sizes[i];
		ck_assert_int_eq(virtq_init(&fix.vq, &fix.mem, &fix.drv.config, 0), -EINVAL);
	}
}
END_TEST

static int init_at(gpa_t desc, gpa_t avail, gpa_t used)
{
	struct virtq_config config = {SIZE, true, desc, avail, used};

	return virtq_init(&fix.vq, &fix.mem, &config, 0);
}

START_TEST(init_refuses_misaligned_rings)
{
	ck_assert_int_eq(init_at(0x1000, 0x2002, 0x3004), 0);
	for (gpa_t off = 1; off < 16; off++)
		ck_assert_int_eq(init_at(0x1000 + off, 0x2000, 0x3000), -EINVAL);
	ck_assert_int_eq(init_at(0x1000, 0x2001, 0x3000), -EINVAL);
	for (gpa_t off = 1; off < 4; off++)
		ck_assert_int_eq(init_at(0x1000, 0x2000, 0x3000 + off), -EINVAL);
}
END_TEST

START_TEST(init_refuses_rings_outside_ram)
{
	static const gpa_t outside[] = {
		RAM0_SIZE,	       /* the hole */
		RAM0_SIZE - 16,	       /* out of the end of a region */
		RAM1_BASE - 16,	       /* into the start of one */
		RAM1_BASE + RAM1_SIZE, /* behind all */
		UINT64_MAX - 15,       /* wraps around */
		UINT64_C(0x8000000000000000),
	};

	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		ck_assert_int_eq(init_at(outside[i], 0x2000, 0x3000), -EINVAL);
		ck_assert_int_eq(init_at(0x1000, outside[i], 0x3000), -EINVAL);
		ck_assert_int_eq(init_at(0x1000, 0x2000, outside[i]), -EINVAL);
	}
}
END_TEST

START_TEST(init_measures_rings_exactly)
{
	gpa_t end = RAM1_BASE + RAM1_SIZE;

	ck_assert_int_eq(init_at(end - 16 * SIZE, 0x2000, 0x3000), 0);
	ck_assert_int_eq(init_at(0x1000, end - (6 + 2 * SIZE), 0x3000), 0);
	ck_assert_int_eq(init_at(0x1000, end - (4 + 2 * SIZE), 0x3000), -EINVAL);
	/* the used ring needs 6 + 8 n bytes; its alignment of 4 makes that 8 + 8 n from the end */
	ck_assert_int_eq(init_at(0x1000, 0x2000, end - (8 + 8 * SIZE)), 0);
	ck_assert_int_eq(init_at(0x1000, 0x2000, end - (4 + 8 * SIZE)), -EINVAL);
}
END_TEST

/* A driver that resets the device begins at index 0 with a whole queue. */
START_TEST(init_forgets_what_was)
{
	const struct virtq_piece piece = {fix.buf, 8, false};

	virtq_driver_send(&fix.drv, &piece, 1);
	ck_assert_int_eq(fix_pop(), 1);
	virtq_push(&fix.vq, fix.chain.head, 0);
	virtq_publish(&fix.vq);
	virtq_driver_set_avail_idx(&fix.drv, 1000);
	ck_assert_int_eq(fix_pop(), -EPROTO);
	fix_make_queue(SIZE, INDIRECT);
	virtq_driver_send(&fix.drv, &piece, 1);
	ck_assert_int_eq(fix_pop(), 1);
	virtq_push(&fix.vq, fix.chain.head, 0);
	ck_assert(virtq_publish(&fix.vq));
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 1);
}
END_TEST

/* good chains */

START_TEST(empty_ring_gives_nothing)
{
	ck_assert_int_eq(fix_pop(), 0);
	ck_assert(!virtq_pending(&fix.vq));
	ck_assert(!virtq_publish(&fix.vq));
	ck_assert_uint_eq(virtq_driver_n_used(&fix.drv), 0);
}
END_TEST

static void assert_bytes(const struct iovec *v, unsigned int n, gpa_t gpa, size_t len)
{
	uint8_t *at = guest_mem_ptr(&fix.mem, gpa, len);
	size_t seen = 0;

	for (unsigned int i = 0; i < n; i++) {
		ck_assert_ptr_eq(v[i].iov_base, at + seen);
		ck_assert_uint_gt(v[i].iov_len, 0);
		seen += v[i].iov_len;
	}
	ck_assert_uint_eq(seen, len);
}

static void check_framing(uint32_t out, uint32_t out_cut, uint32_t in, uint32_t in_cut,
			  bool indirect)
{
	struct virtq_piece pieces[SIZE];
	unsigned int n = 0;
	uint16_t head;

	if (out > 0)
		n += virtq_driver_cut(pieces, SIZE, fix.buf, out, false, out_cut);
	if (in > 0)
		n += virtq_driver_cut(pieces + n, SIZE - n, fix.buf + 32768, in, true, in_cut);
	head = indirect ? virtq_driver_chain_indirect(&fix.drv, pieces, n)
			: virtq_driver_chain(&fix.drv, pieces, n);
	fix_offer(head);
	ck_assert(virtq_pending(&fix.vq));
	ck_assert_int_eq(fix_pop(), 1);
	ck_assert_uint_eq(fix.chain.head, head);
	ck_assert_uint_eq(fix.chain.readable_bytes, out);
	ck_assert_uint_eq(fix.chain.writable_bytes, in);
	ck_assert_uint_eq(fix.chain.n_readable + fix.chain.n_writable, n);
	if (out > 0)
		assert_bytes(fix.chain.readable, fix.chain.n_readable, fix.buf, out);
	if (in > 0)
		assert_bytes(fix.chain.writable, fix.chain.n_writable, fix.buf + 32768, in);
	ck_assert_int_eq(fix_pop(), 0);
	virtq_push(&fix.vq, head, in);
	virtq_publish(&fix.vq);
	ck_assert(virtq_driver_used(&fix.drv, NULL, NULL));
}

START_TEST(pop_takes_any_framing)
{
	bool indirect = _i;

	check_framing(1, 0, 0, 0, indirect);
	check_framing(0, 0, 1, 0, indirect);
	check_framing(16, 0, 513, 0, indirect);
	check_framing(16, 5, 513, 100, indirect);
	check_framing(8, 1, 8, 1, indirect); /* as many descriptors as the queue has */
	check_framing(16, 1, 0, 0, indirect);
	check_framing(0, 0, 16, 1, indirect);
	check_framing(32768, 4096, 32768, 4096, indirect);
}
END_TEST

START_TEST(pop_keeps_the_order_of_the_ring)
{
	struct virtq_piece piece = {fix.buf, 8, false};
	uint16_t heads[SIZE];

	for (unsigned int i = 0; i < SIZE; i++) {
		heads[i] = virtq_driver_chain(&fix.drv, &piece, 1);
		virtq_driver_put(&fix.drv, heads[i]);
	}
	ck_assert_int_eq(fix_pop(), 0); /* put, but not shown */
	virtq_driver_publish(&fix.drv);
	for (unsigned int i = 0; i < SIZE; i++) {
		ck_assert_int_eq(fix_pop(), 1);
		ck_assert_uint_eq(fix.chain.head, heads[i]);
	}
	ck_assert_int_eq(fix_pop(), 0);
}
END_TEST

START_TEST(pop_drops_empty_descriptors)
{
	const struct virtq_piece pieces[] = {
		{fix.buf, 0, false},	     {fix.buf + 16, 4, false}, {UINT64_MAX, 0, false},
		{fix.buf + 20, 4, false},    {fix.buf + 64, 0, true},  {fix.buf + 128, 8, true},
		{RAM0_SIZE + 4096, 0, true},
	};

	for (int indirect = 0; indirect <= 1; indirect++) {
		fix_offer(indirect ? virtq_driver_chain_indirect(&fix.drv, pieces, 7)
				   : virtq_driver_chain(&fix.drv, pieces, 7));
		ck_assert_int_eq(fix_pop(), 1);
		ck_assert_uint_eq(fix.chain.n_readable, 2);
		assert_bytes(fix.chain.readable, 2, fix.buf + 16, 8);
		ck_assert_uint_eq(fix.chain.n_writable, 1);
		assert_bytes(fix.chain.writable, 1, fix.buf + 128, 8);
	}
}
END_TEST

START_TEST(pop_takes_a_chain_of_nothing)
{
	const struct virtq_piece piece = {fix.buf, 0, false};

	virtq_driver_send(&fix.drv, &piece, 1);
	ck_assert_int_eq(fix_pop(), 1);
	ck_assert_uint_eq(fix.chain.n_readable + fix.chain.n_writable, 0);
	ck_assert_uint_eq(fix.chain.readable_bytes + fix.chain.writable_bytes, 0);
}
END_TEST

START_TEST(pop_takes_buffers_up_to_the_edges_of_ram)
{
	const struct virtq_piece pieces[] = {
		{0, 1, false},
		{RAM0_SIZE - 1, 1, false},
		{RAM1_BASE, (uint32_t)RAM1_SIZE, true},
		{RAM1_BASE + RAM1_SIZE - 1, 1, true},
	};

	virtq_driver_send(&fix.drv, pieces, 4);
	ck_assert_int_eq(fix_pop(), 1);
	ck_assert_uint_eq(fix.chain.readable_bytes, 2);
	ck_assert_uint_eq(fix.chain.writable_bytes, RAM1_SIZE + 1);
}
END_TEST

START_TEST(pop_follows_a_chain_that_ends_in_a_table)
{
	const struct virtq_piece inner[] = {{fix.buf + 16, 8, false}, {fix.buf + 64, 32, true}};
	const struct virtq_piece outer[] = {{fix.buf, 16, false}, {0, 0, false}};
	uint16_t table = virtq_driver_chain_indirect(&fix.drv, inner, 2);
	uint16_t head = virtq_driver_chain(&fix.drv, outer, 2);

	/* 2.7.5.3.1: NEXT descriptors may precede the one that names the table, whose WRITE means nothing */
	fix.drv.desc[fix.drv.desc[head].next] = fix.drv.desc[table];
	fix.drv.desc[fix.drv.desc[head].next].flags |= WRITE;
	fix_offer(head);
	ck_assert_int_eq(fix_pop(), 1);
	assert_bytes(fix.chain.readable, fix.chain.n_readable, fix.buf, 24);
	assert_bytes(fix.chain.writable, fix.chain.n_writable, fix.buf + 64, 32);
}
END_TEST

START_TEST(pop_follows_a_table_in_any_order)
{
	struct vring_desc table[4] = {
		{fix.buf, 1, NEXT, 3},
		{fix.buf + 3, 1, 0, 0},
		{fix.buf + 2, 1, NEXT, 1},
		{fix.buf + 1, 1, NEXT, 2},
	};
	gpa_t gpa = virtq_driver_alloc_copy(&fix.drv, table, sizeof(table));

	virtq_driver_set_desc(&fix.drv, 5, gpa, sizeof(table), VRING_DESC_F_INDIRECT, 0);
	fix_offer(5);
	ck_assert_int_eq(fix_pop(), 1);
	ck_assert_uint_eq(fix.chain.head, 5);
	assert_bytes(fix.chain.readable, fix.chain.n_readable, fix.buf, 4);
}
END_TEST

/* Nothing in the specification aligns a table. */
START_TEST(pop_takes_a_table_at_any_address)
{
	struct vring_desc table = {fix.buf, 8, WRITE, 0};
	gpa_t gpa = virtq_driver_alloc(&fix.drv, 64) + 1;

	ck_assert_int_eq(guest_mem_write(&fix.mem, gpa, &table, sizeof(table)), 0);
	virtq_driver_set_desc(&fix.drv, 0, gpa, sizeof(table), VRING_DESC_F_INDIRECT, 0);
	fix_offer(0);
	ck_assert_int_eq(fix_pop(), 1);
	assert_bytes(fix.chain.writable, fix.chain.n_writable, fix.buf, 8);
}
END_TEST

START_TEST(pop_with_little_room_takes_nothing)
{
	struct virtq_piece pieces[6];
	unsigned int n = virtq_driver_cut(pieces, 6, fix.buf, 48, false, 8);
	struct virtq_state before = fix.vq.state;
	uint16_t head = virtq_driver_send(&fix.drv, pieces, n);

	for (unsigned int room = 0; room < n; room++) {
		ck_assert_int_eq(virtq_pop(&fix.vq, &fix.chain, fix.iov, room), -ENOBUFS);
		ck_assert_mem_eq(&fix.vq.state, &before, sizeof(before));
		ck_assert(virtq_pending(&fix.vq));
	}
	ck_assert_int_eq(virtq_pop(&fix.vq, &fix.chain, fix.iov, n), 1);
	ck_assert_uint_eq(fix.chain.head, head);
	assert_bytes(fix.chain.readable, fix.chain.n_readable, fix.buf, 48);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_virtq");
	TCase *tc = tcase_create("good");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, init_accepts_every_power_of_two);
	tcase_add_test(tc, init_refuses_other_sizes);
	tcase_add_test(tc, init_refuses_misaligned_rings);
	tcase_add_test(tc, init_refuses_rings_outside_ram);
	tcase_add_test(tc, init_measures_rings_exactly);
	tcase_add_test(tc, init_forgets_what_was);
	tcase_add_test(tc, empty_ring_gives_nothing);
	tcase_add_loop_test(tc, pop_takes_any_framing, 0, 2);
	tcase_add_test(tc, pop_keeps_the_order_of_the_ring);
	tcase_add_test(tc, pop_drops_empty_descriptors);
	tcase_add_test(tc, pop_takes_a_chain_of_nothing);
	tcase_add_test(tc, pop_takes_buffers_up_to_the_edges_of_ram);
	tcase_add_test(tc, pop_follows_a_chain_that_ends_in_a_table);
	tcase_add_test(tc, pop_follows_a_table_in_any_order);
	tcase_add_test(tc, pop_takes_a_table_at_any_address);
	tcase_add_test(tc, pop_with_little_room_takes_nothing);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
