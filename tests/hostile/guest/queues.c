/* What the registers of queues take, before and after DRIVER_OK. */
#include "device.h"
#include "themes.h"

#include <linux/virtio_mmio.h>
#include <linux/virtio_pci.h>

#define DRIVER_OK 0xf

static const struct bad {
	const char *what;
	bool accepted; /* it is odd, but no mistake; or the register does not take it */
	uint16_t size; /* 0 of both: as it should be */
	uint64_t desc, avail, used;
	uint64_t more; /* added to every address */
} bads[] = {
	{.what = "a size of 3", .size = 3},
	{.what = "a size of 6", .size = 6},
	{.what = "a size above the largest", .size = 0x8000, .accepted = true},
	{.what = "a size of 65535", .size = 0xffff, .accepted = true},
	{.what = "a descriptor table at an odd address", .desc = RAM_END / 2 + 8},
	{.what = "an available ring at an odd address", .avail = RAM_END / 2 + 1},
	{.what = "a used ring at an odd address", .used = RAM_END / 2 + 2},
	{.what = "a descriptor table over the end of memory", .desc = RAM_END - 16},
	{.what = "an available ring over the end of memory", .avail = RAM_END - 4},
	{.what = "a used ring over the end of memory", .used = RAM_END - 4},
	{.what = "a used ring outside of memory", .used = RAM_END},
	{.what = "a used ring on registers", .used = UINT64_C(0xd0000000)},
	{.what = "a descriptor table on BARs", .desc = UINT64_C(0xc0000000)},
	{.what = "an available ring at 4 GiB", .avail = UINT64_C(0x100000000)},
	{.what = "a descriptor table that wraps", .desc = UINT64_C(0xfffffffffffffff0)},
	{.what = "a used ring that wraps", .used = UINT64_C(0xfffffffffffffffc)},
	{.what = "an available ring that wraps", .avail = UINT64_C(0xfffffffffffffffe)},
	{.what = "rings at 2^63", .more = UINT64_C(1) << 63},
	{.what = "all three in one place",
	 .accepted = true,
	 .desc = RAM_END / 2,
	 .avail = RAM_END / 2,
	 .used = RAM_END / 2},
};

static void give(const struct device *d, unsigned int queue, const struct bad *bad)
{
	struct queue_setup setup = ring_setup(&d->ring[queue]);

	if (bad->size)
		setup.size = bad->size;
	setup.desc = (bad->desc ? bad->desc : setup.desc) + bad->more;
	setup.avail = (bad->avail ? bad->avail : setup.avail) + bad->more;
	setup.used = (bad->used ? bad->used : setup.used) + bad->more;
	select_queue(d, queue);
	set_queue(d, &setup);
	enable_queue(d);
}

static void try_bad(struct device *d, unsigned int queue, const struct bad *bad)
{
	size_t mark = alloc_mark();

	device_negotiate(d, ALL_FEATURES);
	for (unsigned int q = 0; q < d->n_queues; q++) {
		static const struct bad good;

		ring_make(&d->ring[q], RING_SIZE);
		give(d, q, q == queue ? bad : &good);
	}
	set_status(d, DRIVER_OK);
	/* PCI's register takes no bad size, and keeps what it had. */
	if (!bad->accepted)
		EXPECT(needs_reset(d) != (d->pci && bad->size), "%s, queue %u: takes %s",
		       device_name(d), queue, bad->what);
	for (unsigned int q = 0; q < d->n_queues; q++)
		kick(d, q);
	device_reset(d);
	alloc_release(mark);
}

/* 0 means something else in the table above. */
static void try_zero(struct device *d, unsigned int queue)
{
	struct queue_setup setup = {.size = 0};

	device_negotiate(d, ALL_FEATURES);
	select_queue(d, queue);
	set_queue(d, &setup);
	enable_queue(d);
	set_status(d, DRIVER_OK);
	EXPECT(needs_reset(d), "%s, queue %u: takes a size of 0", device_name(d), queue);
	kick(d, queue);
	device_reset(d);
}

/* ---- after DRIVER_OK ---- */

struct seen {
	uint64_t size, desc, avail, used, enabled;
};

static struct seen look(const struct device *d)
{
	return (struct seen){.size = mem_read(d->regs + VIRTIO_PCI_COMMON_Q_SIZE, 2),
			     .desc = mem_read(d->regs + VIRTIO_PCI_COMMON_Q_DESCLO, 8),
			     .avail = mem_read(d->regs + VIRTIO_PCI_COMMON_Q_AVAILLO, 8),
			     .used = mem_read(d->regs + VIRTIO_PCI_COMMON_Q_USEDLO, 8),
			     .enabled = mem_read(d->regs + VIRTIO_PCI_COMMON_Q_ENABLE, 2)};
}

static bool same(const struct seen *a, const struct seen *b)
{
	return a->size == b->size && a->desc == b->desc && a->avail == b->avail &&
	       a->used == b->used && a->enabled == b->enabled;
}

static void scribble_queue(const struct device *d)
{
	struct queue_setup setup = {.size = (uint16_t)rnd_nasty(),
				    .desc = rnd_place(),
				    .avail = rnd_place(),
				    .used = rnd_place()};

	set_queue(d, &setup);
	if (d->pci) {
		mem_write(d->regs + VIRTIO_PCI_COMMON_Q_ENABLE, 2, rnd_below(3));
		mem_write(d->regs + VIRTIO_PCI_COMMON_Q_MSIX, 2, rnd_nasty());
	} else {
		mem_write(d->regs + VIRTIO_MMIO_QUEUE_READY, 4, rnd_below(3));
	}
}

static void try_live(struct device *d)
{
	size_t mark = alloc_mark();

	device_start(d, ALL_FEATURES);
	for (unsigned int q = 0; q < d->n_queues; q++) {
		struct seen before = {0}, after = {0};

		select_queue(d, q);
		if (d->pci)
			before = look(d);
		for (unsigned int i = 0; i < 10; i++)
			scribble_queue(d);
		if (d->pci)
			after = look(d);
		EXPECT(same(&before, &after), "%s, queue %u: changes while it is used",
		       device_name(d), q);
	}
	set_features(d, rnd_nasty());
	EXPECT(!needs_reset(d), "%s: what it does not take breaks it", device_name(d));
	device_reset(d);
	alloc_release(mark);
}

/* ---- features and status ---- */

static void try_features(struct device *d)
{
	uint64_t has = get_features(d);

	device_reset(d);
	set_status(d, 3);
	set_features(d, ~has);
	set_status(d, 0xb);
	EXPECT(!(get_status(d) & VIRTIO_CONFIG_S_FEATURES_OK), "%s: takes any features",
	       device_name(d));
	set_status(d, DRIVER_OK);
	EXPECT(!(get_status(d) & VIRTIO_CONFIG_S_DRIVER_OK), "%s: goes on without features",
	       device_name(d));
	device_reset(d);
	for (unsigned int i = 0; i < 50; i++)
		set_status(d, (uint8_t)rnd());
	device_reset(d);
}

/* ---- two CPUs at once ---- */

static struct device *scribbled;

static void scribble_on(void)
{
	const struct device *d = scribbled;

	while (!second_stopping()) {
		select_queue(d, chance(90) ? rnd_below(d->n_queues) : rnd());
		scribble_queue(d);
	}
}

/* Queues change while the device is told that they are ready. */
static void try_both(struct device *d, unsigned int rounds)
{
	size_t mark = alloc_mark();

	scribbled = d;
	second_start(scribble_on);
	for (unsigned int i = 0; i < rounds; i++) {
		device_start(d, rnd());
		for (unsigned int q = 0; q < d->n_queues; q++)
			kick(d, q);
		if (chance(50))
			device_reset(d);
		alloc_release(mark);
	}
	second_stop();
}

/* Each kind of queue register is one piece of code, so that every mistake is made with one of a device's queues, by chance. */
void attack_queues(void)
{
	const unsigned int n_bads = sizeof(bads) / sizeof(bads[0]);
	const unsigned int rounds = (unsigned int)param("rounds", 1), turn = rnd_below(MAX_QUEUES);

	find_devices();
	for (unsigned int i = 0; i < n_devices; i++) {
		struct device *d = &devices[i];

		if (!first_of_kind(d))
			continue;
		for (unsigned int k = 0; k < n_bads * rounds; k++)
			try_bad(d, (k + turn) % d->n_queues, &bads[k % n_bads]);
		try_zero(d, turn % d->n_queues);
		try_live(d);
		try_features(d);
		device_check(d);
		try_both(d, 10 * rounds);
		device_check(d);
		OK("queue registers of %s", device_name(d));
	}
}
