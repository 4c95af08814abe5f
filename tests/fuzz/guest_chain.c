#include <linux/virtio_config.h>

#include "tests/fuzz/guest.h"

/* A chain that is cut fine has more descriptors than it had pieces. */
#define GUEST_MAX_DESCS 64

uint32_t guest_len(struct fuzz_input *in)
{
	static const uint32_t lens[] = {1,    2,    4,	  6,	 8,	10,    12,   13,
					16,   20,   24,	  32,	 44,	45,    60,   64,
					128,  256,  511,  512,	 513,	1024,  1526, 2048,
					4096, 5000, 8192, 16384, 32768, 65535, 0};
	uint8_t code = fuzz_u8(in) % 32;

	return code < sizeof(lens) / sizeof(lens[0]) ? lens[code] : fuzz_u32(in);
}

/* Most places are in memory, at the border of things some. */
gpa_t guest_place(struct fuzz_input *in, uint32_t len)
{
	uint8_t code = fuzz_u8(in);

	switch (code) {
	case 0xf0:
		return GUEST_RAM - len;
	case 0xf1:
		return GUEST_RAM - len + 1;
	case 0xf2:
		return GUEST_HIGH;
	case 0xf3:
		return GUEST_HIGH + GUEST_HIGH_SIZE - len;
	case 0xf4:
		return GUEST_HIGH - 1;
	case 0xf5:
		return (gpa_t)0 - len;
	case 0xf6:
		return guest.drv[fuzz_u8(in) % GUEST_QUEUES].config.desc;
	case 0xf7:
		return guest.drv[fuzz_u8(in) % GUEST_QUEUES].config.used;
	case 0xf8:
		return fuzz_u64(in);
	case 0xf9:
		return fuzz_u32(in) % (uint32_t)(GUEST_HIGH + GUEST_HIGH_SIZE);
	default:
		return guest_alloc(len < 0x10000 ? len : 0x10000);
	}
}

static uint16_t guest_free_desc(unsigned int queue)
{
	return guest.next_desc[queue]++ % guest.drv[queue].config.size;
}

/* Cuts pieces into smaller ones, at most max. Returns their number. */
static unsigned int guest_cut(struct virtq_piece *out, const struct virtq_piece *pieces,
			      unsigned int n, unsigned int max, unsigned int how)
{
	static const uint32_t cuts[] = {0, 7, 1, 100};
	unsigned int made = 0;

	for (unsigned int i = 0; i < n; i++) {
		struct virtq_piece piece = pieces[i];

		while (cuts[how] && piece.len > cuts[how] && made + n < max) {
			out[made++] = (struct virtq_piece){piece.gpa, cuts[how], piece.writable};
			piece.gpa += cuts[how];
			piece.len -= cuts[how];
		}
		out[made++] = piece;
	}
	return made;
}

static uint16_t guest_flags(const struct virtq_piece *piece, bool last)
{
	return (piece->writable ? VRING_DESC_F_WRITE : 0) | (last ? 0 : VRING_DESC_F_NEXT);
}

/* Returns the head. */
static uint16_t guest_chain(unsigned int queue, const struct virtq_piece *pieces, unsigned int n)
{
	uint16_t head = guest_free_desc(queue), at = head;

	for (unsigned int i = 0; i < n; i++) {
		bool last = i == n - 1;
		uint16_t next = last ? 0 : guest_free_desc(queue);

		virtq_driver_set_desc(&guest.drv[queue], at, pieces[i].gpa, pieces[i].len,
				      guest_flags(&pieces[i], last), next);
		at = next;
	}
	return head;
}

static uint16_t guest_table(unsigned int queue, const struct virtq_piece *pieces, unsigned int n)
{
	struct vring_desc table[GUEST_MAX_DESCS];
	uint32_t len = n * (uint32_t)sizeof(table[0]);
	uint16_t head = guest_free_desc(queue);

	for (unsigned int i = 0; i < n; i++)
		table[i] = (struct vring_desc){pieces[i].gpa, pieces[i].len,
					       guest_flags(&pieces[i], i == n - 1),
					       (uint16_t)(i + 1)};
	virtq_driver_set_desc(&guest.drv[queue], head, guest_put(table, len), len,
			      VRING_DESC_F_INDIRECT, 0);
	return head;
}

/* What may be wrong with a chain; most often nothing. Returns the head to offer. */
static uint16_t guest_spoil(unsigned int queue, uint16_t head, unsigned int how)
{
	struct vring_desc *d = &guest.drv[queue].desc[head];
	uint16_t size = guest.drv[queue].config.size;

	switch (how) {
	case 24: /* a loop */
		d->flags |= VRING_DESC_F_NEXT;
		d->next = head;
		break;
	case 25:
		d->flags |= VRING_DESC_F_NEXT;
		d->next = size;
		break;
	case 26:
		d->flags ^= VRING_DESC_F_WRITE;
		break;
	case 27:
		d->flags ^= VRING_DESC_F_INDIRECT;
		break;
	case 28:
		d->len = 0;
		break;
	case 29:
		d->len += 1;
		break;
	case 30:
		d->addr = GUEST_RAM - 4;
		break;
	case 31:
		return size;
	}
	return head;
}

static bool guest_has(unsigned int feature)
{
	return guest.dev->negotiated & BIT(feature);
}

void guest_send(unsigned int queue, const struct virtq_piece *pieces, unsigned int n, uint8_t odd)
{
	struct virtq_piece cut[GUEST_MAX_DESCS];
	unsigned int max = guest.drv[queue].config.size;
	uint16_t head;

	FUZZ_CHECK(n > 0 && n <= GUEST_MAX_PIECES);
	max = max < GUEST_MAX_DESCS ? max : GUEST_MAX_DESCS;
	n = guest_cut(cut, pieces, n < max ? n : max, max, odd & 3);
	if ((odd & 4) && guest_has(VIRTIO_RING_F_INDIRECT_DESC))
		head = guest_table(queue, cut, n);
	else
		head = guest_chain(queue, cut, n);
	virtq_driver_put(&guest.drv[queue], guest_spoil(queue, head, odd >> 3));
	virtq_driver_publish(&guest.drv[queue]);
}

/* The first descriptors are a chain's, or its table's. */
static uint8_t *guest_desc_byte(unsigned int queue, uint16_t head, uint8_t code)
{
	const struct virtq_driver *drv = &guest.drv[queue];
	unsigned int at = code % sizeof(struct vring_desc), i = code / sizeof(struct vring_desc);
	const struct vring_desc *d = &drv->desc[head % drv->config.size];
	uint8_t *table;

	if (d->flags & VRING_DESC_F_INDIRECT) {
		table = guest_mem_ptr(&guest.mem, d->addr, sizeof(*d) * 4);
		if (table)
			return table + sizeof(*d) * (i % 4) + at;
	}
	for (; i > 0; i--)
		d = &drv->desc[d->next % drv->config.size];
	return (uint8_t *)(uintptr_t)d + at;
}

uint8_t *guest_next_byte(unsigned int queue, uint8_t code)
{
	const struct virtq_driver *drv = &guest.drv[queue];
	uint16_t next = guest.dev->queue[queue].state.next_avail;
	uint16_t *slot = &drv->avail->ring[next % drv->config.size];

	if (code < 0x40)
		return guest_desc_byte(
			queue, drv->avail->idx != next ? *slot : guest.next_desc[queue], code);
	return (uint8_t *)(code & 1 ? slot : &drv->avail->idx) + (code >> 1 & 1);
}
