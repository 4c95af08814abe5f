/* The receive side of the network card, fed from a socket pair. */
#include "tests/unit/net_fixture.h"

static uint8_t packet[2 * NET_PACKET_MAX];

static const uint64_t all_features[] = {
	0,
	NET_MERGE,
	NET_MERGE | NET_TSO,
	NET_MERGE | NET_TSO | NET_EVENT | NET_INDIRECT,
	NET_TSO | NET_EVENT,
};

static void send_filled(struct net_fixture *f, uint32_t len, uint32_t seed)
{
	net_fill(packet, len, seed);
	ck_assert(net_wire_send(f, packet, len));
}

START_TEST(test_one_buffer)
{
	static const uint32_t lens[] = {NET_HDR, 13, 26, 72, 1526, 9012, 65562, NET_PACKET_MAX};
	struct net_fixture *f = net_open(all_features[_i]);

	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		ck_assert(net_post(f, NET_PACKET_MAX, 0));
		net_kick(f, 0);
		send_filled(f, lens[i], i);
		net_pump(f);
		ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 1);
		net_expect(f, lens[i], i);
	}
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

/* Every cut of the buffer, the header included, is taken (2.7.4). */
START_TEST(test_framings)
{
	struct net_fixture *f = net_open(all_features[_i]);

	for (uint32_t cut = 1; cut <= 40; cut++) {
		ck_assert(net_post(f, 200, cut));
		send_filled(f, 150, cut);
		net_kick(f, 0);
		net_expect(f, 150, cut);
	}
	net_close(f);
}
END_TEST

START_TEST(test_merged_exact)
{
	static const struct {
		uint32_t len, buffers;
	} cases[] = {{1000, 1}, {1001, 2}, {1999, 2}, {2000, 2}, {2001, 3}, {65562, 66}};
	struct net_fixture *f = net_open(NET_MERGE | NET_TSO);

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		while (net_post(f, 1000, 0))
			;
		net_kick(f, 0);
		send_filled(f, cases[i].len, i);
		net_pump(f);
		ck_assert_uint_eq(virtq_driver_n_used(&f->rx), cases[i].buffers);
		net_expect(f, cases[i].len, i);
	}
	net_close(f);
}
END_TEST

/* Smallest buffers there may be: the header alone. */
START_TEST(test_tiny_buffers)
{
	struct net_fixture *f = net_open(NET_MERGE);

	while (net_post(f, NET_HDR, 0))
		;
	net_kick(f, 0);
	send_filled(f, 256 * NET_HDR, 1);
	net_pump(f);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 256);
	net_expect(f, 256 * NET_HDR, 1);

	/* one byte more never fits: dropped, and the next gets through */
	while (net_post(f, NET_HDR, 0))
		;
	net_kick(f, 0);
	send_filled(f, 256 * NET_HDR + 1, 2);
	send_filled(f, 60, 3);
	net_pump(f);
	net_expect(f, 60, 3);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

START_TEST(test_no_buffers)
{
	struct net_fixture *f = net_open(all_features[_i]);

	net_pump(f);
	ck_assert_uint_eq(f->net.pair[0].rx.watch.events, 0);
	send_filled(f, 100, 1);
	ck_assert_uint_eq(net_pump(f), 0);
	ck_assert_uint_eq(virtq_driver_used_flags(&f->rx), 0);

	ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	net_expect(f, 100, 1);
	ck_assert_uint_eq(f->interrupts[0], 1);

	/* used up again */
	send_filled(f, 101, 2);
	net_pump(f);
	ck_assert_uint_eq(f->net.pair[0].rx.watch.events, 0);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	net_expect(f, 101, 2);
	net_close(f);
}
END_TEST

/* With the event index the driver is told at which buffer to kick. */
START_TEST(test_asks_for_kicks)
{
	struct net_fixture *f = net_open(NET_MERGE | NET_EVENT);

	net_pump(f);
	ck_assert_uint_eq(virtq_driver_avail_event(&f->rx), 0);
	for (int i = 0; i < 3; i++)
		ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	for (uint32_t i = 0; i < 4; i++)
		send_filled(f, 100, i);
	net_pump(f);
	ck_assert_uint_eq(virtq_driver_avail_event(&f->rx), 3);
	for (uint32_t i = 0; i < 3; i++)
		net_expect(f, 100, i);
	ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	net_expect(f, 100, 3);
	net_close(f);
}
END_TEST

static void post_at_interrupt(void *arg, unsigned int queue)
{
	struct net_fixture *f = arg;

	ck_assert_uint_eq(queue, 0);
	if (f->interrupts[0]++ > 0)
		return;
	ck_assert(net_post(f, 2000, 0));
	ck_assert(!virtq_driver_needs_kick(&f->rx, f->net.dev.queue[0].event_idx));
}

/* A buffer that shows up when the ring was seen empty, and before kicks are asked for, is not forgotten. */
START_TEST(test_no_lost_kick)
{
	struct net_fixture *f = net_open(all_features[_i]);

	ck_assert(net_post(f, 2000, 0));
	ck_assert(virtq_driver_needs_kick(&f->rx, f->net.dev.queue[0].event_idx));
	net_kick(f, 0);
	f->net.dev.transport.interrupt = post_at_interrupt;
	send_filled(f, 100, 1);
	send_filled(f, 100, 2);
	net_pump(f);
	net_expect(f, 100, 1);
	net_expect(f, 100, 2);
	ck_assert(net_post(f, 2000, 0));
	send_filled(f, 100, 3);
	net_pump(f);
	ck_assert(virtq_driver_needs_kick(&f->rx, f->net.dev.queue[0].event_idx));
	net_kick(f, 0);
	net_expect(f, 100, 3);
	net_close(f);
}
END_TEST

/* A frame longer than the buffers at hand waits for the others, and none is lost. */
START_TEST(test_held)
{
	struct net_fixture *f = net_open(NET_MERGE | NET_TSO);

	ck_assert(net_post(f, 100, 7));
	ck_assert(net_post(f, 50, 0));
	net_kick(f, 0);
	send_filled(f, 5000, 1);
	send_filled(f, 60, 2);
	net_pump(f);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	ck_assert_uint_eq(f->net.pair[0].rx.watch.events, 0);
	for (unsigned int i = 0; i < 4; i++) {
		ck_assert(net_post(f, 1000, i * 100));
		net_kick(f, 0);
		ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	}
	ck_assert(net_post(f, 1000, 13));
	net_kick(f, 0);
	net_expect(f, 5000, 1);
	ck_assert(net_post(f, 1000, 0));
	net_kick(f, 0);
	net_expect(f, 60, 2);
	net_close(f);
}
END_TEST

/* Longer than anything a TAP gives while no offloads are on, such as after its MTU was raised. */
START_TEST(test_longer_than_mtu)
{
	struct net_fixture *f = net_open(NET_MERGE);

	for (int i = 0; i < 30; i++)
		ck_assert(net_post(f, 500, 0));
	net_kick(f, 0);
	send_filled(f, 9012, 1);
	net_pump(f);
	net_expect(f, 9012, 1);
	net_close(f);
}
END_TEST

START_TEST(test_too_long_unmerged)
{
	struct net_fixture *f = net_open(0);

	ck_assert(net_post(f, 500, 0));
	ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	send_filled(f, 501, 1);
	send_filled(f, 500, 2);
	send_filled(f, 1500, 3);
	net_pump(f);
	net_expect(f, 500, 2);
	net_expect(f, 1500, 3);
	ck_assert_uint_eq(f->log_lines, 1);
	ck_assert_str_eq(f->log_last, "net 'fake0': dropped a packet of 501 bytes, the guest's "
				      "buffers hold 500");
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

/* A window that cannot grow any more: chains of many pieces fill its room for those. */
START_TEST(test_window_full)
{
	struct net_fixture *f = net_open(NET_MERGE | NET_INDIRECT);
	struct virtq_piece pieces[256];
	gpa_t gpa = virtq_driver_alloc(&f->rx, 256);
	unsigned int n = virtq_driver_cut(pieces, 256, gpa, 256, true, 1);

	for (int i = 0; i < 6; i++) {
		virtq_driver_put(&f->rx, virtq_driver_chain_indirect(&f->rx, pieces, n));
		virtq_driver_publish(&f->rx);
	}
	net_kick(f, 0);
	send_filled(f, 1200, 1);
	net_pump(f);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	ck_assert_uint_eq(f->net.pair[0].rx.held, 0);
	send_filled(f, 700, 2);
	net_pump(f);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 3);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

START_TEST(test_flags)
{
	static const uint64_t csum = UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM;
	struct virtio_net_hdr_v1 hdr = {.flags = VIRTIO_NET_HDR_F_DATA_VALID, .num_buffers = 77};

	for (int on = 0; on < 2; on++) {
		struct net_fixture *f = net_open(on ? csum : 0);
		uint8_t got[2000];

		ck_assert(net_post(f, 200, 5));
		net_kick(f, 0);
		net_fill(packet, 100, 1);
		memcpy(packet, &hdr, sizeof(hdr));
		ck_assert(net_wire_send(f, packet, 100));
		net_pump(f);
		ck_assert_uint_eq(net_take(f, got), 100);
		ck_assert_uint_eq(got[0], on ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
		ck_assert_uint_eq(got[10] | got[11] << 8, 1);
		net_close(f);
	}
}
END_TEST

/* Many packets make few interrupts, and the driver's wish for none is respected. */
START_TEST(test_batches)
{
	struct net_fixture *f = net_open(NET_MERGE);
	unsigned int sent = 0;

	while (net_post(f, 1600, 0))
		;
	net_kick(f, 0);
	net_fill(packet, 100, 7);
	while (sent < 60 && net_wire_send(f, packet, 100))
		sent++;
	net_pump(f);
	ck_assert_uint_ge(sent, 5);
	ck_assert_uint_eq(f->interrupts[0], 1);
	for (unsigned int i = 0; i < sent; i++)
		net_expect(f, 100, 7);
	virtq_driver_set_avail_flags(&f->rx, VRING_AVAIL_F_NO_INTERRUPT);
	ck_assert(net_wire_send(f, packet, 100));
	net_pump(f);
	ck_assert_uint_eq(f->interrupts[0], 1);
	net_close(f);
}
END_TEST

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static uint32_t random_len(uint32_t *state, uint32_t min, uint32_t max)
{
	uint32_t top = min + 50;

	while (top < max && next_random(state) % 4 != 0)
		top *= 2;
	top = top < max ? top : max;
	return min + next_random(state) % (top - min + 1);
}

/* Small and large, buffers and packets, in any order: every byte arrives once and in its place. */
START_TEST(test_mixed)
{
	static const uint64_t features[] = {NET_MERGE | NET_TSO, NET_MERGE | NET_TSO | NET_EVENT};
	struct net_fixture *f = net_open(features[_i % 2]);
	uint32_t state = 0x12345 + (uint32_t)_i, lens[4096];
	unsigned int sent = 0, got = 0;

	while (got < 2000) {
		unsigned int n = next_random(&state) % 40;

		for (unsigned int i = 0; i < n; i++)
			net_post(f, random_len(&state, NET_HDR, 40000),
				 next_random(&state) % 3 ? 0 : 600);
		virtio_device_rekick(&f->net.dev, 0);
		for (unsigned int i = next_random(&state) % 8; i > 0 && sent < 4096; i--) {
			lens[sent] = random_len(&state, 60, 65562);
			net_fill(packet, lens[sent], sent);
			if (!net_wire_send(f, packet, lens[sent]))
				break;
			sent++;
		}
		net_pump(f);
		while (virtq_driver_n_used(&f->rx) > 0) {
			net_expect(f, lens[got], got);
			got++;
		}
		ck_assert_uint_eq(f->needs_reset, 0);
	}
	net_close(f);
}
END_TEST

/* After a reset the old buffers are never touched, with a packet held or not. */
START_TEST(test_stop)
{
	struct net_fixture *f = net_open(NET_MERGE);
	uint8_t *old;

	ck_assert(net_post(f, 1000, 0));
	net_kick(f, 0);
	if (_i == 1) {
		send_filled(f, 3000, 1);
		net_pump(f);
		ck_assert_uint_eq(f->net.pair[0].rx.held, 3000);
	}
	net_reset(f);
	ck_assert_uint_eq(f->stopped, 1);
	old = guest_mem_ptr(&f->mem, f->slots, 2000);
	memset(old, 0x11, 2000);
	send_filled(f, 200, 2);
	net_kick(f, 0);
	for (unsigned int i = 0; i < 2000; i++)
		ck_assert_uint_eq(old[i], 0x11);

	net_start(f, 0, 4);
	net_pump(f);
	for (unsigned int i = 0; i < 2000; i++)
		ck_assert_uint_eq(old[i], 0x11);
	ck_assert(net_post(f, 1000, 0));
	net_kick(f, 0);
	net_expect(f, 200, 2);
	net_close(f);
}
END_TEST

/* What is no packet is no reason to stop, and the end of the wire is. */
START_TEST(test_wire)
{
	struct net_fixture *f = net_open(NET_MERGE);

	ck_assert(net_post(f, 1000, 0));
	net_kick(f, 0);
	ck_assert(net_wire_send(f, "short", 5));
	send_filled(f, 100, 2);
	net_pump(f);
	net_expect(f, 100, 2);
	ck_assert(net_post(f, 1000, 0));
	net_kick(f, 0);
	close(f->peer);
	f->peer = -1;
	net_pump(f);
	ck_assert_uint_eq(f->net.pair[0].rx.watch.events, 0);
	ck_assert(f->net.pair[0].rx.dead);
	ck_assert_uint_eq(f->config_changes, 1);
	ck_assert_str_eq(f->log_last, "net 'fake0': lost the TAP interface: Broken pipe");
	ck_assert_uint_eq(f->net.dev.config[6], 0);
	net_kick(f, 0);
	net_reset(f);
	net_start(f, 0, 4);
	ck_assert_uint_le(net_pump(f), 2);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

/* A descriptor that cannot be waited on is no TAP: the card goes dead, not the program. */
START_TEST(test_unwatchable)
{
	struct net_fixture *f = net_open(NET_MERGE);

	close(f->tap.be.fd[0]);
	f->tap.be.fd[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	f->net.pair[0].rx.watch.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	f->net.pair[0].rx.backend->fd[0] = f->peer;
	ck_assert(net_post(f, 1000, 0));
	net_kick(f, 0);
	ck_assert(f->net.pair[0].rx.dead);
	close(f->net.pair[0].rx.watch.fd);
	f->tap.be.fd[0] = -1;
	net_close(f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_net_rx");
	TCase *tc = tcase_create("rx");
	const int n = sizeof(all_features) / sizeof(all_features[0]);

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_one_buffer, 0, n);
	tcase_add_loop_test(tc, test_framings, 0, n);
	tcase_add_test(tc, test_merged_exact);
	tcase_add_test(tc, test_tiny_buffers);
	tcase_add_loop_test(tc, test_no_buffers, 0, n);
	tcase_add_test(tc, test_asks_for_kicks);
	tcase_add_loop_test(tc, test_no_lost_kick, 0, n);
	tcase_add_test(tc, test_held);
	tcase_add_test(tc, test_longer_than_mtu);
	tcase_add_test(tc, test_too_long_unmerged);
	tcase_add_test(tc, test_window_full);
	tcase_add_test(tc, test_flags);
	tcase_add_test(tc, test_batches);
	tcase_add_loop_test(tc, test_mixed, 0, 4);
	tcase_add_loop_test(tc, test_stop, 0, 2);
	tcase_add_test(tc, test_wire);
	tcase_add_test(tc, test_unwatchable);
	suite_add_tcase(suite, tc);
	return net_run(suite);
}
