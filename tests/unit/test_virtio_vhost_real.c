/* virtio/vhost_net on the kernel's own vhost-net and a real TAP; boot/test_vhost.sh runs it where those are. */
#include "tests/unit/tap_fixture.h"
#include "tests/unit/net_fixture.h"

#define FLAGS  (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define SUITED (NET_MERGE | NET_TSO)

static int real_open(void *arg)
{
	int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);

	(void)arg;
	return fd < 0 ? -errno : fd;
}

static int real_control(void *arg, int fd, unsigned long request, void *data)
{
	(void)arg;
	return ioctl(fd, request, data) < 0 ? -errno : 0;
}

static const struct vhost_net_host host = {.open = real_open, .control = real_control};

static struct net_fixture *open_card(const char *name, uint64_t features)
{
	struct net_fixture *f = calloc(1, sizeof(*f));
	struct tap_config config = {.name = name, .fd = -1};

	ck_assert_ptr_nonnull(f);
	f->vhost_host = &host;
	tap_make(name, FLAGS);
	tap_set_up(name, true);
	ck_assert_int_eq(tap_open(&f->tap, &config), 0);
	f->peer = tap_wire_open(name);
	net_open_on_tap(f);
	net_start(f, features, 256);
	return f;
}

static void close_card(struct net_fixture *f)
{
	char name[IFNAMSIZ];

	memcpy(name, f->tap.name, sizeof(name));
	net_close(f);
	tap_remove(name, FLAGS);
}

static void pump(struct net_fixture *f)
{
	net_pump(f);
	net_call(&f->vhost.error);
	net_call(&f->vhost.queue[0].call);
	net_call(&f->vhost.queue[1].call);
}

/* The kernel works on a thread of its own: waits, some seconds at most, for what it does. */
#define AWAIT(f, cond)                                                                             \
	do {                                                                                       \
		uint64_t end = evloop_now() + 10000000000;                                         \
                                                                                                   \
		do {                                                                               \
			pump(f);                                                                   \
			usleep(100);                                                               \
		} while (!(cond) && evloop_now() < end);                                           \
		ck_assert_msg(cond, "waited in vain for %s", #cond);                               \
	} while (0)

static void plain(uint8_t *packet, uint32_t len, uint32_t seed)
{
	net_fill(packet, len, seed);
	memset(packet + NET_HDR, 0xff, ETH_ALEN);
	packet[NET_HDR + 12] = 0x88;
	packet[NET_HDR + 13] = 0xb5;
}

static void queue_packet(struct net_fixture *f, const void *bytes, uint32_t len, bool writable)
{
	struct virtq_piece piece = {virtq_driver_alloc_copy(&f->tx, bytes, len), len, writable};

	virtq_driver_send(&f->tx, &piece, 1);
	virtio_device_rekick(&f->net.dev, 1);
}

/* A frame each way, with an interrupt for each. */
static void check_serves(struct net_fixture *f, uint32_t len)
{
	static uint8_t packet[2000], got[2000];
	unsigned int rx = f->interrupts[0], tx = f->interrupts[1];

	while (net_post(f, 1600, 0))
		;
	virtio_device_rekick(&f->net.dev, 0);
	plain(packet, len, len);
	ck_assert_int_eq(send(f->peer, packet + NET_HDR, len - NET_HDR, 0),
			 (ssize_t)(len - NET_HDR));
	AWAIT(f, virtq_driver_n_used(&f->rx) == 1 && f->interrupts[0] > rx);
	ck_assert_uint_eq(net_take(f, got), len);
	ck_assert_mem_eq(got + NET_HDR, packet + NET_HDR, len - NET_HDR);

	queue_packet(f, packet, len, false);
	AWAIT(f, virtq_driver_n_used(&f->tx) == 1 && f->interrupts[1] > tx);
	ck_assert(virtq_driver_used(&f->tx, NULL, NULL));
	ck_assert_int_eq(recv(f->peer, got, sizeof(got), 0), (ssize_t)(len - NET_HDR));
	ck_assert_mem_eq(got, packet + NET_HDR, len - NET_HDR);
}

/* Drivers come and go; each is served, and what is known of the rings afterwards is what the kernel did. */
START_TEST(test_frames)
{
	struct net_fixture *f = open_card("v0", SUITED);
	struct virtio_device *dev = &f->net.dev;

	for (unsigned int round = 1; round <= 3; round++) {
		ck_assert(f->vhost.queue[0].running && f->vhost.queue[1].running);
		for (uint32_t len = 100; len <= 1500; len += 200)
			check_serves(f, len);
		net_reset(f);
		ck_assert_uint_eq(f->stopped, round);
		ck_assert_uint_eq(dev->queue[0].state.next_avail, 8);
		ck_assert_uint_eq(dev->queue[1].state.next_avail, 8);
		ck_assert_uint_eq(f->tx.used->idx, 8);
		net_start(f, SUITED, 256);
	}
	/* The last driver takes no offloads. */
	net_reset(f);
	net_start(f, 0, 256);
	ck_assert(!f->vhost.queue[0].running && !f->vhost.queue[1].running);
	check_serves(f, 300);
	ck_assert_uint_eq(f->needs_reset, 0);
	close_card(f);
}
END_TEST

/* Frames that cannot be sent are used all the same, and the next one is sent. */
START_TEST(test_bad_frames)
{
	static const uint32_t sizes[] = {1, NET_HDR - 1, NET_HDR, NET_HDR + 13, 200};
	struct net_fixture *f = open_card("v1", SUITED);

	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct virtio_net_hdr_v1 hdr = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
						.csum_start = 1000};
		uint8_t packet[200] = {0};

		memcpy(packet, &hdr, sizeof(hdr));
		queue_packet(f, packet, sizes[i], false);
		AWAIT(f, virtq_driver_n_used(&f->tx) == 1);
		ck_assert(virtq_driver_used(&f->tx, NULL, NULL));
	}
	check_serves(f, 300);
	close_card(f);
}
END_TEST

enum damage {
	MANY,	  /* more chains than the ring holds */
	OUTSIDE,  /* a buffer that is no memory */
	LOOP,	  /* a chain without an end */
	WRITABLE, /* a buffer to be sent that is one to be written to */
	READABLE, /* the other way round */
	N_DAMAGES,
};

static void damage(struct net_fixture *f, enum damage how)
{
	static uint8_t packet[100];
	struct virtq_piece piece = {virtq_driver_alloc_copy(&f->rx, packet, sizeof(packet)),
				    sizeof(packet), false};

	switch (how) {
	case MANY:
		virtq_driver_set_avail_idx(&f->tx, 1000);
		break;
	case OUTSIDE:
	case LOOP:
		virtq_driver_set_desc(&f->tx, 0, how == LOOP ? 1 << 20 : UINT64_C(1) << 40, 100,
				      how == LOOP ? VRING_DESC_F_NEXT : 0, 0);
		virtq_driver_put(&f->tx, 0);
		virtq_driver_publish(&f->tx);
		break;
	case WRITABLE:
		queue_packet(f, packet, sizeof(packet), true);
		break;
	default:
		virtq_driver_send(&f->rx, &piece, 1);
		plain(packet, sizeof(packet), 1);
		ck_assert_int_eq(send(f->peer, packet, sizeof(packet), 0), sizeof(packet));
	}
	virtio_device_rekick(&f->net.dev, 0);
	virtio_device_rekick(&f->net.dev, 1);
}

/* The device asks for a reset, once, serves nothing any more, and the next driver is served. */
START_TEST(test_malformed)
{
	struct net_fixture *f = open_card("v1", SUITED);

	if (_i != READABLE)
		check_serves(f, 200);
	damage(f, (enum damage)_i);
	AWAIT(f, f->needs_reset == 1);
	ck_assert(f->net.dev.broken);
	virtio_device_rekick(&f->net.dev, 0);
	virtio_device_rekick(&f->net.dev, 1);
	usleep(20000);
	pump(f);
	ck_assert_uint_eq(f->needs_reset, 1);
	net_reset(f);
	net_start(f, SUITED, 256);
	check_serves(f, 400);
	close_card(f);
}
END_TEST

/* The interface is taken away: it is told, the link goes down, and the driver may go on resetting and starting. */
START_TEST(test_tap_gone)
{
	struct net_fixture *f = open_card("v2", SUITED);
	struct virtio_net_config config;

	check_serves(f, 200);
	tap_delete("v2");
	AWAIT(f, atomic_load(&f->net.dead));
	virtio_device_config_get(&f->net.dev, 0, &config, sizeof(config));
	ck_assert_uint_eq(config.status, 0);
	ck_assert_str_eq(f->log_last,
			 "net 'v2': lost the TAP interface: File descriptor in bad state");
	virtio_device_rekick(&f->net.dev, 0);
	virtio_device_rekick(&f->net.dev, 1);
	usleep(20000);
	pump(f);
	net_reset(f);
	net_start(f, SUITED, 256);
	pump(f);
	net_reset(f);
	ck_assert_uint_eq(f->stopped, 2);
	ck_assert_uint_eq(f->needs_reset, 0);
	net_close(f);
}
END_TEST

int main(void)
{
	int skipped = tap_enter();
	Suite *s;
	TCase *tc;
	int fd;

	if (skipped)
		return skipped;
	fd = real_open(NULL);
	if (fd < 0) {
		printf("skipped: cannot open /dev/vhost-net: %s\n", strerror(-fd));
		return TAP_SKIPPED;
	}
	close(fd);
	s = suite_create("virtio_vhost_real");
	tc = tcase_create("vhost");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_frames);
	tcase_add_test(tc, test_bad_frames);
	tcase_add_loop_test(tc, test_malformed, 0, N_DAMAGES);
	tcase_add_test(tc, test_tap_gone);
	suite_add_tcase(s, tc);
	return net_run(s);
}
