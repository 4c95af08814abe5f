/* Streams: packets in any order, of ports and of sizes that are not theirs; and a credit of 4 GiB. */
#include "device.h"
#include "requests.h"
#include "themes.h"

#include <linux/virtio_vsock.h>

enum {
	RX,
	TX,
	EVENT,
};

#define HEADER	  sizeof(struct virtio_vsock_hdr)
#define HOST_PORT 5 /* where the host sends back what it gets, and more */
#define RX_BUFFER 4096

static uint64_t guest_cid;

static void fill_rx(struct device *d)
{
	struct ring *ring = &d->ring[RX];

	while ((uint16_t)(ring->avail->idx - ring->used->idx) < ring->size) {
		const struct piece piece = {RAM_END / 2 + rnd_below(256) * RX_BUFFER,
					    (uint32_t)(HEADER + 1 + rnd_below(RX_BUFFER - HEADER)),
					    true};

		ring_offer(ring, ring_chain(ring, &piece, 1));
	}
	kick(d, RX);
}

static void start(struct device *d)
{
	device_start(d, ALL_FEATURES);
	guest_cid = mem_read(d->regs + config_offset(d), 4);
	fill_rx(d);
}

static struct virtio_vsock_hdr *make_header(uint16_t op, uint32_t port, uint32_t len)
{
	struct virtio_vsock_hdr *hdr = alloc(HEADER + len, 16);

	hdr->src_cid = guest_cid;
	hdr->dst_cid = 2;
	hdr->src_port = port;
	hdr->dst_port = HOST_PORT;
	hdr->type = VIRTIO_VSOCK_TYPE_STREAM;
	hdr->op = op;
	hdr->len = len;
	hdr->buf_alloc = 65536;
	return hdr;
}

static enum outcome send(struct device *d, const struct virtio_vsock_hdr *hdr)
{
	const struct piece piece = {gpa(hdr), (uint32_t)HEADER + hdr->len, false};

	return exchange(d, TX, &piece, 1);
}

/* All the credit there is, whatever the guest's memory holds; the host sends as long as it may. */
static void huge_credit(struct device *d)
{
	struct virtio_vsock_hdr *hdr = make_header(VIRTIO_VSOCK_OP_REQUEST, 1000, 0);

	hdr->buf_alloc = UINT32_MAX;
	EXPECT(send(d, hdr) == DONE, "a request with a credit of 4 GiB is not taken");
	for (unsigned int i = 0; i < 40; i++) {
		hdr = make_header(i % 2 ? VIRTIO_VSOCK_OP_RW : VIRTIO_VSOCK_OP_CREDIT_UPDATE, 1000,
				  i % 2 ? 512 : 0);
		hdr->buf_alloc = UINT32_MAX;
		hdr->fwd_cnt = i % 4 ? UINT32_MAX : 0;
		EXPECT(send(d, hdr) == DONE, "a packet with a credit of 4 GiB is not taken");
		fill_rx(d);
	}
	EXPECT(d->ring[RX].used->idx > 0, "nothing comes from the host");
}

/* More than the credit that the host gave: it must not be kept. */
static void over_credit(struct device *d)
{
	struct virtio_vsock_hdr *hdr = make_header(VIRTIO_VSOCK_OP_RW, 1000, 60000);
	const struct piece piece = {gpa(hdr), (uint32_t)HEADER + 60000, false};

	hdr->buf_alloc = 0;
	for (unsigned int i = 0; i < 100 && !needs_reset(d); i++) {
		exchange(d, TX, &piece, 1);
		fill_rx(d);
	}
}

static void many_streams(struct device *d)
{
	for (unsigned int i = 0; i < 200; i++) {
		EXPECT(send(d, make_header(VIRTIO_VSOCK_OP_REQUEST, 2000 + i, 0)) == DONE,
		       "a request for a stream is not taken");
		if (i % 16 == 0)
			fill_rx(d);
	}
}

static void round(struct device *d)
{
	struct virtio_vsock_hdr *hdr =
		make_header((uint16_t)(chance(90) ? 1 + rnd_below(7) : rnd()), 3000 + rnd_below(8),
			    rnd_below(chance(90) ? 300 : 9000));
	struct piece pieces[8];
	uint32_t len = (uint32_t)HEADER + hdr->len;
	bool good;

	hdr->dst_port = chance(80) ? HOST_PORT : rnd_below(10);
	hdr->flags = rnd_below(4);
	if (chance(20))
		hdr->buf_alloc = (uint32_t)rnd_nasty();
	if (chance(20))
		hdr->fwd_cnt = (uint32_t)rnd_nasty();
	if (chance(10))
		hdr->len = (uint32_t)rnd_nasty();
	if (chance(5))
		hdr->type = (uint16_t)rnd();
	if (chance(5))
		hdr->src_cid = rnd_nasty();
	if (chance(5))
		hdr->dst_cid = rnd_nasty();
	if (chance(5))
		len = rnd_below(len);
	good = offer(d, TX, pieces, cut(pieces, 8, gpa(hdr), len, false), 5);
	if (chance(50))
		fill_rx(d);
	if (ring_wait(d, TX, good ? SECOND : SECOND / 20) != DONE)
		start(d);
}

void attack_vsock(void)
{
	unsigned int rounds = 160 * (unsigned int)param("rounds", 1);
	struct device *d;
	size_t mark;

	find_devices();
	mark = alloc_mark();
	d = find_device(VIRTIO_ID_VSOCK);
	if (!d) {
		OK("no vsock");
		return;
	}
	start(d);
	huge_credit(d);
	over_credit(d);
	device_reset(d);
	alloc_release(mark);
	OK("a credit of 4 GiB, and more than the credit");
	start(d);
	many_streams(d);
	device_reset(d);
	alloc_release(mark);
	start(d);
	for (unsigned int i = 0; i < rounds; i++) {
		round(d);
		if (i % 64 == 63) {
			device_reset(d);
			alloc_release(mark);
			start(d);
		}
	}
	device_reset(d);
	alloc_release(mark);
	device_check(d);
	OK("streams");
}
