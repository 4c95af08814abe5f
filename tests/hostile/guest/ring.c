/* Rings, and what every device must still do when an attack is over. */
#include "device.h"

#include <linux/virtio_blk.h>
#include <linux/fuse.h>
#include <linux/virtio_vsock.h>

void ring_make(struct ring *ring, uint16_t size)
{
	*ring = (struct ring){.desc = alloc(16 * (size_t)size, 16),
			      .avail = alloc(6 + 2 * (size_t)size, 2),
			      .used = alloc(6 + 8 * (size_t)size, 4),
			      .size = size};
}

struct queue_setup ring_setup(const struct ring *ring)
{
	return (struct queue_setup){.size = ring->size,
				    .desc = gpa(ring->desc),
				    .avail = gpa(ring->avail),
				    .used = gpa(ring->used)};
}

void ring_desc(struct ring *ring, uint16_t i, uint64_t address, uint32_t len, uint16_t flags,
	       uint16_t next)
{
	ring->desc[i].addr = address;
	ring->desc[i].len = len;
	ring->desc[i].flags = flags;
	ring->desc[i].next = next;
}

uint16_t ring_chain(struct ring *ring, const struct piece *pieces, unsigned int n)
{
	uint16_t head = ring->next_desc;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t at = ring->next_desc;
		bool last = i + 1 == n;

		ring->next_desc = (uint16_t)((at + 1) % ring->size);
		ring_desc(ring, at, pieces[i].address, pieces[i].len,
			  (uint16_t)((pieces[i].write ? VRING_DESC_F_WRITE : 0) |
				     (last ? 0 : VRING_DESC_F_NEXT)),
			  last ? 0 : ring->next_desc);
	}
	return head;
}

void ring_offer(struct ring *ring, uint16_t head)
{
	uint16_t idx = ring->avail->idx;

	ring->avail->ring[idx % ring->size] = head;
	barrier();
	ring->avail->idx = (uint16_t)(idx + 1);
}

bool ring_idle(const struct ring *ring)
{
	return ring->used->idx == ring->avail->idx;
}

enum outcome ring_wait(const struct device *d, unsigned int queue, uint64_t ticks)
{
	uint64_t since = now();

	do {
		if (ring_idle(&d->ring[queue]))
			return DONE;
		if (needs_reset(d))
			return BROKEN;
	} while (now() - since < ticks);
	return SILENT;
}

enum outcome exchange(struct device *d, unsigned int queue, const struct piece *pieces,
		      unsigned int n)
{
	struct ring *ring = &d->ring[queue];

	ring_offer(ring, ring_chain(ring, pieces, n));
	kick(d, queue);
	return ring_wait(d, queue, PATIENCE);
}

/* ---- is it well? ---- */

static bool blk_works(struct device *d)
{
	struct virtio_blk_outhdr *hdr = alloc(sizeof(*hdr), 16);
	uint8_t *data = alloc(513, 16);
	const struct piece pieces[] = {{gpa(hdr), sizeof(*hdr), false}, {gpa(data), 513, true}};

	data[512] = 0xee;
	return exchange(d, 0, pieces, 2) == DONE && data[512] == VIRTIO_BLK_S_OK;
}

static bool rng_works(struct device *d)
{
	const struct piece piece = {gpa(alloc(16, 16)), 16, true};

	return exchange(d, 0, &piece, 1) == DONE && d->ring[0].used->ring[0].len > 0;
}

/* A frame to nobody. */
static bool net_works(struct device *d)
{
	const struct piece piece = {gpa(alloc(12 + 60, 16)), 12 + 60, false};

	return exchange(d, 1, &piece, 1) == DONE;
}

static bool console_works(struct device *d)
{
	const struct piece piece = {gpa(memset(alloc(2, 1), '\n', 2)), 2, false};

	return exchange(d, 1, &piece, 1) == DONE;
}

static bool balloon_works(struct device *d)
{
	uint32_t *page = alloc(4, 4);
	const struct piece piece = {gpa(page), 4, false};

	*page = (uint32_t)(rnd_address() / PAGE);
	return exchange(d, 0, &piece, 1) == DONE && exchange(d, 1, &piece, 1) == DONE;
}

/* A stream to a port where nobody is, which is refused. */
static bool vsock_works(struct device *d)
{
	struct virtio_vsock_hdr *hdr = alloc(sizeof(*hdr), 16);
	const struct piece room = {gpa(alloc(64, 16)), 64, true}, piece = {gpa(hdr), 44, false};
	const struct virtio_vsock_hdr *answer = (void *)(uintptr_t)room.address;

	hdr->src_cid = mem_read(d->regs + config_offset(d), 4);
	hdr->dst_cid = 2;
	hdr->src_port = 77;
	hdr->dst_port = 7;
	hdr->type = VIRTIO_VSOCK_TYPE_STREAM;
	hdr->op = VIRTIO_VSOCK_OP_REQUEST;
	ring_offer(&d->ring[0], ring_chain(&d->ring[0], &room, 1));
	return exchange(d, 1, &piece, 1) == DONE && ring_wait(d, 0, PATIENCE) == DONE &&
	       answer->op == VIRTIO_VSOCK_OP_RST;
}

/* Before it has begun, it says so to whoever asks. */
static bool fs_works(struct device *d)
{
	struct fuse_in_header *in = alloc(sizeof(*in), 16);
	struct fuse_out_header *out = alloc(sizeof(*out), 16);
	const struct piece pieces[] = {{gpa(in), sizeof(*in), false},
				       {gpa(out), sizeof(*out), true}};

	*in = (struct fuse_in_header){
		.len = sizeof(*in), .opcode = FUSE_STATFS, .unique = 7, .nodeid = FUSE_ROOT_ID};
	return exchange(d, 1, pieces, 2) == DONE && out->unique == 7 && out->error < 0;
}

static bool works(struct device *d)
{
	switch (d->id) {
	case VIRTIO_ID_BLOCK:
		return blk_works(d);
	case VIRTIO_ID_RNG:
		return rng_works(d);
	case VIRTIO_ID_NET:
		return net_works(d);
	case VIRTIO_ID_CONSOLE:
		return console_works(d);
	case VIRTIO_ID_BALLOON:
		return balloon_works(d);
	case VIRTIO_ID_VSOCK:
		return vsock_works(d);
	case VIRTIO_ID_FS:
		return fs_works(d);
	default:
		return false;
	}
}

void device_check(struct device *d)
{
	size_t mark = alloc_mark();

	device_start(d, 0);
	if (!works(d))
		FAIL("%s does not work any more (status %x)", device_name(d),
		     (uint64_t)get_status(d));
	device_reset(d);
	alloc_release(mark);
}
