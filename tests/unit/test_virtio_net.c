/* The network card's negotiation, configuration space and life, on a socket pair. */
#include "tests/unit/net_fixture.h"
#include "virtio/mac.h"

#define BIT(feature) (UINT64_C(1) << (feature))

static struct virtio_net_config config_of(struct net_fixture *f)
{
	struct virtio_net_config config;

	virtio_device_config_get(&f->net.dev, 0, &config, sizeof(config));
	return config;
}

/* A card on no wire at all, for what is decided at init. */
static struct net_fixture *open_bare(unsigned int offloads, unsigned int mtu, bool up)
{
	struct net_fixture *f = calloc(1, sizeof(*f));

	ck_assert_ptr_nonnull(f);
	f->peer = -1;
	tap_init(&f->tap);
	strcpy(f->tap.name, "fake0");
	f->tap.be.mtu = mtu;
	f->tap.be.offloads = offloads;
	f->tap.be.link_up = up;
	net_open_on_tap(f);
	return f;
}

START_TEST(test_features)
{
	const uint64_t always = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
				BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) |
				BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_MAC) |
				BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_CTRL_VQ) |
				BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
				BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |
				NET_V1 | NET_EVENT | NET_INDIRECT;
	const uint64_t set = always | BIT(VIRTIO_NET_F_MTU) | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	struct net_fixture *f = open_bare(0, 0, true);

	ck_assert_uint_eq(f->net.dev.features, always);
	net_close(f);
	f = open_bare(TUN_F_CSUM, 1500, true);
	ck_assert_uint_eq(f->net.dev.features, set | BIT(VIRTIO_NET_F_GUEST_CSUM));
	net_close(f);
	f = open_bare(NET_TUN_TSO | TUN_F_TSO_ECN, 1500, true);
	ck_assert_uint_eq(f->net.dev.features, set | NET_TSO | BIT(VIRTIO_NET_F_GUEST_ECN));
	net_close(f);
	f = open_bare(NET_TUN_TSO | TUN_F_USO4 | TUN_F_USO6, 1500, true);
	ck_assert_uint_eq(f->net.dev.features, set | NET_TSO | BIT(VIRTIO_NET_F_GUEST_USO4) |
						       BIT(VIRTIO_NET_F_GUEST_USO6) |
						       BIT(VIRTIO_NET_F_HOST_USO));
	net_close(f);
}
END_TEST

START_TEST(test_config)
{
	static const uint8_t mac[ETH_ALEN] = {0x52, 0x54, 0, 1, 2, 3};
	struct net_fixture *f = open_bare(0, 9000, true);

	ck_assert_mem_eq(config_of(f).mac, mac, ETH_ALEN);
	ck_assert_uint_eq(config_of(f).mtu, 9000);
	ck_assert_uint_eq(config_of(f).status, VIRTIO_NET_S_LINK_UP);
	ck_assert_uint_eq(config_of(f).speed, 0);
	ck_assert_uint_eq(f->net.dev.config_size, 12);
	ck_assert_uint_eq(f->net.dev.id, 1);
	ck_assert_uint_eq(f->net.dev.n_queues, 3);
	ck_assert_uint_eq(f->net.dev.queue_size, 256);
	ck_assert_str_eq(f->net.dev.name, "net 'fake0'");
	net_close(f);

	f = open_bare(0, 0, false);
	ck_assert_uint_eq(config_of(f).status, 0);
	ck_assert_uint_eq(config_of(f).mtu, 0);
	net_close(f);
}
END_TEST

START_TEST(test_default_mac)
{
	struct net_fixture *f = open_bare(0, 0, true);
	struct virtio_net_options options = {.loop = &f->loop, .backend = &f->tap.be};
	uint8_t mac[ETH_ALEN];

	virtio_net_fini(&f->net);
	memset(&f->net, 0xff, sizeof(f->net)); /* init relies on no cleared memory */
	ck_assert_int_eq(virtio_net_init(&f->net, &options), 0);
	mac_default(mac, "fake0");
	ck_assert_mem_eq(config_of(f).mac, mac, ETH_ALEN);
	net_close(f);
}
END_TEST

/* A backend with an address of its own has the card take it, and refuses another. */
START_TEST(test_backend_mac)
{
	static const uint8_t own[ETH_ALEN] = {2, 9, 9, 9, 9, 9},
			     other[ETH_ALEN] = {2, 8, 8, 8, 8, 8};
	struct net_fixture *f = open_bare(0, 0, true);
	struct virtio_net_options options = {.loop = &f->loop, .backend = &f->tap.be};
	unsigned int lines;

	f->tap.be.mac = own;
	virtio_net_fini(&f->net);
	ck_assert_int_eq(virtio_net_init(&f->net, &options), 0);
	ck_assert_mem_eq(config_of(f).mac, own, ETH_ALEN);
	lines = f->log_lines;
	virtio_net_fini(&f->net);
	options.mac = other;
	ck_assert_int_eq(virtio_net_init(&f->net, &options), -EINVAL);
	ck_assert_uint_eq(f->log_lines, lines + 1);
	ck_assert_ptr_nonnull(strstr(f->log_last, "no frames for the address of net 'fake0'"));
	options.mac = own;
	ck_assert_int_eq(virtio_net_init(&f->net, &options), 0);
	net_close(f);
}
END_TEST

/* A loop that cannot watch the link makes init fail, and leaves nothing behind. */
START_TEST(test_init_fails)
{
	struct net_fixture *f = open_bare(0, 0, true);
	struct virtio_net_options options = {.loop = &f->loop, .backend = &f->tap.be};

	virtio_net_fini(&f->net);
	f->tap.be.link_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* epoll takes no files */
	ck_assert_int_eq(virtio_net_init(&f->net, &options), -EPERM);
	close(f->tap.be.link_fd);
	ck_assert_int_eq(virtio_net_init(&f->net, &options), 0);
	net_close(f);
}
END_TEST

static int read_link_of_the_dead(struct net_backend *be)
{
	be->link_up = false;
	return -EPIPE;
}

/* A backend that says by its link that it is gone: one line, the link goes down, and the descriptor is left alone. */
START_TEST(test_gone_by_link)
{
	struct net_backend_ops ops = {.read_link = read_link_of_the_dead};
	struct net_fixture *f = calloc(1, sizeof(*f));
	int fds[2];

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(pipe(fds), 0);
	ck_assert_int_eq(write(fds[1], "x", 1), 1);
	f->peer = -1;
	tap_init(&f->tap);
	strcpy(f->tap.name, "fake0");
	f->tap.be.ops = &ops;
	f->tap.be.link_fd = fds[0];
	net_open_on_tap(f);
	ck_assert_uint_eq(config_of(f).status, VIRTIO_NET_S_LINK_UP);
	ck_assert(net_call(&f->net.link_watch));
	ck_assert(!net_call(&f->net.link_watch));
	ck_assert_uint_eq(config_of(f).status, 0);
	ck_assert_uint_eq(f->log_lines, 1);
	ck_assert_str_eq(f->log_last, "net 'fake0': lost the TAP interface: Broken pipe");
	f->tap.be.link_fd = -1;
	net_close(f);
	close(fds[0]);
	close(fds[1]);
}
END_TEST

static int read_link_again(struct net_backend *be)
{
	be->link_up = !be->link_up;
	return 1;
}

/* The driver is to announce itself when it has seen the link again, not together with that. */
START_TEST(test_announce_after_link)
{
	struct net_backend_ops ops = {.read_link = read_link_again};
	struct net_fixture *f = open_bare(0, 0, true);
	struct evloop_timer *timer = &f->net.announce_timer;

	f->tap.be.ops = &ops;
	f->net.dev.started = true;
	f->net.dev.negotiated = BIT(VIRTIO_NET_F_GUEST_ANNOUNCE);
	for (unsigned int i = 0; i < 3; i++) {
		f->net.link_watch.fn(f->net.link_watch.arg, EPOLLIN);
		ck_assert_uint_eq(config_of(f).status, 0);
		ck_assert(!timer->armed);
		f->net.link_watch.fn(f->net.link_watch.arg, EPOLLIN);
		ck_assert_uint_eq(config_of(f).status, VIRTIO_NET_S_LINK_UP);
		ck_assert(timer->armed);
	}
	evloop_timer_cancel(&f->loop, timer);
	timer->fn(timer->arg);
	ck_assert_uint_eq(config_of(f).status, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	/* Not when the backend has gone by then. */
	f->net.announce = false;
	ops.read_link = read_link_of_the_dead;
	f->net.link_watch.fn(f->net.link_watch.arg, EPOLLIN);
	timer->fn(timer->arg);
	ck_assert_uint_eq(config_of(f).status, 0);
	f->net.dev.started = false;
	net_close(f);
}
END_TEST

START_TEST(test_offloads_refused)
{
	struct net_fixture *f = net_open(0);

	net_reset(f);
	f->tap.be.offloads = NET_TUN_TSO; /* but the "TAP" takes none */
	net_start(f, NET_TSO, 256);
	ck_assert_uint_eq(f->log_lines, 1);
	ck_assert_ptr_nonnull(strstr(f->log_last, "net 'fake0': cannot turn on offloads: "));
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

static int take_offloads(struct net_backend *backend, unsigned int offloads)
{
	(void)backend;
	(void)offloads;
	return 0;
}

/* Frames that still wait at a reset may have been made for what that driver took: the next one does not get them. */
START_TEST(test_stale_frames)
{
	struct net_fixture *f = net_open(NET_MERGE | NET_TSO);
	struct net_backend_ops ops = *f->tap.be.ops;
	uint8_t frame[200];

	ops.set_offloads = take_offloads;
	f->tap.be.ops = &ops;
	for (uint32_t i = 0; i < 5; i++) {
		net_fill(frame, sizeof(frame), i);
		ck_assert(net_wire_send(f, frame, sizeof(frame)));
	}
	net_reset(f);
	net_start(f, 0, 4);
	net_fill(frame, sizeof(frame), 5);
	ck_assert(net_wire_send(f, frame, sizeof(frame)));
	ck_assert(net_post(f, NET_PACKET_MAX, 0));
	net_kick(f, 0);
	net_expect(f, sizeof(frame), 5);
	net_close(f);
}
END_TEST

static struct net_fixture *reader_of;
static int n_reads;

/* The driver turns the queue off while a packet is read; from then on the backend has none. */
static ssize_t read_and_turn_off(struct net_backend *backend, unsigned int pair,
				 const struct iovec *iov, unsigned int n_iov)
{
	(void)backend;
	(void)pair;
	if (n_reads++ > 0)
		return -EBADFD;
	net_rx_set_active(&reader_of->net.pair[0].rx, false);
	memset(iov[0].iov_base, 0, iov[0].iov_len);
	return n_iov > 0 ? (ssize_t)iov[0].iov_len : 0;
}

/* Nothing is read then, so that a backend that says no more than that is not taken for one that has gone. */
START_TEST(test_turned_off_in_a_batch)
{
	struct net_fixture *f = net_open(NET_MERGE);
	struct net_backend_ops ops = *f->tap.be.ops;

	net_reset(f);
	net_start(f, NET_MERGE, 256);
	ops.read = read_and_turn_off;
	f->tap.be.ops = &ops;
	reader_of = f;
	n_reads = 0;
	for (int i = 0; i < 4; i++)
		ck_assert(net_post(f, 1500, 0));
	net_kick(f, 0);
	ck_assert_int_eq(n_reads, 1);
	ck_assert_uint_eq(f->log_lines, 0);
	net_close(f);
}
END_TEST

/* The loop on its own thread, both directions at once, with resets in between. */
static void echo_once(struct net_fixture *f, uint32_t seed)
{
	static uint8_t packet[2000], got[2000];
	struct virtq_piece piece = {.len = 1000};
	struct pollfd p = {.fd = f->peer, .events = POLLIN};

	net_fill(packet, 1000, seed);
	piece.gpa = virtq_driver_alloc_copy(&f->tx, packet, 1000);
	virtq_driver_send(&f->tx, &piece, 1);
	virtio_device_rekick(&f->net.dev, 1);
	ck_assert_int_eq(poll(&p, 1, 10000), 1);
	ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), 1000);
	ck_assert_mem_eq(got, packet, 1000);

	ck_assert(net_wire_send(f, packet, 1000));
	for (int i = 0; i < 10000 && virtq_driver_n_used(&f->rx) == 0; i++)
		usleep(1000);
	net_expect(f, 1000, seed);
	ck_assert(net_post(f, 1500, 0));
	virtio_device_rekick(&f->net.dev, 0);
}

static void restart(void *arg)
{
	net_start(arg, NET_MERGE, 256);
}

START_TEST(test_threads)
{
	struct net_fixture *f = net_open(NET_MERGE);

	ck_assert_int_eq(evloop_start(&f->loop, "io"), 0);
	for (uint32_t round = 0; round < 20; round++) {
		unsigned int before = f->stopped;

		for (int i = 0; i < 100; i++)
			ck_assert(net_post(f, 1500, 0));
		virtio_device_rekick(&f->net.dev, 0);
		for (uint32_t i = 0; i < 20; i++)
			echo_once(f, 100 * round + i);
		virtio_device_stop(&f->net.dev);
		evloop_call(&f->loop, restart, f); /* tasks run in order: after the stop */
		ck_assert_uint_eq(f->stopped, before + 1);
	}
	evloop_stop(&f->loop);
	net_close(f);
}
END_TEST

#define STRESS_PACKETS	5000u
#define STRESS_WINDOW	6u		      /* on the wire at a time; a socket pair holds few */
#define STRESS_PATIENCE UINT64_C(50000000000) /* ns without a packet */

static void kick_if_asked(struct net_fixture *f, unsigned int queue, struct virtq_driver *drv)
{
	if (virtq_driver_needs_kick(drv, f->net.dev.queue[queue].event_idx))
		virtio_device_rekick(&f->net.dev, queue);
}

static void stress_transmit(struct net_fixture *f, unsigned int *sent, unsigned int *got)
{
	struct virtq_piece piece = {.gpa = f->tx.heap, .len = 60};
	uint32_t value = 0;
	uint8_t packet[100];

	while (virtq_driver_used(&f->tx, NULL, NULL))
		;
	/* one at a time: a second kick would make up for a lost one */
	if (*sent < STRESS_PACKETS && *sent == *got) {
		piece.gpa = f->tx.heap + (*sent % 256) * 64u;
		ck_assert_int_eq(guest_mem_write(&f->mem, piece.gpa + 40, sent, sizeof(*sent)), 0);
		virtq_driver_send(&f->tx, &piece, 1);
		kick_if_asked(f, 1, &f->tx);
		(*sent)++;
	}
	while (recv(f->peer, packet, sizeof(packet), 0) == 60) {
		memcpy(&value, packet + 40, sizeof(value));
		ck_assert_uint_eq(value, (*got)++);
	}
}

static void stress_receive(struct net_fixture *f, unsigned int *sent, unsigned int *got)
{
	static uint8_t packet[2000];

	/* few buffers, so that the device often runs out of them */
	for (int i = 0; i < 3 && net_post(f, 300, 0); i++)
		kick_if_asked(f, 0, &f->rx);
	while (*sent < STRESS_PACKETS && *sent - *got < STRESS_WINDOW) {
		uint32_t len = 60 + *sent * 37 % 1400;

		net_fill(packet, len, *sent);
		if (!net_wire_send(f, packet, len))
			break;
		(*sent)++;
	}
	while (virtq_driver_n_used(&f->rx) > 0) {
		net_expect(f, 60 + *got * 37 % 1400, *got);
		(*got)++;
	}
}

/* A driver that kicks only when asked to, against a device at work: no packet waits for a kick for ever. */
START_TEST(test_stress)
{
	static const uint64_t features[] = {NET_MERGE, NET_MERGE | NET_EVENT};
	struct net_fixture *f = net_open(features[_i]);
	unsigned int tx_sent = 0, tx_got = 0, rx_sent = 0, rx_got = 0;
	unsigned int got = 0;
	uint64_t end = evloop_now() + STRESS_PATIENCE;

	ck_assert_int_eq(evloop_start(&f->loop, "io"), 0);
	while (tx_got < STRESS_PACKETS || rx_got < STRESS_PACKETS) {
		stress_transmit(f, &tx_sent, &tx_got);
		stress_receive(f, &rx_sent, &rx_got);
		if (tx_got + rx_got > got) {
			got = tx_got + rx_got;
			end = evloop_now() + STRESS_PATIENCE;
		}
		ck_assert_msg(evloop_now() < end, "stuck: %u %u %u %u", tx_sent, tx_got, rx_sent,
			      rx_got);
	}
	evloop_stop(&f->loop);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio_net");
	TCase *tc = tcase_create("net");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_features);
	tcase_add_test(tc, test_config);
	tcase_add_test(tc, test_default_mac);
	tcase_add_test(tc, test_backend_mac);
	tcase_add_test(tc, test_init_fails);
	tcase_add_test(tc, test_gone_by_link);
	tcase_add_test(tc, test_announce_after_link);
	tcase_add_test(tc, test_offloads_refused);
	tcase_add_test(tc, test_stale_frames);
	tcase_add_test(tc, test_turned_off_in_a_batch);
	tcase_add_test(tc, test_threads);
	tcase_add_loop_test(tc, test_stress, 0, 2);
	suite_add_tcase(suite, tc);
	return net_run(suite);
}
