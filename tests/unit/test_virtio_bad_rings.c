/*
 * virtio devices: every way to break a ring, in every queue of every device, over the PCI transport. The device asks for
 * a reset by status and interrupt, none of its queues is served any more, and after the reset all of them are.
 *
 * One test is one queue of one device, which goes through all ways in turn.
 */
#define FIX_QUEUES 5
#define RAM_SIZE   (UINT64_C(0x44000000)) /* buffers of 1 GiB exist */
#include "tests/unit/bad_ways.h"
#include "tests/unit/every_device.h"

#define INDIRECT (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT	 (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define COUNT(x) ((unsigned int)(sizeof(x) / sizeof((x)[0])))

static void start_driver(uint64_t without)
{
	fix_prepare_with(fix.dev->features & ~(EVENT | without), fix.dev->queue_size);
	ck_assert_uint_eq(fix_status(), S_FEATURES_OK);
	fix_set_status(S_DRIVER_OK);
	evloop_settle(&fix.loop);
}

static unsigned int all_used(void)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < fix.dev->n_queues; i++)
		n += virtq_driver_n_used(&fix.drv[i]);
	return n;
}

static void poke(const struct subject *s, unsigned int queue)
{
	fix_kick(queue);
	if (s->provoke)
		s->provoke(queue);
	evloop_settle(&fix.loop);
}

/* Offers something to every queue; none is looked at, and the driver is not told twice. */
static void check_rests(const struct subject *s, const char *way)
{
	unsigned int used = all_used(), signals = fix_all_signals();

	for (unsigned int i = 0; i < s->n_queues; i++) {
		const struct virtq_piece piece = {BUF, 64, s->carries[i] != READABLE};

		virtq_driver_send(&fix.drv[i], &piece, 1);
		poke(s, i);
	}
	ck_assert_msg(all_used() == used, "%s: a queue is served after %s", s->name, way);
	ck_assert_msg(fix_all_signals() == signals, "%s: interrupts after %s", s->name, way);
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK | S_NEEDS_RESET);
}

static void try_way(const struct subject *s, unsigned int queue, const struct way *way)
{
	struct end e = {&fix.drv[queue], s->carries[queue] == READABLE ? 0 : VRING_DESC_F_WRITE};
	unsigned int signals;

	start_driver(way->no_tables ? INDIRECT : 0);
	s->check();
	signals = atomic_load(&fix.signals[0]);
	way->put(e, way->arg);
	poke(s, queue);
	ck_assert_msg(virtq_driver_n_used(e.drv) == 0, "%s, queue %u: takes %s", s->name, queue,
		      way->name);
	if (s->carries[queue] == UNREAD) {
		ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
		ck_assert_uint_eq(atomic_load(&fix.signals[0]), signals);
		return;
	}
	ck_assert_msg(fix_status() == (S_DRIVER_OK | S_NEEDS_RESET), "%s, queue %u: takes %s",
		      s->name, queue, way->name);
	ck_assert_msg(atomic_load(&fix.signals[0]) == signals + 1,
		      "%s, queue %u: no interrupt, or many, for %s", s->name, queue, way->name);
	check_rests(s, way->name);
	start_driver(0);
	s->check();
	ck_assert_uint_eq(fix_status(), S_DRIVER_OK);
}

/* Number _i of all queues of all devices. */
START_TEST(every_way)
{
	const struct subject *s = subjects;
	unsigned int queue = (unsigned int)_i;

	while (queue >= s->n_queues)
		queue -= s++->n_queues;
	fix_open();
	s->open();
	ck_assert_uint_eq(fix.dev->n_queues, s->n_queues);
	for (unsigned int i = 0; i < COUNT(ways); i++)
		try_way(s, queue, &ways[i]);
	fix_unplug();
	s->close();
	fix_close();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("virtio_bad_rings");
	TCase *tc = tcase_create("bad rings");
	int n = 0;

	for (unsigned int i = 0; i < COUNT(subjects); i++)
		n += (int)subjects[i].n_queues;
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, every_way, 0, n);
	suite_add_tcase(s, tc);
	return fix_run(s);
}
