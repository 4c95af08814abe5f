/* The balloon: pages that are no memory, lists that are none, reports that reach too far. */
#include "device.h"
#include "requests.h"
#include "themes.h"

#include <linux/virtio_balloon.h>

enum {
	INFLATE,
	DEFLATE,
	STATS,
	REPORT = 4,
};

#define PATTERN UINT64_C(0x1122334455667788)

static uint32_t odd_page(void)
{
	static const uint64_t pages[] = {RAM_END / PAGE, 0xc0000,    0xd0000,	 0xfec00,
					 0xfee00,	 0xfffbc,    0xfffff,	 0x100000,
					 0x7fffffff,	 0x80000000, 0xfffffffe, 0xffffffff};

	return (uint32_t)pages[rnd_below(sizeof(pages) / sizeof(pages[0]))];
}

/* Every one of these must be taken, and no memory may be touched by it. */
static void odd_pages(struct device *d)
{
	uint32_t *list = alloc(4096, 4096);
	const struct piece piece = {gpa(list), 4096, false};

	mem_write(RAM_END - PAGE, 8, PATTERN);
	for (unsigned int i = 0; i < 1024; i++)
		list[i] = odd_page();
	EXPECT(exchange(d, INFLATE, &piece, 1) == DONE, "pages that are no memory are not taken");
	EXPECT(exchange(d, DEFLATE, &piece, 1) == DONE, "nor are they given back");
	/* One run from memory over its end. */
	for (unsigned int i = 0; i < 1024; i++)
		list[i] = (uint32_t)(RAM_END / PAGE) + i;
	EXPECT(exchange(d, INFLATE, &piece, 1) == DONE, "a run outside of memory is not taken");
	EXPECT(mem_read(RAM_END - PAGE, 8) == PATTERN, "a page was lost that was not given");
	for (unsigned int i = 0; i < 1024; i++)
		list[i] = (uint32_t)(RAM_END / PAGE) - 2 + i;
	EXPECT(exchange(d, INFLATE, &piece, 1) == DONE, "a run over memory's end is not taken");
}

/* The same page a hundred thousand times. */
static void long_list(struct device *d)
{
	const struct piece piece = {RAM_END / 2, 400000, false};

	EXPECT(exchange(d, INFLATE, &piece, 1) == DONE, "a long list is not taken");
}

static void inflate_round(struct device *d)
{
	uint32_t n = 1 + rnd_below(64), len = 4 * n + (chance(5) ? 1 : 0);
	uint32_t *list = alloc(4 * (size_t)n + 4, 4);
	struct piece pieces[8];
	bool good;

	for (uint32_t i = 0; i < n; i++)
		list[i] = chance(70) ? (uint32_t)(rnd_address() / PAGE) : odd_page();
	if (len % 4)
		d->clean = false;
	good = offer(d, rnd_below(2), pieces, cut(pieces, 8, gpa(list), len, false), 8);
	for (unsigned int q = 0; q < 2; q++) {
		if (ring_wait(d, q, good ? PATIENCE : SECOND / 20) == DONE)
			continue;
		EXPECT(!good, "a list of pages is not taken");
		device_start(d, ALL_FEATURES);
	}
}

static void stats_round(struct device *d)
{
	uint32_t len = chance(80) ? 10 * rnd_below(16) : rnd_below(5000);
	uint64_t at = rnd_address();
	struct piece pieces[8];

	for (uint32_t i = 0; i < len && i < 200; i += 10) {
		mem_write(at + i, 2, chance(80) ? rnd_below(20) : rnd());
		mem_write(at + i + 2, 8, rnd_nasty());
	}
	d->clean &= len > 0; /* nothing but empty buffers is refused */
	offer(d, STATS, pieces, cut(pieces, 8, at, len, false), 10);
}

static void report_round(struct device *d)
{
	struct piece pieces[8];
	uint64_t at = chance(80) ? rnd_address() & ~(PAGE - 1) : rnd_address();
	uint32_t len = chance(80) ? PAGE * (1 + rnd_below(16)) : rnd_below(100000);
	bool readable = chance(3);

	d->clean &= len > 0 && !readable;
	offer(d, REPORT, pieces, cut(pieces, 8, at, len, !readable), 5);
}

static void config_round(const struct device *d)
{
	uint64_t at = d->regs + config_offset(d) + rnd_below(20);

	mem_write(at, 1u << rnd_below(4), rnd_nasty());
	mem_read(at, 1u << rnd_below(4));
}

void attack_balloon(void)
{
	unsigned int rounds = 100 * (unsigned int)param("rounds", 1);
	struct device *d;
	size_t mark;

	find_devices();
	mark = alloc_mark();
	d = find_device(VIRTIO_ID_BALLOON);
	if (!d) {
		OK("no balloon");
		return;
	}
	device_start(d, ALL_FEATURES);
	odd_pages(d);
	long_list(d);
	OK("pages that are no memory");
	for (unsigned int i = 0; i < rounds; i++) {
		if (i % 64 == 63) {
			device_reset(d);
			alloc_release(mark);
			device_start(d, chance(70) ? ALL_FEATURES : rnd());
		}
		inflate_round(d);
		stats_round(d);
		report_round(d);
		config_round(d);
	}
	device_reset(d);
	alloc_release(mark);
	device_check(d);
	OK("lists, statistics and reports");
}
