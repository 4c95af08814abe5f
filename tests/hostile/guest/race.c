/*
 * Values that change between two reads of them: one CPU sends requests, the other writes one word of them over and over,
 * now good, now bad. A device that checks a word and then reads it again is found out by luck, so there are many.
 */
#include "device.h"
#include "themes.h"

#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>

#define RACE_WAIT (SECOND / 20)

/* ---- the other CPU ---- */

static struct {
	uint64_t address;
	unsigned int width;
	uint64_t a, b;
} flip;

static void flip_on(void)
{
	while (!second_stopping()) {
		for (unsigned int i = 0; i < 64; i++) {
			mem_write(flip.address, flip.width, flip.b);
			mem_write(flip.address, flip.width, flip.a);
		}
	}
}

static void set_flip(const volatile void *at, unsigned int width, uint64_t b)
{
	flip.address = gpa(at);
	flip.width = width;
	flip.a = mem_read(gpa(at), width);
	flip.b = b;
}

/* ---- a good request of each device ---- */

/* The header of a disk's request lies there as zeros: a read of sector 0. */
static void fill_ctrl(const struct device *d, uint8_t *memory)
{
	struct virtio_net_ctrl_hdr *ctrl = (void *)memory;

	(void)d;
	ctrl->class = VIRTIO_NET_CTRL_RX;
	memory[2] = 1;
}

static void fill_vsock(const struct device *d, uint8_t *memory)
{
	struct virtio_vsock_hdr *hdr = (void *)memory;

	hdr->src_cid = mem_read(d->regs + config_offset(d), 4);
	hdr->dst_cid = 2;
	hdr->src_port = 99;
	hdr->dst_port = 5;
	hdr->len = 100;
	hdr->type = VIRTIO_VSOCK_TYPE_STREAM;
	hdr->op = VIRTIO_VSOCK_OP_RW;
}

/* Pages for the balloon, bytes for the console. */
static void fill_pages(const struct device *d, uint8_t *memory)
{
	(void)d;
	for (unsigned int i = 0; i < 192; i += 4)
		*(uint32_t *)(void *)&memory[i] = (uint32_t)(rnd_address() / PAGE);
}

/* Three pieces, which lie one after the other but for gaps; a device has the first request that names it. */
static const struct request {
	uint32_t id;
	unsigned int queue;
	struct {
		uint16_t offset, len;
		bool write;
	} piece[3];
	void (*fill)(const struct device *d, uint8_t *memory);
} requests[] = {
	{VIRTIO_ID_BLOCK, 0, {{0, 16, false}, {1024, 1024, true}, {4096, 1, true}}, NULL},
	{VIRTIO_ID_NET, 2, {{0, 2, false}, {2, 1, false}, {4096, 1, true}}, fill_ctrl},
	{VIRTIO_ID_VSOCK, 1, {{0, 44, false}, {1024, 64, false}, {2048, 64, false}}, fill_vsock},
	{VIRTIO_ID_CONSOLE, 1, {{0, 64, false}, {64, 64, false}, {128, 64, false}}, fill_pages},
	{VIRTIO_ID_BALLOON, 0, {{0, 64, false}, {64, 64, false}, {128, 64, false}}, fill_pages},
	{VIRTIO_ID_FS, 1, {{0, 40, false}, {1024, 256, false}, {4096, 1024, true}}, NULL},
	{VIRTIO_ID_RNG, 0, {{0, 16, true}, {64, 16, true}, {128, 16, true}}, NULL},
};

/* Descriptors from 0 on. Returns the queue. */
static unsigned int make_request(struct device *d, uint8_t *memory)
{
	const struct request *r = requests;
	struct piece pieces[3];

	while (r->id != d->id)
		r++;
	for (unsigned int i = 0; i < 3; i++)
		pieces[i] = (struct piece){gpa(memory) + r->piece[i].offset, r->piece[i].len,
					   r->piece[i].write};
	memset(memory, 0, 1024);
	if (r->fill)
		r->fill(d, memory);
	ring_chain(&d->ring[r->queue], pieces, 3);
	return r->queue;
}

/* ---- what is flipped ---- */

enum word {
	DESC_ADDRESS,
	DESC_LEN,
	DESC_FLAGS,
	DESC_NEXT,
	AVAIL_IDX,
	AVAIL_RING,
	USED_IDX,
	HEADER_0,
	HEADER_4,
	HEADER_8,
	HEADER_24,
	HEADER_40,
	INDIRECT_LEN,
	WORDS,
};

static void choose(const struct device *d, unsigned int queue, enum word word, uint8_t *memory)
{
	const struct ring *ring = &d->ring[queue];
	unsigned int i = rnd_below(3);

	switch (word) {
	case DESC_ADDRESS:
		set_flip(&ring->desc[i].addr, 8, chance(50) ? RAM_END - 1 : rnd_place());
		break;
	case DESC_LEN:
		set_flip(&ring->desc[i].len, 4, chance(50) ? UINT32_MAX : rnd_nasty());
		break;
	case DESC_FLAGS:
		set_flip(&ring->desc[i].flags, 2, rnd_below(8));
		break;
	case DESC_NEXT:
		set_flip(&ring->desc[i].next, 2, chance(50) ? 0xffff : rnd_below(RING_SIZE));
		break;
	case AVAIL_IDX:
		set_flip(&ring->avail->idx, 2, (uint16_t)(rnd_below(3) * 0x3fff + 1));
		break;
	case AVAIL_RING:
		set_flip(&ring->avail->ring[rnd_below(4)], 2, chance(50) ? 0xffff : rnd_below(4));
		break;
	case USED_IDX:
		set_flip(&ring->used->idx, 2, rnd());
		break;
	case HEADER_0:
	case HEADER_4:
	case HEADER_8:
		set_flip(memory + 4 * (word - HEADER_0), 4, rnd_nasty());
		break;
	case HEADER_24:
	case HEADER_40:
		set_flip(memory + (word == HEADER_24 ? 24 : 40), 4, rnd_nasty());
		break;
	default:
		set_flip(&ring->desc[0].len, 4, 16 * (1 + (uint64_t)rnd_below(0x1000)));
	}
}

/* The same chain again and again, as it is then. */
static void repeat(struct device *d, unsigned int queue, unsigned int n)
{
	struct ring *ring = &d->ring[queue];

	for (unsigned int i = 0; i < n; i++) {
		for (unsigned int burst = 0; burst < 4; burst++)
			ring_offer(ring, 0);
		kick(d, queue);
		if (ring_wait(d, queue, RACE_WAIT) != DONE)
			return;
	}
}

/* An indirect table in place of the chain. */
static void make_indirect(struct device *d, unsigned int queue, uint8_t *memory)
{
	struct ring *ring = &d->ring[queue];

	for (unsigned int i = 0; i < 3; i++)
		memcpy(memory + 8192 + 16 * i, (const void *)(uintptr_t)gpa(&ring->desc[i]), 16);
	ring_desc(ring, 0, gpa(memory) + 8192, 48, VRING_DESC_F_INDIRECT, 0);
}

/* Page numbers of chance would take this program's own pages away. */
static bool is_suicide(const struct device *d, enum word word)
{
	return d->id == VIRTIO_ID_BALLOON &&
	       (word == DESC_ADDRESS || (word >= HEADER_0 && word <= HEADER_40));
}

static void race(struct device *d, enum word word)
{
	size_t mark = alloc_mark();
	uint8_t *memory = alloc(12288, 4096);
	unsigned int queue;

	device_start(d, chance(50) ? ALL_FEATURES : ALL_FEATURES & ~BIT64(VIRTIO_RING_F_EVENT_IDX));
	queue = make_request(d, memory);
	if (word == INDIRECT_LEN)
		make_indirect(d, queue, memory);
	choose(d, queue, word, memory);
	second_start(flip_on);
	repeat(d, queue, 12);
	second_stop();
	device_reset(d);
	alloc_release(mark);
}

void attack_race(void)
{
	unsigned int rounds = (unsigned int)param("rounds", 1);

	find_devices();
	for (unsigned int i = 0; i < n_devices; i++) {
		struct device *d = &devices[i];

		if (!first_of_kind(d))
			continue;
		for (unsigned int word = 0; word < rounds * WORDS; word++) {
			if (!is_suicide(d, (enum word)(word % WORDS)))
				race(d, (enum word)(word % WORDS));
		}
		device_check(d);
		OK("races with %s", device_name(d));
	}
}
