/* The receive side of the network card against a driver that breaks the rules. */
#include "tests/unit/net_fixture.h"

#include <sys/syscall.h>

static uint8_t packet[30000];
static bool
	spoil; /* the next packet, as the kernel does with one that no header can describe: it is gone, and told as EINVAL */

ssize_t readv(int fd, const struct iovec *iov, int n)
{
	if (spoil && syscall(SYS_read, fd, packet, sizeof(packet)) > 0) {
		spoil = false;
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_readv, fd, iov, n);
}

static void send_filled(struct net_fixture *f, uint32_t len, uint32_t seed)
{
	net_fill(packet, len, seed);
	ck_assert(net_wire_send(f, packet, len));
}

static void expect_broken(struct net_fixture *f)
{
	net_kick(f, 0);
	ck_assert_uint_eq(f->needs_reset, 1);
	ck_assert_uint_eq(f->net.pair[0].rx.watch.events, 0);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);

	/* dead until a reset, then as new */
	send_filled(f, 60, 9);
	net_kick(f, 0);
	ck_assert_uint_eq(f->needs_reset, 1);
	net_reset(f);
	ck_assert_uint_eq(f->stopped, 1);
	net_start(f, NET_MERGE, 256);
	ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	net_expect(f, 60, 9);
	net_close(f);
}

START_TEST(test_readable_buffer)
{
	struct net_fixture *f = net_open(NET_MERGE);
	struct virtq_piece pieces[] = {{0x800000, 100, false}, {0x900000, 2000, true}};

	virtq_driver_send(&f->rx, pieces, 2);
	expect_broken(f);
}
END_TEST

START_TEST(test_short_buffer)
{
	struct net_fixture *f = net_open(_i ? NET_MERGE : 0);

	ck_assert(net_post(f, NET_HDR - 1, 0));
	expect_broken(f);
}
END_TEST

START_TEST(test_malformed_ring)
{
	struct net_fixture *f = net_open(NET_MERGE);

	switch (_i) {
	case 0: /* outside of memory */
		virtq_driver_set_desc(&f->rx, 0, UINT64_MAX - 10, 2000, VRING_DESC_F_WRITE, 0);
		break;
	case 1: /* a loop */
		virtq_driver_set_desc(&f->rx, 0, 0x800000, 2000,
				      VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 0);
		break;
	case 2: /* a table that was not negotiated */
		virtq_driver_set_desc(&f->rx, 0, 0x800000, 16, VRING_DESC_F_INDIRECT, 0);
		break;
	case 3: /* a table of nothing, as a buffer of no bytes */
		virtq_driver_set_desc(&f->rx, 0, 0x800000, 0, VRING_DESC_F_WRITE, 0);
		break;
	}
	virtq_driver_put(&f->rx, _i == 4 ? 999 : 0);
	virtq_driver_publish(&f->rx);
	if (_i == 5)
		virtq_driver_set_avail_idx(&f->rx, 300);
	expect_broken(f);
}
END_TEST

/* The ring breaks while the device is at work: what came before is delivered. */
START_TEST(test_breaks_later)
{
	struct net_fixture *f = net_open(NET_MERGE);

	ck_assert(net_post(f, 2000, 0));
	ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	send_filled(f, 100, 1);
	net_pump(f);
	net_expect(f, 100, 1);
	virtq_driver_set_avail_idx(&f->rx, 1000);
	send_filled(f, 100, 2);
	net_pump(f);
	ck_assert_uint_eq(f->needs_reset, 1);
	ck_assert_uint_eq(net_pump(f), 0);
	net_close(f);
}
END_TEST

/* The transmit ring breaks the device: the receive ring rests too. */
START_TEST(test_broken_by_transmit)
{
	struct net_fixture *f = net_open(NET_MERGE);

	ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	virtq_driver_set_avail_idx(&f->tx, 1000);
	net_kick(f, 1);
	ck_assert_uint_eq(f->needs_reset, 1);
	send_filled(f, 100, 1);
	net_pump(f);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	ck_assert_uint_eq(f->net.pair[0].rx.watch.events, 0);
	net_close(f);
}
END_TEST

/* One packet is no reason to give the interface up. */
START_TEST(test_lost_packet)
{
	struct net_fixture *f = net_open(NET_MERGE);

	ck_assert(net_post(f, 2000, 0));
	net_kick(f, 0);
	spoil = true;
	send_filled(f, 60, 1);
	net_pump(f);
	ck_assert(!spoil);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	send_filled(f, 70, 2);
	net_pump(f);
	net_expect(f, 70, 2);
	ck_assert_uint_eq(f->log_lines, 0);
	net_close(f);
}
END_TEST

/* All buffers that a small ring holds are less than the packet: those behind it do not wait for ever. */
START_TEST(test_ring_too_small)
{
	struct net_fixture *f = net_open(NET_MERGE | NET_TSO);

	net_reset(f);
	net_start(f, NET_MERGE | NET_TSO, 8);
	while (net_post(f, 2000, 0))
		;
	net_kick(f, 0);
	send_filled(f, 20000, 1);
	send_filled(f, 100, 2);
	net_pump(f);
	net_expect(f, 100, 2);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_net_rx_bad");
	TCase *tc = tcase_create("rx");

	tcase_add_test(tc, test_lost_packet);
	tcase_add_test(tc, test_ring_too_small);
	tcase_add_test(tc, test_readable_buffer);
	tcase_add_loop_test(tc, test_short_buffer, 0, 2);
	tcase_add_loop_test(tc, test_malformed_ring, 0, 6);
	tcase_add_test(tc, test_breaks_later);
	tcase_add_test(tc, test_broken_by_transmit);
	suite_add_tcase(suite, tc);
	return net_run(suite);
}
