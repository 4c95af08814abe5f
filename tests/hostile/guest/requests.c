/*
 * Requests of disks, the entropy source and the console: mostly valid ones, in any cut, some of them broken in one place.
 */
#include "device.h"
#include "themes.h"
#include "requests.h"

#include <linux/virtio_blk.h>

#define SECTORS 2048 /* of the host's disks */

/* ---- for every device ---- */

/* Cuts what lies at address into pieces of chance. Returns how many. */
unsigned int cut(struct piece *pieces, unsigned int max, uint64_t address, uint32_t len, bool write)
{
	unsigned int n = 0;

	while (n + 1 < max && len > 0 && chance(40)) {
		uint32_t part = chance(20) ? 0 : 1 + rnd_below(len);

		pieces[n++] = (struct piece){address, part, write};
		address += part;
		len -= part;
	}
	pieces[n++] = (struct piece){address, len, write};
	return n;
}

/*
 * The balloon gets no page numbers of chance, as what lies behind a list would be: they would take this program's own pages away. For it a
 * piece becomes shorter, or reaches out of memory.
 */
static void break_one(struct ring *ring, uint16_t i, bool address)
{
	volatile struct vring_desc *d = &ring->desc[i];

	switch (rnd_below(4)) {
	case 0:
		d->addr = address ? rnd_place() : RAM_END - 1;
		break;
	case 1:
		if (address)
			d->len = (uint32_t)rnd_nasty();
		else
			d->len = chance(50) ? rnd_below(d->len + 1)
					    : (uint32_t)(rnd_nasty() | RAM_END);
		break;
	case 2:
		d->flags ^= (uint16_t)(1u << rnd_below(16));
		break;
	default:
		d->next = (uint16_t)rnd_nasty();
	}
}

/* Moves the chain into an indirect table. */
static void make_indirect(struct ring *ring, uint16_t head, unsigned int n)
{
	struct ring table = {.desc = alloc(16 * n, 16)};

	for (unsigned int i = 0; i < n; i++) {
		const volatile struct vring_desc *d = &ring->desc[(head + i) % ring->size];

		ring_desc(&table, (uint16_t)i, d->addr, d->len, d->flags, (uint16_t)(i + 1));
	}
	ring_desc(ring, head, gpa(table.desc), 16 * n, VRING_DESC_F_INDIRECT, 0);
}

bool offer(struct device *d, unsigned int queue, const struct piece *pieces, unsigned int n,
	   unsigned int broken)
{
	struct ring *ring = &d->ring[queue];
	uint16_t head;

	if ((ring->avail->idx - ring->used->idx + 1) * MAX_PIECES > ring->size && d->clean)
		return true;
	head = ring_chain(ring, pieces, n);
	if ((d->features & BIT64(VIRTIO_RING_F_INDIRECT_DESC)) && chance(20))
		make_indirect(ring, head, n);
	if (chance(broken)) {
		break_one(ring, (uint16_t)((head + rnd_below(n)) % ring->size),
			  d->id != VIRTIO_ID_BALLOON);
		d->clean = false;
	}
	ring_offer(ring, head);
	if (chance(broken / 4)) {
		ring->avail->idx = (uint16_t)rnd();
		d->clean = false;
	}
	kick(d, queue);
	return d->clean;
}

/* ---- disks ---- */

static uint32_t blk_type(void)
{
	static const uint32_t types[] = {VIRTIO_BLK_T_IN,      VIRTIO_BLK_T_OUT,
					 VIRTIO_BLK_T_FLUSH,   VIRTIO_BLK_T_GET_ID,
					 VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_WRITE_ZEROES};

	return chance(90) ? types[rnd_below(6)] : rnd_below(32);
}

struct blk_request {
	struct virtio_blk_outhdr *hdr;
	uint8_t *status;
	uint32_t len;
	bool in;
};

/* Ranges for discards, which writes take for data. */
static void blk_fill(uint64_t at, uint32_t len)
{
	for (uint32_t i = 0; i + 16 <= len && i < 16 * 40; i += 16) {
		mem_write(at + i, 8, chance(80) ? rnd_below(SECTORS) : rnd_nasty());
		mem_write(at + i + 8, 4, chance(80) ? rnd_below(64) : rnd());
		mem_write(at + i + 12, 4, chance(80) ? rnd_below(2) : rnd());
	}
}

static struct piece *blk_make(struct blk_request *r, struct piece *pieces, unsigned int *n)
{
	uint64_t data;

	r->hdr = alloc(sizeof(*r->hdr), 16);
	r->hdr->type = blk_type();
	r->hdr->sector = chance(80) ? rnd_below(SECTORS) : rnd_nasty();
	r->in = r->hdr->type == VIRTIO_BLK_T_IN || r->hdr->type == VIRTIO_BLK_T_GET_ID;
	r->len = chance(80) ? 512 * rnd_below(9) : rnd_below(70000);
	if (r->hdr->type >= VIRTIO_BLK_T_DISCARD)
		r->len = chance(80) ? 16 * rnd_below(4) : rnd_below(700);
	data = rnd_address();
	if (!r->in)
		blk_fill(data, r->len);
	r->status = alloc(1, 1);
	*r->status = 0xee;
	*n = cut(pieces, 4, gpa(r->hdr), sizeof(*r->hdr), false);
	*n += cut(pieces + *n, 7, data, r->len, r->in);
	pieces[(*n)++] = (struct piece){gpa(r->status), 1, true};
	return pieces;
}

static void blk_judge(const struct blk_request *r)
{
	EXPECT(*r->status <= VIRTIO_BLK_S_UNSUPP, "a disk's status is %x", (uint64_t)*r->status);
	if (r->hdr->type <= VIRTIO_BLK_T_OUT && r->hdr->sector > SECTORS)
		EXPECT(*r->status == VIRTIO_BLK_S_IOERR, "sector %x is there", r->hdr->sector);
}

static void blk_round(struct device *d, unsigned int queue, unsigned int broken)
{
	struct blk_request request[3];
	struct piece pieces[MAX_PIECES];
	unsigned int n, made = 1 + rnd_below(3);
	bool good = true;
	enum outcome outcome;

	for (unsigned int i = 0; i < made; i++) {
		blk_make(&request[i], pieces, &n);
		good &= offer(d, queue, pieces, n, broken);
	}
	outcome = ring_wait(d, queue, good ? PATIENCE : SECOND / 10);
	EXPECT(!good || outcome == DONE, "a disk %s",
	       outcome == SILENT ? "does not answer" : "breaks");
	for (unsigned int i = 0; i < made && good && outcome == DONE; i++)
		blk_judge(&request[i]);
	if (outcome != DONE)
		device_start(d, chance(50) ? ALL_FEATURES : rnd());
}

/* ---- what has a queue for bytes alone ---- */

static void bytes_round(struct device *d, unsigned int queue, bool write, unsigned int broken)
{
	struct piece pieces[8];
	uint32_t len = 1 + rnd_below(chance(90) ? 200 : 70000);
	unsigned int n = cut(pieces, 8, rnd_address(), len, write);
	bool good = offer(d, queue, pieces, n, broken);
	enum outcome outcome;

	outcome = ring_wait(d, queue, good ? PATIENCE : SECOND / 20);
	EXPECT(!good || outcome == DONE, "%s: good bytes are not taken", device_name(d));
	if (outcome != DONE)
		device_start(d, ALL_FEATURES);
}

/* Room for what the host types. */
static void console_input(struct device *d)
{
	struct piece pieces[8];
	unsigned int n = cut(pieces, 8, rnd_address(), 1 + rnd_below(300), true);

	offer(d, 0, pieces, n, 5);
}

/* ---- the theme ---- */

static void play(struct device *d, unsigned int broken)
{
	switch (d->id) {
	case VIRTIO_ID_BLOCK:
		blk_round(d, rnd_below(d->n_queues), broken);
		break;
	case VIRTIO_ID_RNG:
		bytes_round(d, 0, true, broken);
		break;
	case VIRTIO_ID_CONSOLE:
		if (chance(30))
			console_input(d);
		bytes_round(d, 1, false, broken);
		break;
	}
}

void attack_requests(void)
{
	unsigned int rounds = 128 * (unsigned int)param("rounds", 1);

	find_devices();
	for (unsigned int i = 0; i < n_devices; i++) {
		struct device *d = &devices[i];
		size_t mark = alloc_mark();

		if (d->id != VIRTIO_ID_BLOCK && d->id != VIRTIO_ID_RNG &&
		    d->id != VIRTIO_ID_CONSOLE)
			continue;
		device_start(d, ALL_FEATURES);
		for (unsigned int k = 0; k < rounds; k++) {
			play(d, 8);
			if (k % 64 != 63)
				continue;
			device_reset(d);
			alloc_release(mark);
			device_start(d, chance(50) ? ALL_FEATURES : 0);
		}
		device_reset(d);
		alloc_release(mark);
		device_check(d);
		OK("requests of %s", device_name(d));
	}
}
