/* The transmit side of the network card, into a socket pair. */
#include "tests/unit/net_fixture.h"

static uint8_t packet[2 * NET_PACKET_MAX], got[2 * NET_PACKET_MAX];

static const uint64_t all_features[] = {0, NET_EVENT, NET_EVENT | NET_INDIRECT};

/* Queues one packet in descriptors of at most cut bytes, without a kick. */
static void queue_packet(struct net_fixture *f, uint32_t len, uint32_t seed, uint32_t cut)
{
	struct virtq_piece pieces[NET_SLOTS];
	gpa_t heap = f->tx.heap;
	gpa_t gpa;
	unsigned int n;

	net_fill(packet, len, seed);
	gpa = virtq_driver_alloc_copy(&f->tx, packet, len);
	n = virtq_driver_cut(pieces, NET_SLOTS, gpa, len, false, cut);
	if (f->net.dev.queue[1].indirect) {
		virtq_driver_put(&f->tx, virtq_driver_chain_indirect(&f->tx, pieces, n));
		virtq_driver_publish(&f->tx);
	} else {
		virtq_driver_send(&f->tx, pieces, n);
		if (f->tx.heap > f->tx.end / 2)
			f->tx.heap = heap;
	}
}

/* Takes one used chain, which the device did not write to. */
static void expect_used(struct net_fixture *f)
{
	uint32_t len = 1;

	ck_assert(virtq_driver_used(&f->tx, NULL, &len));
	ck_assert_uint_eq(len, 0);
}

static void expect_wire(struct net_fixture *f, uint32_t len, uint32_t seed)
{
	ssize_t n = recv(f->peer, got, sizeof(got), 0);

	net_fill(packet, len, seed);
	ck_assert_int_eq(n, (ssize_t)len);
	ck_assert_mem_eq(got, packet, len);
}

static void expect_silence(struct net_fixture *f)
{
	ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), -1);
	ck_assert_int_eq(errno, EAGAIN);
}

START_TEST(test_lengths)
{
	static const uint32_t lens[] = {26, 27, 72, 1526, 9012, 65562, NET_PACKET_MAX};
	struct net_fixture *f = net_open(all_features[_i]);

	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		queue_packet(f, lens[i], i, i % 2 ? 4096 : 0);
		net_kick(f, 1);
		ck_assert_uint_eq(virtq_driver_n_used(&f->tx), 1);
		expect_used(f);
		expect_wire(f, lens[i], i);
		expect_silence(f);
	}
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

START_TEST(test_framings)
{
	struct net_fixture *f = net_open(all_features[_i]);

	for (uint32_t cut = 1; cut <= 40; cut++) {
		queue_packet(f, 100 + cut, cut, cut);
		net_kick(f, 1);
		expect_used(f);
		expect_wire(f, 100 + cut, cut);
	}
	net_close(f);
}
END_TEST

/* The driver's header reaches the TAP as it is, for the kernel to check. */
START_TEST(test_header)
{
	struct virtio_net_hdr_v1 hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					.hdr_len = 54,
					.gso_size = 1460,
					.csum_start = 34,
					.csum_offset = 16,
					.num_buffers = 0};
	struct net_fixture *f = net_open(0);
	struct virtq_piece pieces[2] = {{.len = sizeof(hdr)}, {.len = 3000}};

	pieces[0].gpa = virtq_driver_alloc_copy(&f->tx, &hdr, sizeof(hdr));
	pieces[1].gpa = virtq_driver_alloc(&f->tx, 3000);
	virtq_driver_send(&f->tx, pieces, 2);
	net_kick(f, 1);
	ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), 3012);
	ck_assert_mem_eq(got, &hdr, sizeof(hdr));
	net_close(f);
}
END_TEST

/* No frame, or none that a wire takes: completed once, never sent, and the next gets through. */
START_TEST(test_refused_lengths)
{
	static const uint32_t lens[] = {
		0, 1, 11, 12, 13, 25, NET_PACKET_MAX + 1, 2 * NET_PACKET_MAX};
	struct net_fixture *f = net_open(all_features[_i]);

	for (unsigned int i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		queue_packet(f, lens[i], i, 0);
		queue_packet(f, 60, i, 0);
		net_kick(f, 1);
		expect_used(f);
		expect_used(f);
		ck_assert_uint_eq(virtq_driver_n_used(&f->tx), 0);
		expect_wire(f, 60, i);
		expect_silence(f);
	}
	ck_assert_uint_eq(f->needs_reset, 0);
	ck_assert_uint_eq(f->log_lines, LOG_LIMIT_BURST);
	net_close(f);
}
END_TEST

/* A packet of gigabytes, made of the same memory again and again. */
START_TEST(test_absurd_length)
{
	struct net_fixture *f = net_open(0);
	struct virtq_piece pieces[60];

	for (int i = 0; i < 60; i++)
		pieces[i] = (struct virtq_piece){0, 64 << 20, false};
	virtq_driver_send(&f->tx, pieces, 60);
	net_kick(f, 1);
	expect_used(f);
	expect_silence(f);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

/* A full wire loses packets and nothing else. */
START_TEST(test_congestion)
{
	struct net_fixture *f = net_open(0);
	unsigned int n = 0;

	for (uint32_t i = 0; i < 100; i++) {
		for (int j = 0; j < 20; j++)
			queue_packet(f, 65000, i, 0);
		net_kick(f, 1);
		for (int j = 0; j < 20; j++)
			expect_used(f);
	}
	while (recv(f->peer, got, sizeof(got), 0) > 0)
		n++;
	ck_assert_uint_gt(n, 0);
	ck_assert_uint_lt(n, 2000);
	queue_packet(f, 60, 5, 0);
	net_kick(f, 1);
	expect_used(f);
	expect_wire(f, 60, 5);
	ck_assert_uint_eq(f->log_lines, 0);
	net_close(f);
}
END_TEST

START_TEST(test_wire_gone)
{
	struct net_fixture *f = net_open(0);

	close(f->tap.be.fd[0]);
	f->tap.be.fd[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	queue_packet(f, 60, 1, 0);
	net_kick(f, 1);
	expect_used(f);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

/* A bounded number in one call, the rest after other work; buffers come back in batches. */
START_TEST(test_budget)
{
	struct net_fixture *f = net_open(all_features[_i]);
	struct evloop_fd *kick = &f->net.dev.kick[1];

	close(f->tap.be.fd[0]);
	f->tap.be.fd[0] = open("/dev/null", O_RDWR | O_CLOEXEC);
	net_pump(f);
	ck_assert(!net_call(kick));
	for (int i = 0; i < 256; i++)
		queue_packet(f, 60, 1, 0);
	virtio_device_rekick(&f->net.dev, 1);
	ck_assert(net_call(kick));
	ck_assert_uint_eq(virtq_driver_n_used(&f->tx), 256);
	if (!(all_features[_i] & NET_EVENT))
		ck_assert_uint_eq(f->interrupts[1], 256 / 64);
	else
		ck_assert_uint_eq(f->interrupts[1], 1);
	/* used up by exactly as many as there were: only the next call sees the end and asks for kicks */
	ck_assert(net_call(kick));
	ck_assert(!net_call(kick));
	if (all_features[_i] & NET_EVENT)
		ck_assert_uint_eq(virtq_driver_avail_event(&f->tx), 256);
	else
		ck_assert_uint_eq(virtq_driver_used_flags(&f->tx), 0);
	net_close(f);
}
END_TEST

static void queue_at_interrupt(void *arg, unsigned int queue)
{
	struct net_fixture *f = arg;

	ck_assert_uint_eq(queue, 1);
	if (f->interrupts[1]++ > 0)
		return;
	queue_packet(f, 61, 2, 0);
	ck_assert(!virtq_driver_needs_kick(&f->tx, f->net.dev.queue[1].event_idx));
}

/* A packet that shows up when the ring was seen empty, and before kicks are asked for, is not forgotten. */
START_TEST(test_no_lost_kick)
{
	struct net_fixture *f = net_open(all_features[_i]);

	net_pump(f);
	f->net.dev.transport.interrupt = queue_at_interrupt;
	queue_packet(f, 60, 1, 0);
	ck_assert(virtq_driver_needs_kick(&f->tx, f->net.dev.queue[1].event_idx));
	net_kick(f, 1);
	expect_wire(f, 60, 1);
	expect_wire(f, 61, 2);
	queue_packet(f, 62, 3, 0);
	ck_assert(virtq_driver_needs_kick(&f->tx, f->net.dev.queue[1].event_idx));
	net_close(f);
}
END_TEST

static void expect_broken(struct net_fixture *f)
{
	net_kick(f, 1);
	ck_assert_uint_eq(f->needs_reset, 1);
	queue_packet(f, 60, 1, 0);
	net_kick(f, 1);
	expect_silence(f);

	net_reset(f);
	net_start(f, 0, 128);
	queue_packet(f, 70, 2, 0);
	net_kick(f, 1);
	expect_used(f);
	expect_wire(f, 70, 2);
	ck_assert_uint_eq(f->needs_reset, 1);
	net_close(f);
}

START_TEST(test_writable)
{
	struct net_fixture *f = net_open(0);
	struct virtq_piece pieces[] = {{0x800000, 100, false}, {0x900000, 2000, true}};

	virtq_driver_send(&f->tx, pieces + _i, 2 - (unsigned int)_i);
	expect_broken(f);
}
END_TEST

START_TEST(test_malformed_ring)
{
	struct net_fixture *f = net_open(0);

	switch (_i) {
	case 0:
		virtq_driver_set_desc(&f->tx, 255, 64 << 20, 60, 0, 0);
		break;
	case 1:
		virtq_driver_set_desc(&f->tx, 255, 0x800000, 60, VRING_DESC_F_NEXT, 255);
		break;
	case 2:
		virtq_driver_set_desc(&f->tx, 255, 0x800000, 16, VRING_DESC_F_INDIRECT, 0);
		break;
	case 3:
		virtq_driver_set_desc(&f->tx, 255, 0x800000, 60, VRING_DESC_F_NEXT, 256);
		break;
	}
	virtq_driver_put(&f->tx, _i == 4 ? 256 : 255);
	virtq_driver_publish(&f->tx);
	if (_i == 5)
		virtq_driver_set_avail_idx(&f->tx, 257);
	expect_broken(f);
}
END_TEST

START_TEST(test_breaks_later)
{
	struct net_fixture *f = net_open(0);
	struct virtq_piece piece = {0x800000, 100, true};

	queue_packet(f, 60, 1, 0);
	virtq_driver_send(&f->tx, &piece, 1);
	queue_packet(f, 60, 2, 0);
	net_kick(f, 1);
	ck_assert_uint_eq(f->needs_reset, 1);
	ck_assert_uint_eq(virtq_driver_n_used(&f->tx), 1);
	expect_wire(f, 60, 1);
	expect_silence(f);
	net_close(f);
}
END_TEST

START_TEST(test_stop)
{
	struct net_fixture *f = net_open(0);

	queue_packet(f, 60, 1, 0);
	virtio_device_rekick(&f->net.dev, 1);
	net_reset(f);
	ck_assert_uint_eq(net_pump(f), 0);
	expect_silence(f);
	ck_assert_uint_eq(virtq_driver_n_used(&f->tx), 0);
	net_close(f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_net_tx");
	TCase *tc = tcase_create("tx");
	const int n = sizeof(all_features) / sizeof(all_features[0]);

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_lengths, 0, n);
	tcase_add_loop_test(tc, test_framings, 0, n);
	tcase_add_test(tc, test_header);
	tcase_add_loop_test(tc, test_refused_lengths, 0, n);
	tcase_add_test(tc, test_absurd_length);
	tcase_add_test(tc, test_congestion);
	tcase_add_test(tc, test_wire_gone);
	tcase_add_loop_test(tc, test_budget, 0, n);
	tcase_add_loop_test(tc, test_no_lost_kick, 0, n);
	tcase_add_loop_test(tc, test_writable, 0, 2);
	tcase_add_loop_test(tc, test_malformed_ring, 0, 6);
	tcase_add_test(tc, test_breaks_later);
	tcase_add_test(tc, test_stop);
	suite_add_tcase(suite, tc);
	return net_run(suite);
}
