/* Chains and indices that break the rules of virtio 1.2, 2.7. After each the device must say that it needs a reset. */
#include "device.h"
#include "themes.h"

#include <linux/virtio_net.h>

#define NEXT	     VRING_DESC_F_NEXT
#define WRITE	     VRING_DESC_F_WRITE
#define INDIRECT     VRING_DESC_F_INDIRECT
#define BUFFER	     (RAM_END / 2)
#define FEW_FEATURES (BIT64(VIRTIO_RING_F_INDIRECT_DESC) | BIT64(VIRTIO_NET_F_CTRL_VQ))
#define LAST	     UINT64_C(0xfffffffffffffff0)

/* Descriptors from 0 on, of which the first is offered; or an index that lies. */
struct bad {
	const char *what;
	struct {
		uint64_t address;
		uint32_t len;
		uint16_t flags, next;
	} desc[3];
	uint16_t head;
	uint16_t jump; /* added to the available index beyond the 1 */
};

/* A table of descriptors at TABLE. */
#define TABLE	    (RAM_END / 2 + 0x10000)
#define IN_TABLE(n) (TABLE + 16 * (n))

static const struct bad bads[] = {
	{"an address and a length that overflow", {{LAST, 0x100, 0, 0}}, 0, 0},
	{"the last address", {{UINT64_MAX, 1, 0, 0}}, 0, 0},
	{"a buffer over the end of memory", {{RAM_END - 16, 32, 0, 0}}, 0, 0},
	{"a buffer behind memory", {{RAM_END, 16, WRITE, 0}}, 0, 0},
	{"a buffer on BARs", {{0xc0000000, 16, WRITE, 0}}, 0, 0},
	{"a length of 4 GiB", {{BUFFER, UINT32_MAX, WRITE, 0}}, 0, 0},
	{"a good buffer before a bad one", {{BUFFER, 16, NEXT, 1}, {LAST, 16, 0, 0}}, 0, 0},
	{"a loop of one", {{BUFFER, 16, NEXT, 0}}, 0, 0},
	{"a loop of two", {{BUFFER, 16, NEXT, 1}, {BUFFER, 16, NEXT, 0}}, 0, 0},
	{"a loop of empty ones", {{BUFFER, 0, NEXT, 0}}, 0, 0},
	{"a next one behind the table", {{BUFFER, 16, NEXT, RING_SIZE}}, 0, 0},
	{"a next one far behind the table", {{BUFFER, 16, NEXT, 0xffff}}, 0, 0},
	{"a head behind the table", {{BUFFER, 16, 0, 0}}, RING_SIZE, 0},
	{"a head far behind the table", {{BUFFER, 16, 0, 0}}, 0xffff, 0},
	{"an index that jumps by more than the ring", {{BUFFER, 16, 0, 0}}, 0, RING_SIZE},
	{"an index that jumps half around", {{BUFFER, 16, 0, 0}}, 0, 0x7fff},
	{"an index that goes back", {{BUFFER, 16, 0, 0}}, 0, 0xfffd},
	{"a readable buffer behind a writable one",
	 {{BUFFER, 64, WRITE | NEXT, 1}, {BUFFER + 64, 64, 0, 0}},
	 0,
	 0},
	{"indirect in indirect", {{TABLE, 16, INDIRECT, 0}}, 0, 0},
	{"an indirect table with a next",
	 {{IN_TABLE(1), 16, INDIRECT | NEXT, 1}, {BUFFER, 16, 0, 0}},
	 0,
	 0},
	{"an empty indirect table", {{IN_TABLE(1), 0, INDIRECT, 0}}, 0, 0},
	{"an indirect table of 15 bytes", {{IN_TABLE(1), 15, INDIRECT, 0}}, 0, 0},
	{"an indirect table of 17 bytes", {{IN_TABLE(1), 17, INDIRECT, 0}}, 0, 0},
	{"an indirect table longer than the queue",
	 {{IN_TABLE(1), 16 * (RING_SIZE + 1), INDIRECT, 0}},
	 0,
	 0},
	{"an indirect table of 4 GiB", {{IN_TABLE(1), 0xfffffff0, INDIRECT, 0}}, 0, 0},
	{"an indirect table outside of memory", {{RAM_END, 16, INDIRECT, 0}}, 0, 0},
	{"an indirect table that overflows", {{LAST, 32, INDIRECT, 0}}, 0, 0},
	{"a loop in an indirect table", {{IN_TABLE(2), 16, INDIRECT, 0}}, 0, 0},
	{"a next one behind an indirect table", {{IN_TABLE(3), 16, INDIRECT, 0}}, 0, 0},
	{"a bad buffer in an indirect table", {{IN_TABLE(4), 16, INDIRECT, 0}}, 0, 0},
};

static void make_tables(void)
{
	struct ring table = {.desc = (void *)(uintptr_t)TABLE};

	ring_desc(&table, 0, IN_TABLE(1), 16, INDIRECT, 0);
	ring_desc(&table, 1, BUFFER, 16, 0, 0);
	ring_desc(&table, 2, BUFFER, 16, NEXT, 0);
	ring_desc(&table, 3, BUFFER, 16, NEXT, 1);
	ring_desc(&table, 4, LAST, 256, 0, 0);
}

/* A queue that the device reads as soon as it is kicked. */
static unsigned int eager_queue(const struct device *d)
{
	switch (d->id) {
	case VIRTIO_ID_NET:
		return rnd_below(3);
	case VIRTIO_ID_CONSOLE:
	case VIRTIO_ID_VSOCK:
		return 1;
	case VIRTIO_ID_BALLOON:
		return rnd_below(2);
	default:
		return 0;
	}
}

static void try_bad(struct device *d, unsigned int queue, const struct bad *bad)
{
	size_t mark = alloc_mark();
	struct ring *ring = &d->ring[queue];
	enum outcome outcome;

	device_start(d, chance(50) ? ALL_FEATURES : FEW_FEATURES);
	for (uint16_t i = 0; i < 3; i++)
		ring_desc(ring, i, bad->desc[i].address, bad->desc[i].len, bad->desc[i].flags,
			  bad->desc[i].next);
	ring->avail->ring[0] = bad->head;
	barrier();
	/* At once: a kick of before may have the device look at any moment. */
	ring->avail->idx = (uint16_t)(1 + bad->jump);
	kick(d, queue);
	outcome = ring_wait(d, queue, PATIENCE);
	EXPECT(outcome == BROKEN, "%s, queue %u: takes %s (%u)", device_name(d), queue, bad->what,
	       (unsigned int)outcome);
	/* Nothing is served any more. */
	kick(d, queue);
	EXPECT(ring->used->idx == 0, "%s, queue %u: goes on after %s", device_name(d), queue,
	       bad->what);
	device_reset(d);
	alloc_release(mark);
}

/* More than 4 GiB in one chain, all of it in memory. */
static void try_long(struct device *d, unsigned int queue)
{
	size_t mark = alloc_mark();
	struct ring ring;
	struct queue_setup setup;

	device_negotiate(d, FEW_FEATURES);
	if (select_queue(d, queue) < 256)
		return;
	ring_make(&ring, 256);
	for (uint16_t i = 0; i < 255; i++)
		ring_desc(&ring, i, RAM_END / 2, RAM_END / 2, WRITE | NEXT, (uint16_t)(i + 1));
	setup = ring_setup(&ring);
	set_queue(d, &setup);
	enable_queue(d);
	set_status(d, 0xf);
	d->ring[queue] = ring;
	ring_offer(&d->ring[queue], 0);
	kick(d, queue);
	EXPECT(ring_wait(d, queue, PATIENCE) == BROKEN, "%s: takes a chain of more than 4 GiB",
	       device_name(d));
	device_reset(d);
	alloc_release(mark);
}

/* All cards have one reader of rings; which of a card's queues it is is left to chance. */
static void try_all(struct device *d)
{
	for (unsigned int i = 0; i < sizeof(bads) / sizeof(bads[0]) * param("rounds", 1); i++)
		try_bad(d, eager_queue(d), &bads[i % (sizeof(bads) / sizeof(bads[0]))]);
	try_long(d, eager_queue(d));
}

/* What the host does with a device that waits for its reset, and with what still comes for it, is for the host to see. */
static void leave_broken(struct device *d)
{
	const struct piece frame = {BUFFER, 100, false};

	device_start(d, ALL_FEATURES);
	for (unsigned int i = 0; i < 4 && d->id == VIRTIO_ID_NET; i++)
		exchange(d, 1, &frame, 1); /* the other end answers */
	for (unsigned int q = 0; q < d->n_queues; q++) {
		ring_desc(&d->ring[q], 0, LAST, 256, 0, 0);
		ring_offer(&d->ring[q], 0);
		kick(d, q);
	}
	for (uint64_t since = now(); !needs_reset(d) && now() - since < PATIENCE;)
		pause();
	EXPECT(needs_reset(d), "%s: is not broken", device_name(d));
}

void attack_chains(void)
{
	find_devices();
	for (unsigned int i = 0; i < n_devices; i++) {
		struct device *d = &devices[i];

		if (!first_of_kind(d))
			continue;
		make_tables();
		try_all(d);
		device_check(d);
		OK("chains of %s", device_name(d));
	}
	for (unsigned int i = 0; i < n_devices; i++)
		leave_broken(&devices[i]);
}
