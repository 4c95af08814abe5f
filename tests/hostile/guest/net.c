/* Network cards: frames of every size with headers of chance, buffers too small for what comes, control requests. */
#include "device.h"
#include "requests.h"
#include "themes.h"

#include <linux/virtio_net.h>

enum {
	RX,
	TX,
	CTRL,
};

#define HEADER sizeof(struct virtio_net_hdr_v1)

static void send_frame(struct device *d, uint32_t len)
{
	const struct piece piece = {RAM_END / 2, len, false};
	enum outcome outcome = exchange(d, TX, &piece, 1);

	EXPECT(outcome == DONE, "a frame of %u bytes, header included, is not taken (%u)", len,
	       (unsigned int)outcome);
}

/* The sizes that others fell to. */
static void send_odd_frames(struct device *d)
{
	static const uint32_t sizes[] = {1,
					 HEADER - 1,
					 HEADER,
					 HEADER + 1,
					 HEADER + 13,
					 HEADER + 14,
					 65535,
					 65536,
					 HEADER + 65535,
					 HEADER + 65536,
					 HEADER + 65549,
					 HEADER + 65550,
					 65550,
					 HEADER + 65551,
					 1u << 20};

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		send_frame(d, sizes[i]);
}

static void make_header(uint64_t at)
{
	mem_write(at, 1, chance(50) ? 0 : rnd());
	mem_write(at + 1, 1, chance(50) ? rnd_below(6) : rnd());
	for (unsigned int i = 2; i < HEADER; i += 2)
		mem_write(at + i, 2, chance(50) ? rnd_below(100) : rnd_nasty());
}

static void tx_round(struct device *d)
{
	struct piece pieces[8];
	uint64_t at = rnd_address();
	uint32_t len = HEADER + (chance(80) ? rnd_below(1600) : rnd_below(66000));

	make_header(at);
	offer(d, TX, pieces, cut(pieces, 8, at, len, false), 8);
	if (ring_wait(d, TX, d->clean ? PATIENCE : SECOND / 20) != DONE) {
		EXPECT(!d->clean, "a good frame is not taken");
		device_start(d, ALL_FEATURES);
	}
}

/* The host's end sends back what it gets, and more. */
static void rx_round(struct device *d)
{
	struct piece pieces[8];
	uint32_t len = HEADER + (chance(80) ? rnd_below(2000) : rnd_below(70000));

	for (unsigned int i = rnd_below(4); i > 0; i--)
		offer(d, RX, pieces, cut(pieces, 8, rnd_address(), len, true), 3);
}

static void ctrl_fill(uint64_t at)
{
	mem_write(at, 1, chance(90) ? rnd_below(6) : rnd());
	mem_write(at + 1, 1, rnd_below(6));
	for (unsigned int i = 2; i < 64; i += 4)
		mem_write(at + i, 4, chance(50) ? rnd_below(4) : rnd_nasty());
}

static void ctrl_round(struct device *d)
{
	struct piece pieces[8];
	uint64_t at = rnd_address();
	uint8_t *ack = alloc(1, 1);
	unsigned int n;

	ctrl_fill(at);
	n = cut(pieces, 6, at, chance(90) ? 2 + rnd_below(30) : rnd_below(5000), false);
	pieces[n++] = (struct piece){gpa(ack), 1, true};
	*ack = 0xee;
	offer(d, CTRL, pieces, n, 8);
	if (ring_wait(d, CTRL, d->clean ? PATIENCE : SECOND / 20) == DONE) {
		EXPECT(!d->clean || *ack <= VIRTIO_NET_ERR, "a control request's answer is %x",
		       (uint64_t)*ack);
		return;
	}
	EXPECT(!d->clean, "a control request is not answered");
	device_start(d, ALL_FEATURES);
}

/* A table of addresses that says that it has more than there are. */
static void long_mac_table(struct device *d)
{
	uint8_t *memory = alloc(64, 16);
	const struct piece pieces[] = {{gpa(memory), 6, false}, {gpa(memory) + 63, 1, true}};

	memory[0] = VIRTIO_NET_CTRL_MAC;
	memory[1] = VIRTIO_NET_CTRL_MAC_TABLE_SET;
	mem_write(gpa(memory) + 2, 4, UINT32_MAX);
	EXPECT(exchange(d, CTRL, pieces, 2) == DONE && memory[63] == VIRTIO_NET_ERR,
	       "a table of 2^32 addresses is taken");
}

void attack_net(void)
{
	unsigned int rounds = 160 * (unsigned int)param("rounds", 1);
	struct device *d;
	size_t mark;

	find_devices();
	mark = alloc_mark();
	d = find_device(VIRTIO_ID_NET);
	if (!d) {
		OK("no network card");
		return;
	}
	device_start(d, ALL_FEATURES);
	send_odd_frames(d);
	long_mac_table(d);
	OK("frames of odd sizes");
	for (unsigned int i = 0; i < rounds; i++) {
		if (i % 64 == 63) {
			device_reset(d);
			alloc_release(mark);
			device_start(d, chance(70) ? ALL_FEATURES : BIT64(VIRTIO_NET_F_CTRL_VQ));
		}
		rx_round(d);
		if (chance(60))
			tx_round(d);
		else if (d->features & BIT64(VIRTIO_NET_F_CTRL_VQ))
			ctrl_round(d);
	}
	device_reset(d);
	alloc_release(mark);
	device_check(d);
	OK("frames and control requests");
}
