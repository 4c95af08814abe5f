/* The control queue: what is parsed, refused and done, on the fixture's socket pair. */
#include "tests/unit/net_fixture.h"

#define BIT(feature) (UINT64_C(1) << (feature))
#define ALL                                                                                        \
	(BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | \
	 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_MQ) |                                  \
	 BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |                \
	 BIT(VIRTIO_NET_F_GUEST_CSUM))

/* ---- parsing ---- */

static int parse(struct net_ctrl_request *r, const void *bytes, size_t len, uint64_t features)
{
	struct iovec iov[64] = {0};
	unsigned int n = 0;

	/* any framing counts: pieces of 1, 2, 3, ... bytes */
	for (size_t at = 0; at < len; n++) {
		size_t piece = n + 1 < len - at ? n + 1 : len - at;

		iov[n] = (struct iovec){(uint8_t *)(uintptr_t)bytes + at, piece};
		at += piece;
	}
	return net_ctrl_parse(r, iov, n, features, 4);
}

static const struct {
	uint8_t len;
	uint8_t bytes[20];
	uint64_t needs; /* with all features but this it is refused */
	bool good;
} requests[] = {
	{3, {0, 0, 1}, BIT(VIRTIO_NET_F_CTRL_RX), true},
	{3, {0, 1, 0}, BIT(VIRTIO_NET_F_CTRL_RX), true},
	{3, {0, 2, 1}, BIT(VIRTIO_NET_F_CTRL_RX_EXTRA), true},
	{3, {0, 5, 1}, BIT(VIRTIO_NET_F_CTRL_RX_EXTRA), true},
	{3, {0, 6, 1}, 0, false},
	{2, {0, 0}, 0, false},
	{1, {0}, 0, false},
	{0, {0}, 0, false},
	{8, {1, 1, 2, 0, 0, 0, 0, 1}, BIT(VIRTIO_NET_F_CTRL_MAC_ADDR), true},
	{8, {1, 1, 3, 0, 0, 0, 0, 1}, 0, false}, /* a group's */
	{7, {1, 1, 2, 0, 0, 0, 0}, 0, false},
	{8, {1, 2, 2, 0, 0, 0, 0, 1}, 0, false},
	{10, {1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, BIT(VIRTIO_NET_F_CTRL_RX), true},
	{16, {1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0}, BIT(VIRTIO_NET_F_CTRL_RX), true},
	{12, {1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 1}, 0, false},		  /* no second table */
	{16, {1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0}, 0, false}, /* shorter than it says */
	{10, {1, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}, 0, false},	  /* much shorter */
	{10, {1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}, 0, false},
	{4, {3, 0, 0, 0}, BIT(VIRTIO_NET_F_GUEST_ANNOUNCE), true},
	{2, {3, 0}, BIT(VIRTIO_NET_F_GUEST_ANNOUNCE), true},
	{2, {3, 1}, 0, false},
	{4, {4, 0, 1, 0}, BIT(VIRTIO_NET_F_MQ), true},
	{4, {4, 0, 4, 0}, BIT(VIRTIO_NET_F_MQ), true},
	{4, {4, 0, 5, 0}, 0, false},
	{4, {4, 0, 0, 0}, 0, false},
	{3, {4, 0, 1}, 0, false},
	{4, {4, 1, 1, 0}, 0, false},
	{10, {5, 0, 2, 0, 0, 0, 0, 0, 0, 0}, BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS), true},
	{10, {5, 0, 0, 0, 0, 0, 0, 0, 0, 0}, BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS), true},
	{10, {5, 0, 0x82, 0, 0, 0, 0, 0, 0, 0}, 0, false}, /* TSO was not negotiated */
	{10, {5, 0, 1, 0, 0, 0, 0, 0, 0, 0}, 0, false},	   /* no offload of the guest */
	{9, {5, 0, 2, 0, 0, 0, 0, 0, 0}, 0, false},
	{3, {2, 0, 0}, 0, false}, /* VLAN, not offered */
	{3, {6, 0, 0}, 0, false},
	{3, {255, 255, 255}, 0, false},
};

START_TEST(test_parse)
{
	struct net_ctrl_request r;
	int want = requests[_i].good ? 0 : -EINVAL;

	ck_assert_int_eq(parse(&r, requests[_i].bytes, requests[_i].len, ALL), want);
	ck_assert_int_eq(parse(&r, requests[_i].bytes, requests[_i].len, ALL & ~requests[_i].needs),
			 requests[_i].needs ? -EINVAL : want);
}
END_TEST

/* More addresses than are kept are counted, and those behind them found. */
START_TEST(test_parse_many)
{
	uint8_t bytes[2 + 4 + 100 * 6 + 4 + 6] = {1, 0, 100};
	struct iovec iov = {bytes, sizeof(bytes)};
	struct net_ctrl_request r;

	bytes[606] = 1;
	bytes[610] = 1;
	bytes[611] = 0x77;
	ck_assert_int_eq(net_ctrl_parse(&r, &iov, 1, ALL, 1), 0);
	ck_assert_uint_eq(r.table.n_uni, NET_FILTER_MAX + 1);
	ck_assert_uint_eq(r.table.n_multi, 1);
	ck_assert_uint_eq(r.table.multi[0][1], 0x77);
}
END_TEST

/* ---- the filter ---- */

START_TEST(test_filter)
{
	struct net_ctrl_state s = {.mac = {2, 0, 0, 0, 0, 1}, .n_uni = 1, .n_multi = 2};
	struct net_filter f;

	s.uni[0][0] = 6;
	s.multi[1][0] = 9;
	net_ctrl_filter(&f, &s);
	ck_assert(!f.all && !f.allmulti);
	ck_assert_uint_eq(f.n, 5);
	ck_assert_uint_eq(f.addr[0][5], 0xff);
	ck_assert_mem_eq(f.addr[1], s.mac, 6);
	ck_assert_uint_eq(f.addr[2][0], 6);
	ck_assert_uint_eq(f.addr[4][0], 9);
	s.allmulti = true;
	net_ctrl_filter(&f, &s);
	ck_assert(f.allmulti && !f.all);
	ck_assert_uint_eq(f.n, 3);
	s.nomulti = true;
	net_ctrl_filter(&f, &s);
	ck_assert(!f.allmulti);
	s.nobcast = true;
	net_ctrl_filter(&f, &s);
	ck_assert_uint_eq(f.n, 2);
	s.nouni = true;
	net_ctrl_filter(&f, &s);
	ck_assert(f.all); /* nothing at all cannot be said */
	s = (struct net_ctrl_state){.promisc = true};
	net_ctrl_filter(&f, &s);
	ck_assert(f.all);
	s = (struct net_ctrl_state){.n_multi = NET_FILTER_MAX + 1};
	net_ctrl_filter(&f, &s);
	ck_assert(f.allmulti && !f.all);
	s = (struct net_ctrl_state){.n_uni = NET_FILTER_MAX + 1};
	net_ctrl_filter(&f, &s);
	ck_assert(f.all);
	s = (struct net_ctrl_state){.n_uni = NET_FILTER_MAX};
	net_ctrl_filter(&f, &s);
	ck_assert(f.all);
}
END_TEST

/* ---- the queue ---- */

struct ctrl {
	struct net_fixture *f;
	struct virtq_driver q;
	struct net_filter filter; /* as of the last call */
	unsigned int filters;
	unsigned int pairs;
};

static struct ctrl c;

static int on_filter(struct net_backend *be, const struct net_filter *filter)
{
	(void)be;
	c.filter = *filter;
	c.filters++;
	return 0;
}

static int on_offloads(struct net_backend *be, unsigned int offloads)
{
	(void)be;
	(void)offloads;
	return 0;
}

static int on_queues(struct net_backend *be, unsigned int n)
{
	(void)be;
	c.pairs = n;
	return 0;
}

static void ctrl_open(uint64_t features)
{
	static struct net_backend_ops ops;
	struct virtio_device *dev;

	memset(&c, 0, sizeof(c));
	c.f = net_open(NET_MERGE);
	net_reset(c.f);
	ops = *c.f->tap.be.ops;
	ops.set_filter = on_filter;
	ops.set_offloads = on_offloads;
	ops.set_queues = on_queues;
	c.f->tap.be.ops = &ops;
	c.f->tap.be.offloads = TUN_F_CSUM;
	dev = &c.f->net.dev;
	virtq_driver_init(&c.q, &c.f->mem, 2 << 20, 40 << 20, 64);
	ck_assert_int_eq(virtq_init(&dev->queue[2], &c.f->mem, &c.q.config, features), 0);
	dev->enabled[2] = true;
	net_start(c.f, features, 256);
	net_pump(c.f);
}

static void ctrl_pump(void)
{
	virtio_device_rekick(&c.f->net.dev, 2);
	while (net_call(&c.f->net.dev.kick[2]))
		;
}

/* Returns the answer. */
static uint8_t ctrl_send(const void *bytes, uint32_t len)
{
	gpa_t at = 48 << 20, answer = 49 << 20;
	struct virtq_piece pieces[2] = {{at, len, false}, {answer, 1, true}};
	uint32_t head, n;
	uint8_t ack = 0x55;

	ck_assert_int_eq(guest_mem_write(&c.f->mem, at, bytes, len), 0);
	ck_assert_int_eq(guest_mem_write(&c.f->mem, answer, &ack, 1), 0);
	virtq_driver_send(&c.q, pieces, 2);
	ctrl_pump();
	ck_assert(virtq_driver_used(&c.q, &head, &n));
	ck_assert_uint_eq(n, 1);
	ck_assert_int_eq(guest_mem_read(&c.f->mem, answer, &ack, 1), 0);
	return ack;
}

START_TEST(test_queue)
{
	static const uint8_t promisc_off[] = {0, 0, 0}, mac[] = {1, 1, 2, 9, 9, 9, 9, 9};
	static const uint8_t offloads[] = {5, 0, 2, 0, 0, 0, 0, 0, 0, 0}, bad[] = {9, 9, 9};
	static const uint8_t pairs[] = {4, 0, 1, 0};
	struct virtio_net_config config;

	ctrl_open(ALL & ~BIT(VIRTIO_NET_F_MQ));
	ck_assert_uint_eq(ctrl_send(bad, sizeof(bad)), VIRTIO_NET_ERR);
	ck_assert_uint_eq(c.filters, 0);
	ck_assert_uint_eq(ctrl_send(promisc_off, sizeof(promisc_off)), VIRTIO_NET_OK);
	ck_assert_uint_eq(c.filters, 1);
	ck_assert(!c.filter.all);
	ck_assert_mem_eq(c.filter.addr[1], c.f->net.mac, ETH_ALEN);
	ck_assert_uint_eq(ctrl_send(mac, sizeof(mac)), VIRTIO_NET_OK);
	ck_assert_mem_eq(c.filter.addr[1], mac + 2, ETH_ALEN);
	virtio_device_config_get(&c.f->net.dev, 0, &config, sizeof(config));
	ck_assert_mem_eq(config.mac, mac + 2, ETH_ALEN);
	ck_assert_uint_eq(ctrl_send(offloads, sizeof(offloads)), VIRTIO_NET_OK);
	ck_assert_uint_eq(c.f->tap.be.offloads_on, TUN_F_CSUM);
	ck_assert_uint_eq(ctrl_send(pairs, sizeof(pairs)), VIRTIO_NET_ERR);
	ck_assert_uint_eq(c.f->needs_reset, 0);
	/* the next driver finds the card as it was */
	net_reset(c.f);
	ck_assert(c.filter.all);
	virtio_device_config_get(&c.f->net.dev, 0, &config, sizeof(config));
	ck_assert_mem_eq(config.mac, c.f->net.mac, ETH_ALEN);
	net_close(c.f);
}
END_TEST

/* Every command that says what the guest wants to see reaches the filter, on and off again. */
START_TEST(test_queue_filters)
{
	static const struct {
		uint8_t cmd;
		bool all, allmulti;
		unsigned int n; /* addresses, unless all pass */
	} commands[] = {
		{VIRTIO_NET_CTRL_RX_PROMISC, true, false, 0},
		{VIRTIO_NET_CTRL_RX_ALLMULTI, false, true, 3},
		{VIRTIO_NET_CTRL_RX_ALLUNI, true, false, 0},
		{VIRTIO_NET_CTRL_RX_NOMULTI, false, false, 3},
		{VIRTIO_NET_CTRL_RX_NOUNI, false, false, 3},
		{VIRTIO_NET_CTRL_RX_NOBCAST, false, false, 4},
	};
	static const uint8_t promisc_off[] = {0, VIRTIO_NET_CTRL_RX_PROMISC, 0};
	static const uint8_t table[] = {1, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 7, 2, 0,
					0, 0, 1, 0, 0, 0, 0, 8, 1, 0, 0, 0, 0, 9};

	ctrl_open(ALL & ~BIT(VIRTIO_NET_F_MQ));
	ck_assert_uint_eq(ctrl_send(promisc_off, sizeof(promisc_off)), VIRTIO_NET_OK);
	ck_assert_uint_eq(ctrl_send(table, sizeof(table)), VIRTIO_NET_OK);
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		uint8_t request[] = {0, commands[i].cmd, 1};

		ck_assert_uint_eq(ctrl_send(request, sizeof(request)), VIRTIO_NET_OK);
		ck_assert(c.filter.all == commands[i].all);
		ck_assert(c.filter.allmulti == commands[i].allmulti);
		if (!c.filter.all)
			ck_assert_uint_eq(c.filter.n, commands[i].n);
		request[2] = 0;
		ck_assert_uint_eq(ctrl_send(request, sizeof(request)), VIRTIO_NET_OK);
		ck_assert(!c.filter.all && !c.filter.allmulti);
		ck_assert_uint_eq(c.filter.n, 5); /* broadcast, its own, one more, two groups */
		ck_assert_uint_eq(c.filter.addr[2][5], 7);
		ck_assert_uint_eq(c.filter.addr[4][5], 9);
	}
	net_close(c.f);
}
END_TEST

/* A backend with an address of its own: no other can be had, and what was asked in vain changes nothing. */
START_TEST(test_fixed_mac)
{
	static const uint8_t own[ETH_ALEN] = {2, 9, 9, 9, 9, 9};
	static const uint8_t other[] = {1, 1, 2, 8, 8, 8, 8, 8}, same[] = {1, 1, 2, 9, 9, 9, 9, 9};
	static const uint8_t promisc_off[] = {0, 0, 0};
	struct virtio_net_config config;

	ctrl_open(ALL & ~BIT(VIRTIO_NET_F_MQ));
	c.f->tap.be.mac = own;
	ck_assert_uint_eq(ctrl_send(other, sizeof(other)), VIRTIO_NET_ERR);
	ck_assert_uint_eq(ctrl_send(promisc_off, sizeof(promisc_off)), VIRTIO_NET_OK);
	ck_assert_mem_eq(c.filter.addr[1], c.f->net.mac, ETH_ALEN);
	virtio_device_config_get(&c.f->net.dev, 0, &config, sizeof(config));
	ck_assert_mem_eq(config.mac, c.f->net.mac, ETH_ALEN);
	ck_assert_uint_eq(ctrl_send(same, sizeof(same)), VIRTIO_NET_OK);
	virtio_device_config_get(&c.f->net.dev, 0, &config, sizeof(config));
	ck_assert_mem_eq(config.mac, own, ETH_ALEN);
	net_reset(c.f);
	virtio_device_config_get(&c.f->net.dev, 0, &config, sizeof(config));
	ck_assert_mem_eq(config.mac, c.f->net.mac, ETH_ALEN);
	net_close(c.f);
}
END_TEST

START_TEST(test_announce)
{
	static const uint8_t ack[] = {3, 0};
	struct virtio_net_config config;

	ctrl_open(ALL & ~BIT(VIRTIO_NET_F_MQ));
	c.f->net.announce_timer.fn(c.f->net.announce_timer.arg);
	virtio_device_config_get(&c.f->net.dev, 0, &config, sizeof(config));
	ck_assert_uint_eq(config.status, VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	ck_assert_uint_eq(ctrl_send(ack, sizeof(ack)), VIRTIO_NET_OK);
	virtio_device_config_get(&c.f->net.dev, 0, &config, sizeof(config));
	ck_assert_uint_eq(config.status, VIRTIO_NET_S_LINK_UP);
	net_close(c.f);
}
END_TEST

/* A request without room for its answer, and a ring that is broken: the driver must reset, and may go on then. */
START_TEST(test_broken)
{
	struct virtq_piece piece = {48 << 20, 3, false};

	ctrl_open(ALL & ~BIT(VIRTIO_NET_F_MQ));
	if (_i == 0) {
		virtq_driver_send(&c.q, &piece, 1);
	} else {
		uint16_t idx = 1000;

		ck_assert_int_eq(guest_mem_write(&c.f->mem, c.q.config.avail + 2, &idx, 2), 0);
	}
	ctrl_pump();
	ck_assert_uint_eq(c.f->needs_reset, 1);
	net_reset(c.f);
	net_start(c.f, NET_MERGE, 256);
	net_pump(c.f);
	ck_assert_uint_eq(c.f->needs_reset, 1);
	net_close(c.f);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("virtio/net_ctrl");
	TCase *tcase = tcase_create("ctrl");

	tcase_set_timeout(tcase, 30);
	tcase_add_loop_test(tcase, test_parse, 0, sizeof(requests) / sizeof(requests[0]));
	tcase_add_test(tcase, test_parse_many);
	tcase_add_test(tcase, test_filter);
	tcase_add_test(tcase, test_queue);
	tcase_add_test(tcase, test_queue_filters);
	tcase_add_test(tcase, test_fixed_mac);
	tcase_add_test(tcase, test_announce);
	tcase_add_loop_test(tcase, test_broken, 0, 2);
	suite_add_tcase(suite, tcase);
	return net_run(suite);
}
