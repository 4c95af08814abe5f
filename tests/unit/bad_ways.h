/*
 * The ways for a driver to break a ring, as a table, for tests of every device.
 *
 * RAM_SIZE must be 1 GiB or more. A queue has 8 descriptors or more.
 */
#pragma once

#include <check.h>

#include "tests/unit/every_device.h"

/* One end of a queue: what it carries is writable by the device, or readable. */
struct end {
	struct virtq_driver *drv;
	uint16_t write; /* VRING_DESC_F_WRITE or 0 */
};

static void set(struct end e, uint16_t i, gpa_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	virtq_driver_set_desc(e.drv, i, gpa, len, flags, next);
}

static void offer(struct end e, uint16_t head)
{
	virtq_driver_put(e.drv, head);
	virtq_driver_publish(e.drv);
}

static void bad_head(struct end e, unsigned int arg)
{
	offer(e, arg ? (uint16_t)arg : e.drv->config.size);
}

static void bad_next(struct end e, unsigned int arg)
{
	set(e, 0, BUF, 16, e.write | VRING_DESC_F_NEXT, arg ? (uint16_t)arg : e.drv->config.size);
	offer(e, 0);
}

static void loop_of_one(struct end e, unsigned int len)
{
	set(e, 0, BUF, len, e.write | VRING_DESC_F_NEXT, 0);
	offer(e, 0);
}

static void loop_of_all(struct end e, unsigned int back_to)
{
	for (uint16_t i = 0; i < e.drv->config.size; i++)
		set(e, i, BUF, 16, e.write | VRING_DESC_F_NEXT,
		    i + 1 < e.drv->config.size ? i + 1 : (uint16_t)back_to);
	offer(e, 0);
}

static void misordered(struct end e, unsigned int indirect)
{
	const struct virtq_piece pieces[] = {{BUF, 64, false}, {BUF, 64, true}, {BUF, 64, false}};

	offer(e, indirect ? virtq_driver_chain_indirect(e.drv, pieces, 3)
			  : virtq_driver_chain(e.drv, pieces, 3));
}

static const struct virtq_piece outside[] = {
	{RAM_SIZE, 1, false},	{RAM_SIZE - 8, 16, false},   {0, UINT32_MAX, false},
	{UINT64_MAX, 2, false}, {UINT64_MAX - 7, 16, false}, {UINT64_C(1) << 63, 4096, false},
};

static void buffer_outside(struct end e, unsigned int arg)
{
	struct virtq_piece pieces[] = {{BUF, 64, e.write}, outside[arg / 2]};

	pieces[1].writable = e.write;
	offer(e, arg % 2 ? virtq_driver_chain_indirect(e.drv, pieces, 2)
			 : virtq_driver_chain(e.drv, pieces, 2));
}

static void chain_of_4_gib(struct end e, unsigned int arg)
{
	const struct virtq_piece piece = {0, 1u << 30, e.write};
	const struct virtq_piece pieces[] = {piece, piece, piece, piece};

	(void)arg;
	offer(e, virtq_driver_chain(e.drv, pieces, 4));
}

/* How far the index is in front of what the ring holds; those in between are fit to be used. */
static void bad_index(struct end e, unsigned int ahead)
{
	uint16_t size = e.drv->config.size;

	set(e, 0, BUF, 64, e.write, 0);
	for (uint16_t i = 0; i < size; i++)
		virtq_driver_put(e.drv, 0);
	virtq_driver_set_avail_idx(e.drv, (uint16_t)(e.drv->next_avail - size +
						     (ahead < 0x8000 ? size + ahead : ahead)));
}

/* Descriptor 1 names a table; number 0 is fit to be used, should the device fall back to it. */
static void name_table(struct end e, gpa_t gpa, uint32_t len, uint16_t flags)
{
	set(e, 0, BUF, 64, e.write, 0);
	set(e, 1, gpa, len, VRING_DESC_F_INDIRECT | flags, 0);
	offer(e, 1);
}

static gpa_t good_table(struct end e)
{
	const struct vring_desc one = {BUF, 64, e.write, 0};

	return virtq_driver_alloc_copy(e.drv, &one, sizeof(one));
}

static void table(struct end e, unsigned int arg)
{
	(void)arg;
	name_table(e, good_table(e), sizeof(struct vring_desc), 0);
}

static void table_of_length(struct end e, unsigned int len)
{
	gpa_t gpa = virtq_driver_alloc(e.drv, (e.drv->config.size + 1u) * 16);
	const struct vring_desc one = {BUF, 64, e.write, 0};

	ck_assert_int_eq(guest_mem_write(e.drv->mem, gpa, &one, sizeof(one)), 0);
	name_table(e, gpa, len == 1 ? (e.drv->config.size + 1u) * 16 : len, 0);
}

static void table_with_next(struct end e, unsigned int arg)
{
	(void)arg;
	name_table(e, good_table(e), sizeof(struct vring_desc), VRING_DESC_F_NEXT);
}

static void table_in_table(struct end e, unsigned int arg)
{
	const struct vring_desc outer = {good_table(e), 16, VRING_DESC_F_INDIRECT, 0};

	(void)arg;
	name_table(e, virtq_driver_alloc_copy(e.drv, &outer, sizeof(outer)), 16, 0);
}

static void table_of_itself(struct end e, unsigned int arg)
{
	gpa_t gpa = virtq_driver_alloc(e.drv, 16);
	const struct vring_desc self = {gpa, 16, VRING_DESC_F_INDIRECT, 0};

	(void)arg;
	ck_assert_int_eq(guest_mem_write(e.drv->mem, gpa, &self, sizeof(self)), 0);
	name_table(e, gpa, 16, 0);
}

static void ring_as_table(struct end e, unsigned int n)
{
	set(e, 0, e.drv->config.desc, 16 * n, VRING_DESC_F_INDIRECT, 0);
	offer(e, 0);
}

static void table_outside(struct end e, unsigned int arg)
{
	static const gpa_t at[] = {RAM_SIZE, RAM_SIZE - 16, UINT64_MAX - 15, UINT64_MAX};

	name_table(e, at[arg], 32, 0);
}

static void table_leads(struct end e, unsigned int to)
{
	const struct vring_desc two[2] = {{BUF, 64, e.write | VRING_DESC_F_NEXT, 1},
					  {BUF, 64, e.write | VRING_DESC_F_NEXT, (uint16_t)to}};

	name_table(e, virtq_driver_alloc_copy(e.drv, two, sizeof(two)), sizeof(two), 0);
}

static void too_long_together(struct end e, unsigned int arg)
{
	static struct virtq_piece inner[VIRTQ_MAX_SIZE];
	const struct virtq_piece outer[] = {{BUF, 8, e.write}, {0, 0, false}};
	uint16_t size = e.drv->config.size, named, head;

	(void)arg;
	virtq_driver_cut(inner, size, BUF, size * 8u, e.write, 8);
	named = virtq_driver_chain_indirect(e.drv, inner, size);
	head = virtq_driver_chain(e.drv, outer, 2);
	e.drv->desc[e.drv->desc[head].next] = e.drv->desc[named];
	offer(e, head);
}

static const struct way {
	const char *name;
	void (*put)(struct end e, unsigned int arg);
	unsigned int arg;
	bool no_tables; /* indirect tables are not negotiated */
} ways[] = {
	{"a head just outside the table", bad_head, 0, false},
	{"a head far outside", bad_head, 0xffff, false},
	{"a link just outside the table", bad_next, 0, false},
	{"a link far outside", bad_next, 0xffff, false},
	{"a loop of one", loop_of_one, 16, false},
	{"a loop of an empty one", loop_of_one, 0, false},
	{"a loop of all", loop_of_all, 0, false},
	{"a loop with a tail", loop_of_all, 2, false},
	{"readable behind writable", misordered, 0, false},
	{"readable behind writable in a table", misordered, 1, false},
	{"a buffer behind memory", buffer_outside, 0, false},
	{"the same in a table", buffer_outside, 1, false},
	{"a buffer over the end of memory", buffer_outside, 2, false},
	{"the same in a table", buffer_outside, 3, false},
	{"a buffer of 4 GiB", buffer_outside, 4, false},
	{"the same in a table", buffer_outside, 5, false},
	{"a buffer that wraps around", buffer_outside, 6, false},
	{"the same in a table", buffer_outside, 7, false},
	{"a buffer that wraps around far", buffer_outside, 8, false},
	{"the same in a table", buffer_outside, 9, false},
	{"a buffer at half of all", buffer_outside, 10, false},
	{"the same in a table", buffer_outside, 11, false},
	{"a chain of 4 GiB", chain_of_4_gib, 0, false},
	{"an index one ahead", bad_index, 1, false},
	{"an index far ahead", bad_index, 0x7000, false},
	{"an index half around", bad_index, 0x8000, false},
	{"an index that goes back", bad_index, 0xffff, false},
	{"a table that was not negotiated", table, 0, true},
	{"a table of no length", table_of_length, 0, false},
	{"a table of a part", table_of_length, 15, false},
	{"a table of one and a half", table_of_length, 24, false},
	{"a table longer than the queue", table_of_length, 1, false},
	{"a table of 4 GiB", table_of_length, UINT32_MAX, false},
	{"a table with a link", table_with_next, 0, false},
	{"a table in a table", table_in_table, 0, false},
	{"a table that names itself", table_of_itself, 0, false},
	{"the ring's first as a table", ring_as_table, 1, false},
	{"the ring as a table", ring_as_table, 8, false},
	{"a table behind memory", table_outside, 0, false},
	{"a table over the end of memory", table_outside, 1, false},
	{"a table at the end of all", table_outside, 2, false},
	{"a table that wraps around", table_outside, 3, false},
	{"a link outside its table", table_leads, 2, false},
	{"a loop in a table", table_leads, 0, false},
	{"a table and a chain too long together", too_long_together, 0, false},
};
