/* The network card on a real TAP, whose kernel checks headers and does the offloads. */
#include "tests/unit/tap_fixture.h"
#include "tests/unit/net_fixture.h"

#include <linux/ip.h>
#include <linux/tcp.h>

#define FLAGS	 (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define HEADERS	 (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct tcphdr))
#define SEGMENT	 1000u
#define SEGMENTS 50u
#define LARGE	 (NET_HDR + HEADERS + SEGMENTS * SEGMENT)

static uint8_t packet[2 * NET_PACKET_MAX], got[2 * NET_PACKET_MAX];

static struct net_fixture *open_tap(const char *name, uint64_t features)
{
	struct net_fixture *f = calloc(1, sizeof(*f));
	struct tap_config config = {.name = name, .fd = -1};

	ck_assert_ptr_nonnull(f);
	tap_make(name, FLAGS);
	tap_set_up(name, true);
	ck_assert_int_eq(tap_open(&f->tap, &config), 0);
	f->peer = tap_wire_open(name);
	net_open_on_tap(f);
	ck_assert_uint_eq(features & ~f->net.dev.features, 0);
	net_start(f, features, 256);
	while (net_post(f, 1600, 0))
		;
	net_kick(f, 0);
	return f;
}

static void close_tap(struct net_fixture *f)
{
	char name[IFNAMSIZ];

	memcpy(name, f->tap.name, sizeof(name));
	net_close(f);
	tap_remove(name, FLAGS);
}

static void queue_packet(struct net_fixture *f, const void *bytes, uint32_t len)
{
	struct virtq_piece pieces[32];
	gpa_t gpa = virtq_driver_alloc_copy(&f->tx, bytes, len);
	unsigned int n = virtq_driver_cut(pieces, 32, gpa, len, false, 4096);

	virtq_driver_send(&f->tx, pieces, n);
	net_kick(f, 1);
	ck_assert(virtq_driver_used(&f->tx, NULL, NULL));
}

/* A plain frame of a protocol that nobody speaks. */
static void plain(uint32_t len, uint32_t seed)
{
	net_fill(packet, len, seed);
	memset(packet + NET_HDR, 0xff, ETH_ALEN);
	packet[NET_HDR + 12] = 0x88;
	packet[NET_HDR + 13] = 0xb5;
}

/* The host sends the frame that plain() made. */
static void wire_send(struct net_fixture *f, uint32_t len)
{
	ck_assert_int_eq(send(f->peer, packet + NET_HDR, len, 0), (ssize_t)len);
}

/* One large TCP segment that the receiver, or a kernel on the way, is to cut into SEGMENTS. */
static void large(void)
{
	struct virtio_net_hdr_v1 hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
					.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
					.hdr_len = HEADERS,
					.gso_size = SEGMENT,
					.csum_start = sizeof(struct ethhdr) + sizeof(struct iphdr),
					.csum_offset = offsetof(struct tcphdr, check)};
	struct ethhdr eth = {.h_dest = {2}, .h_source = {2, 1}, .h_proto = htons(ETH_P_IP)};
	struct iphdr ip = {.version = 4,
			   .ihl = 5,
			   .tot_len = htons(LARGE - NET_HDR - sizeof(eth)),
			   .ttl = 64,
			   .protocol = IPPROTO_TCP,
			   .saddr = htonl(0x0a000001),
			   .daddr = htonl(0x0a000002)};
	struct tcphdr tcp = {.source = htons(1), .dest = htons(2), .doff = 5, .ack = 1};

	net_fill(packet, LARGE, 5);
	memcpy(packet, &hdr, sizeof(hdr));
	memcpy(packet + NET_HDR, &eth, sizeof(eth));
	memcpy(packet + NET_HDR + sizeof(eth), &ip, sizeof(ip));
	memcpy(packet + NET_HDR + sizeof(eth) + sizeof(ip), &tcp, sizeof(tcp));
}

/* The host's kernel hands over one large segment, as its own TCP does. */
static void wire_send_large(struct net_fixture *f)
{
	int on = 1;
	int fd = tap_wire_open(f->tap.name);
	struct virtio_net_hdr hdr;
	struct iovec iov[2] = {{&hdr, sizeof(hdr)}, {packet + NET_HDR, LARGE - NET_HDR}};

	large();
	memcpy(&hdr, packet, sizeof(hdr));
	ck_assert_int_eq(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	ck_assert_int_eq(writev(fd, iov, 2), (ssize_t)(sizeof(hdr) + LARGE - NET_HDR));
	close(fd);
}

START_TEST(test_frames)
{
	struct net_fixture *f = open_tap("n0", NET_MERGE | (_i ? NET_TSO : 0));

	for (uint32_t len = 72; len <= NET_HDR + 1514; len += 103) {
		plain(len, len);
		wire_send(f, len - NET_HDR);
		net_pump(f);
		ck_assert_uint_eq(net_take(f, got), len);
		ck_assert_mem_eq(got + NET_HDR, packet + NET_HDR, len - NET_HDR);
		ck_assert_uint_eq(got[0], 0);

		queue_packet(f, packet, len);
		ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), (ssize_t)(len - NET_HDR));
		ck_assert_mem_eq(got, packet + NET_HDR, len - NET_HDR);
	}
	ck_assert_uint_eq(f->log_lines, 0);
	close_tap(f);
}
END_TEST

START_TEST(test_receive_large)
{
	struct net_fixture *f = open_tap("n1", NET_MERGE | NET_TSO);
	struct virtio_net_hdr_v1 hdr;

	wire_send_large(f);
	net_pump(f);
	ck_assert_uint_eq(net_take(f, got), LARGE);
	memcpy(&hdr, got, sizeof(hdr));
	ck_assert_uint_eq(hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
	ck_assert_uint_eq(hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	ck_assert_uint_eq(hdr.gso_size, SEGMENT);
	ck_assert_uint_eq(hdr.num_buffers, (LARGE + 1599) / 1600);
	ck_assert_mem_eq(got + NET_HDR + HEADERS, packet + NET_HDR + HEADERS, SEGMENTS * SEGMENT);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	close_tap(f);
}
END_TEST

/* The same for a driver without offloads: cut and checksummed by the host. */
START_TEST(test_receive_cut)
{
	struct net_fixture *f = open_tap("n2", _i ? NET_MERGE : 0);

	wire_send_large(f);
	net_pump(f);
	for (unsigned int i = 0; i < SEGMENTS; i++) {
		ck_assert_uint_eq(net_take(f, got), NET_HDR + HEADERS + SEGMENT);
		ck_assert_uint_eq(got[0], 0);
		ck_assert_uint_eq(got[1], VIRTIO_NET_HDR_GSO_NONE);
		ck_assert_uint_eq(got[10], 1);
		ck_assert_mem_eq(got + NET_HDR + HEADERS, packet + NET_HDR + HEADERS + i * SEGMENT,
				 SEGMENT);
	}
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	close_tap(f);
}
END_TEST

/* A driver without offloads never sees what waited for one that had them. */
START_TEST(test_next_driver)
{
	struct net_fixture *f = open_tap("n3", NET_MERGE | NET_TSO);

	wire_send_large(f);
	net_reset(f);
	ck_assert_uint_eq(f->tap.be.offloads_on, 0);
	wire_send_large(f);
	net_start(f, 0, 256);
	while (net_post(f, 1600, 0))
		;
	net_kick(f, 0);
	for (unsigned int i = 0; i < SEGMENTS; i++)
		ck_assert_uint_eq(net_take(f, got), NET_HDR + HEADERS + SEGMENT);
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 0);
	close_tap(f);
}
END_TEST

START_TEST(test_send_large)
{
	struct net_fixture *f = open_tap("n4", 0);
	struct virtio_net_hdr hdr;
	int on = 1;

	ck_assert_int_eq(setsockopt(f->peer, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	large();
	queue_packet(f, packet, LARGE);
	ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0),
			 (ssize_t)(sizeof(hdr) + LARGE - NET_HDR));
	memcpy(&hdr, got, sizeof(hdr));
	ck_assert_uint_eq(hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	ck_assert_uint_eq(hdr.gso_size, SEGMENT);
	ck_assert_mem_eq(got + sizeof(hdr), packet + NET_HDR, LARGE - NET_HDR);
	ck_assert_uint_eq(f->log_lines, 0);
	close_tap(f);
}
END_TEST

/* Headers that make no sense: the kernel refuses them, the packet is lost and nothing else. */
START_TEST(test_send_bad_header)
{
	static const struct virtio_net_hdr_v1 bad[] = {
		{.gso_type = 0x7f, .gso_size = 100},
		{.gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 0},
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff},
		{.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 1000, .csum_offset = 6},
		{.hdr_len = 0xffff},
	};
	struct net_fixture *f = open_tap("n5", 0);

	for (unsigned int i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		plain(100, i);
		memcpy(packet, &bad[i], sizeof(bad[i]));
		queue_packet(f, packet, 100);
		ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), -1);
	}
	ck_assert_str_eq(f->log_last,
			 "net 'n5': dropped a packet of 100 bytes with an invalid header");
	plain(100, 9);
	queue_packet(f, packet, 100);
	ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), 88);
	ck_assert_uint_eq(f->needs_reset, 0);
	close_tap(f);
}
END_TEST

static unsigned int status_of(struct net_fixture *f)
{
	struct virtio_net_config config;

	virtio_device_config_get(&f->net.dev, 0, &config, sizeof(config));
	return config.status;
}

START_TEST(test_link)
{
	struct net_fixture *f = open_tap("n6", NET_MERGE);

	ck_assert_uint_eq(status_of(f), VIRTIO_NET_S_LINK_UP);
	tap_set_up("n6", false);
	net_pump(f);
	ck_assert_uint_eq(f->config_changes, 1);
	ck_assert_uint_eq(status_of(f), 0);
	plain(100, 1);
	queue_packet(f, packet, 100);
	ck_assert_uint_eq(f->log_lines, 0);

	tap_set_up("n6", true);
	ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), -1); /* takes the wire's ENETDOWN */
	net_pump(f);
	ck_assert_uint_eq(f->config_changes, 2);
	ck_assert_uint_eq(status_of(f), VIRTIO_NET_S_LINK_UP);
	wire_send(f, 88);
	net_pump(f);
	ck_assert_uint_eq(net_take(f, got), 100);
	close_tap(f);
}
END_TEST

/* Somebody deletes the interface: the card is unplugged, once, and nothing spins. */
START_TEST(test_removed)
{
	struct net_fixture *f = open_tap("n7", NET_MERGE | NET_TSO);

	tap_delete("n7");
	net_pump(f);
	ck_assert_uint_eq(status_of(f), 0);
	ck_assert_uint_eq(f->log_lines, 1);
	ck_assert_str_eq(f->log_last,
			 "net 'n7': lost the TAP interface: File descriptor in bad state");
	plain(100, 1);
	queue_packet(f, packet, 100);
	net_reset(f);
	net_start(f, NET_TSO, 16);
	net_kick(f, 0);
	ck_assert_uint_eq(f->log_lines, 1);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

/* A burst that the ring cannot take waits in the TAP, and is read in bounded helpings. */
START_TEST(test_burst)
{
	struct net_fixture *f = open_tap("n8", NET_MERGE);
	unsigned int n = 0;

	plain(100, 1);
	for (int i = 0; i < 600; i++)
		wire_send(f, 88);
	ck_assert(net_call(&f->net.pair[0].rx.watch));
	ck_assert_uint_eq(virtq_driver_n_used(&f->rx), 256);
	ck_assert_uint_eq(f->interrupts[0], 256 / 64);
	while (net_take(f, got) == 100) {
		ck_assert_mem_eq(got + NET_HDR, packet + NET_HDR, 88);
		ck_assert(net_post(f, 1600, 0));
		net_kick(f, 0);
		n++;
	}
	ck_assert_uint_eq(n, 600);
	close_tap(f);
}
END_TEST

/* The last packet of a helping finds too few buffers: no frame that may come wakes us for it, so we do. */
START_TEST(test_held_at_end_of_budget)
{
	struct net_fixture *f = open_tap("n9", NET_MERGE);

	net_reset(f);
	net_start(f, NET_MERGE, 256);
	while (net_post(f, 300, 0))
		;
	net_kick(f, 0);
	plain(1000, 1);
	for (int i = 0; i < 255; i++)
		wire_send(f, 88);
	wire_send(f, 988);
	ck_assert(net_call(&f->net.pair[0].rx.watch));
	ck_assert_uint_eq(f->net.pair[0].rx.held, 1000);
	ck_assert_uint_eq(f->net.pair[0].rx.watch.events, 0);
	for (int i = 0; i < 255; i++)
		ck_assert_uint_eq(net_take(f, got), 100);
	while (net_post(f, 300, 0))
		;
	net_pump(f);
	ck_assert_uint_eq(net_take(f, got), 1000);
	ck_assert_mem_eq(got + NET_HDR, packet + NET_HDR, 988);
	close_tap(f);
}
END_TEST

int main(void)
{
	Suite *suite;
	TCase *tc;
	int skip = tap_enter();

	if (skip)
		return skip;
	suite = suite_create("virtio_net_tap");
	tc = tcase_create("tap");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, test_frames, 0, 2);
	tcase_add_test(tc, test_receive_large);
	tcase_add_loop_test(tc, test_receive_cut, 0, 2);
	tcase_add_test(tc, test_next_driver);
	tcase_add_test(tc, test_send_large);
	tcase_add_test(tc, test_send_bad_header);
	tcase_add_test(tc, test_link);
	tcase_add_test(tc, test_removed);
	tcase_add_test(tc, test_burst);
	tcase_add_test(tc, test_held_at_end_of_budget);
	suite_add_tcase(suite, tc);
	return net_run(suite);
}
