/* virtio/virtq: each way for a driver to break a chain or the ring. */
#include "tests/unit/virtq_fixture.h"

/* Broken now and for good, even when the driver mends its ring. */
static void assert_broken(void)
{
	ck_assert_int_eq(fix_pop(), -EPROTO);
	virtq_driver_set_avail_idx(&fix.drv, fix.vq.state.next_avail);
	ck_assert_int_eq(fix_pop(), -EPROTO);
	fix_offer(0);
	ck_assert(!virtq_pending(&fix.vq));
	ck_assert(!virtq_enable_kick(&fix.vq));
	ck_assert_int_eq(fix_pop(), -EPROTO);
}

/* bad chains */

START_TEST(head_outside_the_table)
{
	static const uint16_t heads[] = {SIZE, SIZE + 1, 0x7fff, 0xffff};

	fix_offer(heads[_i]);
	assert_broken();
}
END_TEST

START_TEST(next_outside_the_table)
{
	virtq_driver_set_desc(&fix.drv, 0, fix.buf, 8, NEXT, _i ? 0xffff : SIZE);
	fix_offer(0);
	assert_broken();
}
END_TEST

START_TEST(loops_end)
{
	/* each descriptor leads to the next; the last back to number _i */
	for (uint16_t i = 0; i < SIZE; i++)
		virtq_driver_set_desc(&fix.drv, i, fix.buf, 8, NEXT,
				      i == SIZE - 1 ? (uint16_t)_i : i + 1);
	fix_offer(0);
	assert_broken();
}
END_TEST

START_TEST(loop_of_one_empty_descriptor_ends)
{
	virtq_driver_set_desc(&fix.drv, 3, fix.buf, 0, NEXT, 3);
	fix_offer(3);
	assert_broken();
}
END_TEST

START_TEST(readable_after_writable)
{
	const struct virtq_piece pieces[] = {
		{fix.buf, 16, false}, {fix.buf + 512, 1, true}, {fix.buf + 16, 8, false}};

	fix_offer(_i ? virtq_driver_chain_indirect(&fix.drv, pieces, 3)
		     : virtq_driver_chain(&fix.drv, pieces, 3));
	assert_broken();
}
END_TEST

static const struct virtq_piece bad_buffers[] = {
	{RAM0_SIZE, 1, false},
	{RAM0_SIZE - 1, 2, false},
	{RAM0_SIZE - 1, UINT32_MAX, false},
	{RAM1_BASE - 1, 2, false},
	{RAM1_BASE + RAM1_SIZE, 1, true},
	{RAM1_BASE + RAM1_SIZE - 1, 2, true},
	{0, UINT32_MAX, true},
	{UINT64_MAX, 1, false},
	{UINT64_MAX, 2, false},
	{UINT64_MAX - 7, 16, true},
	{UINT64_MAX - UINT32_MAX + 1, UINT32_MAX, true},
	{UINT64_C(1) << 63, 4096, true},
};

START_TEST(buffer_outside_ram)
{
	struct virtq_piece pieces[2] = {{fix.buf, 8, false}, bad_buffers[_i / 2]};

	fix_offer(_i % 2 ? virtq_driver_chain_indirect(&fix.drv, pieces, 2)
			 : virtq_driver_chain(&fix.drv, pieces, 2));
	assert_broken();
}
END_TEST

/* The used ring cannot count more; all buffers may be the same memory. */
START_TEST(chain_of_4_gib)
{
	struct virtq_piece pieces[4];

	for (unsigned int i = 0; i < 4; i++)
		pieces[i] = (struct virtq_piece){0, 1u << 30, _i == 0 || i >= 2};
	pieces[3].len--;
	fix_offer(virtq_driver_chain(&fix.drv, pieces, 4));
	ck_assert_int_eq(fix_pop(), 1);
	ck_assert_uint_eq(fix.chain.readable_bytes + fix.chain.writable_bytes, UINT32_MAX);
	pieces[3].len += 2;
	fix_offer(virtq_driver_chain(&fix.drv, pieces, 4));
	assert_broken();
}
END_TEST

START_TEST(avail_index_jumps)
{
	static const uint16_t jumps[] = {SIZE + 1, 2 * SIZE, 0x7fff, 0x8000, 0xffff};

	virtq_driver_set_avail_idx(&fix.drv, jumps[_i]);
	assert_broken();
}
END_TEST

START_TEST(avail_index_may_lead_by_the_whole_ring)
{
	for (uint16_t i = 0; i < SIZE; i++)
		virtq_driver_set_desc(&fix.drv, i, fix.buf, 8, 0, 0);
	virtq_driver_set_avail_idx(&fix.drv, SIZE);
	for (unsigned int i = 0; i < SIZE; i++)
		ck_assert_int_eq(fix_pop(), 1);
	ck_assert_int_eq(fix_pop(), 0);
	virtq_driver_set_avail_idx(&fix.drv, SIZE - 1); /* back: 65535 ahead */
	assert_broken();
}
END_TEST

/* indirect tables */

/* Number 1 names the table; number 0 is fit to be used, should the device fall back to it. */
static void offer_table_at(gpa_t gpa, uint32_t len)
{
	virtq_driver_set_desc(&fix.drv, 0, fix.buf, 8, 0, 0);
	virtq_driver_set_desc(&fix.drv, 1, gpa, len, VRING_DESC_F_INDIRECT, 0);
	fix_offer(1);
}

static void offer_table(const struct vring_desc *table, unsigned int n, uint32_t len)
{
	offer_table_at(virtq_driver_alloc_copy(&fix.drv, table, n * (uint32_t)sizeof(*table)), len);
}

START_TEST(table_not_negotiated)
{
	const struct vring_desc table = {fix.buf, 8, 0, 0};

	fix_make_queue(SIZE, EVENT_IDX);
	offer_table(&table, 1, sizeof(table));
	assert_broken();
}
END_TEST

START_TEST(table_of_wrong_length)
{
	static const uint32_t lens[] = {0, 1, 15, 17, 24, 31, SIZE * 16 + 16, UINT32_MAX};
	struct vring_desc table[SIZE + 1] = {{fix.buf, 8, 0, 0}};

	offer_table(table, SIZE + 1, lens[_i]);
	assert_broken();
}
END_TEST

START_TEST(table_with_next)
{
	const struct vring_desc table = {fix.buf, 8, 0, 0};

	virtq_driver_set_desc(&fix.drv, 0, fix.buf, 8, 0, 0);
	virtq_driver_set_desc(&fix.drv, 1, virtq_driver_alloc_copy(&fix.drv, &table, sizeof(table)),
			      sizeof(table), VRING_DESC_F_INDIRECT | NEXT, 0);
	fix_offer(1);
	assert_broken();
}
END_TEST

START_TEST(table_in_a_table)
{
	const struct vring_desc inner = {fix.buf, 8, 0, 0};
	gpa_t gpa = virtq_driver_alloc_copy(&fix.drv, &inner, sizeof(inner));
	const struct vring_desc outer = {gpa, sizeof(inner), VRING_DESC_F_INDIRECT, 0};

	offer_table(&outer, 1, sizeof(outer));
	assert_broken();
}
END_TEST

START_TEST(table_that_names_itself)
{
	gpa_t gpa = virtq_driver_alloc(&fix.drv, 16);
	const struct vring_desc self = {gpa, 16, VRING_DESC_F_INDIRECT, 0};

	ck_assert_int_eq(guest_mem_write(&fix.mem, gpa, &self, sizeof(self)), 0);
	offer_table_at(gpa, 16);
	assert_broken();
}
END_TEST

/* The ring's own descriptors are named as a table: that table holds the naming descriptor again. */
START_TEST(table_that_is_the_ring)
{
	virtq_driver_set_desc(&fix.drv, 0, fix.drv.config.desc, 16 * (1 + (uint32_t)_i),
			      VRING_DESC_F_INDIRECT, 0);
	fix_offer(0);
	assert_broken();
}
END_TEST

START_TEST(table_outside_ram)
{
	static const gpa_t gpas[] = {RAM0_SIZE,	      RAM0_SIZE - 16,
				     RAM1_BASE - 16,  RAM1_BASE + RAM1_SIZE - 16,
				     UINT64_MAX - 15, UINT64_MAX};

	offer_table_at(gpas[_i], 32);
	assert_broken();
}
END_TEST

START_TEST(table_next_outside)
{
	/* inside the queue's own table, outside of this one */
	const struct vring_desc table[2] = {{fix.buf, 8, NEXT, 2}, {fix.buf, 8, 0, 0}};

	offer_table(table, 2, sizeof(table));
	assert_broken();
}
END_TEST

START_TEST(table_loops_end)
{
	const struct vring_desc table[2] = {{fix.buf, 8, NEXT, 1}, {fix.buf, 8, NEXT, 0}};

	offer_table(table, 2, sizeof(table));
	assert_broken();
}
END_TEST

START_TEST(table_and_chain_longer_than_the_queue)
{
	const struct virtq_piece outer[] = {{fix.buf, 8, false}, {0, 0, false}};
	struct virtq_piece inner[SIZE];
	uint16_t table, head;

	virtq_driver_cut(inner, SIZE, fix.buf, SIZE * 8, false, 8);
	table = virtq_driver_chain_indirect(&fix.drv, inner, SIZE);
	head = virtq_driver_chain(&fix.drv, outer, 2);
	fix.drv.desc[fix.drv.desc[head].next] = fix.drv.desc[table];
	fix_offer(head);
	assert_broken();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_virtq_bad");
	TCase *tc = tcase_create("bad");

	tcase_add_checked_fixture(tc, fix_setup, fix_teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, head_outside_the_table, 0, 4);
	tcase_add_loop_test(tc, next_outside_the_table, 0, 2);
	tcase_add_loop_test(tc, loops_end, 0, SIZE);
	tcase_add_test(tc, loop_of_one_empty_descriptor_ends);
	tcase_add_loop_test(tc, readable_after_writable, 0, 2);
	tcase_add_loop_test(tc, buffer_outside_ram, 0,
			    2 * (int)(sizeof(bad_buffers) / sizeof(bad_buffers[0])));
	tcase_add_loop_test(tc, chain_of_4_gib, 0, 2);
	tcase_add_loop_test(tc, avail_index_jumps, 0, 5);
	tcase_add_test(tc, avail_index_may_lead_by_the_whole_ring);
	tcase_add_test(tc, table_not_negotiated);
	tcase_add_loop_test(tc, table_of_wrong_length, 0, 8);
	tcase_add_test(tc, table_with_next);
	tcase_add_test(tc, table_in_a_table);
	tcase_add_test(tc, table_that_names_itself);
	tcase_add_loop_test(tc, table_that_is_the_ring, 0, SIZE);
	tcase_add_loop_test(tc, table_outside_ram, 0, 6);
	tcase_add_test(tc, table_next_outside);
	tcase_add_test(tc, table_loops_end);
	tcase_add_test(tc, table_and_chain_longer_than_the_queue);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
