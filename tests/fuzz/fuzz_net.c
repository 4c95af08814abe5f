/*
 * A guest against a network card with one or two pairs of queues, on a wire that is slow, bursts, fails and breaks; see guest.h.
 *
 * Fuzzes: virtio/net.c virtio/net_rx.c virtio/net_tx.c virtio/net_ctrl.c virtio/net_window.c virtio/net_backend.c
 * Fuzzes: virtio/net_limit.c
 */
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/guest.h"
#include "virtio/net.h"

#define PAIRS	  2
#define WIRE_ROOM 300 /* packets; more than a card takes in one go */

#define HDR ((uint32_t)sizeof(struct virtio_net_hdr_v1))

static struct virtio_net net;

/* ---- the wire ---- */

static struct {
	struct net_backend be;
	struct net_backend_ops ops;
	uint32_t len[PAIRS][WIRE_ROOM]; /* of packets to the guest */
	unsigned int n[PAIRS];
	bool hides;    /* what waits does not make fd readable, but pending() tells of it */
	bool full;     /* takes no packet */
	bool gone;     /* reading fails for good */
	bool stubborn; /* changes of settings fail */
	int write_result, link_result;
	unsigned int sent;
} wire;

/* An eventfd polls readable while it is not 0. */
static void signal_fd(int fd, bool on)
{
	uint64_t value = 1;
	ssize_t n = on ? write(fd, &value, sizeof(value)) : read(fd, &value, sizeof(value));

	(void)n;
}

static ssize_t wire_read(struct net_backend *be, unsigned int queue, const struct iovec *iov,
			 unsigned int n)
{
	size_t len, left;

	if (wire.gone)
		return -ENETDOWN;
	if (wire.n[queue] == 0) {
		signal_fd(be->fd[queue], false);
		return 0;
	}
	len = left = wire.len[queue][--wire.n[queue]];
	for (unsigned int i = 0; i < n && left > 0; i++) {
		size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;

		memset(iov[i].iov_base, 0x5a, part);
		left -= part;
	}
	if (wire.n[queue] == 0 || wire.hides)
		signal_fd(be->fd[queue], false);
	return (ssize_t)len;
}

static int wire_write(struct net_backend *be, unsigned int queue, const struct iovec *iov,
		      unsigned int n, size_t bytes)
{
	static uint8_t packet[NET_PACKET_MAX];
	size_t len = 0;

	(void)be;
	(void)queue;
	FUZZ_CHECK(!wire.full && bytes <= sizeof(packet));
	for (unsigned int i = 0; i < n; i++) {
		FUZZ_CHECK(len + iov[i].iov_len <= bytes);
		memcpy(packet + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	FUZZ_CHECK(len == bytes);
	wire.sent++;
	return wire.write_result;
}

static bool wire_ready(struct net_backend *be, unsigned int queue)
{
	(void)be;
	(void)queue;
	return !wire.full;
}

static bool wire_pending(struct net_backend *be, unsigned int queue)
{
	(void)be;
	return wire.n[queue] > 0;
}

static int wire_set(struct net_backend *be, unsigned int value)
{
	(void)be;
	(void)value;
	return wire.stubborn ? -EPERM : 0;
}

static int wire_set_filter(struct net_backend *be, const struct net_filter *filter)
{
	FUZZ_CHECK(filter->all || (filter->n > 0 && filter->n <= NET_FILTER_MAX));
	return wire_set(be, 0);
}

static int wire_read_link(struct net_backend *be)
{
	signal_fd(be->link_fd, false);
	be->link_up = be->link_up != (wire.link_result > 0);
	return wire.link_result;
}

static void wire_discard(struct net_backend *be)
{
	(void)be;
	memset(wire.n, 0, sizeof(wire.n));
}

/* A wire that says no to everything is a writer's too: it polls writable while its count has room. */
static void wire_fill(bool full)
{
	uint64_t most = UINT64_MAX - 1;

	for (unsigned int i = 0; i < wire.be.n_queues && full != wire.full; i++) {
		ssize_t n = full ? write(wire.be.write_fd[i], &most, sizeof(most))
				 : read(wire.be.write_fd[i], &most, sizeof(most));

		FUZZ_CHECK(n == sizeof(most));
	}
	wire.full = full;
}

static void wire_put(unsigned int pair, uint32_t len)
{
	pair %= wire.be.n_queues;
	if (wire.n[pair] == WIRE_ROOM)
		return;
	wire.len[pair][wire.n[pair]++] = len;
	signal_fd(wire.be.fd[pair], true);
}

static int make_fd(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static void wire_open(uint8_t how)
{
	static const uint8_t mac[ETH_ALEN] = {0x52, 0x54, 0, 1, 2, 3};

	memset(&wire, 0, sizeof(wire));
	wire.hides = how & 1;
	wire.ops = (struct net_backend_ops){.read = wire_read,
					    .write = wire_write,
					    .ready = how & 2 ? wire_ready : NULL,
					    .pending = wire.hides ? wire_pending : NULL,
					    .set_offloads = how & 4 ? wire_set : NULL,
					    .set_queues = wire_set,
					    .set_filter = how & 8 ? wire_set_filter : NULL,
					    .read_link = wire_read_link,
					    .discard = wire_discard};
	wire.be = (struct net_backend){.ops = &wire.ops,
				       .kind = "wire",
				       .name = "wire",
				       .mac = how & 0x10 ? mac : NULL,
				       .n_queues = how & 0x20 ? 2 : 1,
				       .mtu = how & 8 ? 1500 : 0,
				       .offloads = how & 4 ? 0x7f : 0,
				       .sends_offloaded = how & 4,
				       .link_fd = make_fd(),
				       .link_up = true};
	for (unsigned int i = 0; i < wire.be.n_queues; i++) {
		wire.be.fd[i] = make_fd();
		wire.be.write_fd[i] = make_fd();
	}
}

static void wire_close(void)
{
	close(wire.be.link_fd);
	for (unsigned int i = 0; i < wire.be.n_queues; i++) {
		close(wire.be.fd[i]);
		close(wire.be.write_fd[i]);
	}
}

/* ---- the card ---- */

static struct guest_target target;

static struct virtio_device *net_open(struct fuzz_input *in)
{
	static const struct net_limit_config limits[] = {
		{0}, {.bps = 100000, .pps = 1000}, {.pps = 1}, {.bps = 1, .bps_burst = 1}};
	uint8_t how = fuzz_u8(in), limit = fuzz_u8(in);
	struct virtio_net_options options = {.loop = &guest.loop, .backend = &wire.be};
	static const uint8_t mac[ETH_ALEN] = {0x52, 0x54, 0, 4, 5, 6};

	if (limit & 0x80) {
		options.rx_limit = limits[limit & 3];
		options.tx_limit = limits[limit >> 2 & 3];
	}
	wire_open(how);
	options.mac = how & 0x40 ? mac : NULL;
	/* Refused when the wire has another one. */
	if (virtio_net_init(&net, &options) < 0) {
		FUZZ_CHECK(options.mac && wire.be.mac);
		options.mac = NULL;
		FUZZ_CHECK(virtio_net_init(&net, &options) == 0);
	}
	target.writable = wire.be.n_queues == 2 ? 5 : 1;
	return &net.dev;
}

static void net_close(void)
{
	virtio_net_fini(&net);
	wire_close();
}

/* ---- requests ---- */

static void post_buffers(struct fuzz_input *in, unsigned int pair, uint8_t odd)
{
	uint32_t len = guest_len(in) % 0x12000;
	unsigned int n = 1 + fuzz_u8(in) % 64;

	len = len < HDR && odd < 0xc0 ? HDR + len : len;
	for (unsigned int i = 0; i < n; i++) {
		struct virtq_piece piece = {guest_alloc(len), len, true};

		guest_send(2 * pair, &piece, 1, odd);
	}
	guest_kick(2 * pair);
}

static void send_packets(struct fuzz_input *in, unsigned int pair, uint8_t odd)
{
	uint32_t len = guest_len(in) % 0x12000;
	unsigned int n = 1 + fuzz_u8(in) % 16;
	struct virtq_piece piece;

	if (len < 14 && odd < 0xc0)
		len += HDR + 14;
	piece = (struct virtq_piece){guest_alloc(len < HDR ? HDR : len), len, false};
	fuzz_bytes(in, guest_at(piece.gpa, HDR), HDR);
	for (unsigned int i = 0; i < n; i++)
		guest_send(2 * pair + 1, &piece, 1, odd);
	guest_kick(2 * pair + 1);
}

static unsigned int ctrl_queue(void)
{
	return net.dev.negotiated & BIT(VIRTIO_NET_F_MQ) ? 2 * net.n_pairs : 2;
}

/* The two tables of addresses: counts that are true, most often. */
static uint32_t fill_tables(struct fuzz_input *in, uint8_t *to, uint32_t room)
{
	uint32_t at = 0;

	for (unsigned int i = 0; i < 2; i++) {
		uint8_t n = fuzz_u8(in);
		uint32_t entries = n % 80 + (n >= 0xf0 ? fuzz_u32(in) : 0);

		memcpy(to + at, &entries, sizeof(entries));
		at += (uint32_t)sizeof(entries);
		for (unsigned int j = 0; j < n % 80u && at + ETH_ALEN <= room / 2 * (i + 1); j++) {
			memset(to + at, (int)j, ETH_ALEN);
			at += ETH_ALEN;
		}
	}
	return at;
}

static void send_ctrl(struct fuzz_input *in, uint8_t odd)
{
	uint8_t request[2 + 1024], what = fuzz_u8(in);
	struct virtq_piece pieces[2];
	uint32_t len;

	request[0] = what % 8 > 5 ? fuzz_u8(in) : what % 8; /* class */
	request[1] = what >> 5;				    /* command */
	if (request[0] == VIRTIO_NET_CTRL_MAC && request[1] == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		len = 2 + fill_tables(in, request + 2, sizeof(request) - 2);
	else
		len = 2 + (uint32_t)fuzz_bytes(in, request + 2, 8);
	len -= odd >= 0xf8 && len > 2;
	pieces[0] = (struct virtq_piece){guest_put(request, len), len, false};
	pieces[1] = (struct virtq_piece){guest_alloc(1), 1, true};
	guest_send(ctrl_queue(), pieces, 1 + ((what >> 3 & 3) != 3), odd);
	guest_kick(ctrl_queue());
}

static void net_request(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in), odd = fuzz_u8(in);
	unsigned int pair = what >> 7 && net.n_pairs > 1;

	switch (what % 4) {
	case 0:
		post_buffers(in, pair, odd);
		break;
	case 1:
		send_packets(in, pair, odd);
		break;
	default:
		send_ctrl(in, odd);
	}
}

/* As some time after the link has come back. */
static void announce(void)
{
	static struct evloop_task task;

	if (!task.fn)
		task = (struct evloop_task){.fn = net.announce_timer.fn, .arg = &net};
	evloop_post(net.dev.loop, &task);
}

static void host_changes(struct fuzz_input *in, uint8_t what)
{
	switch (what) {
	case 0:
		if (wire.ops.ready)
			wire_fill(!wire.full);
		break;
	case 1:
		wire.stubborn = fuzz_u8(in) & 1;
		break;
	case 2:
		wire.write_result = fuzz_u8(in) & 1 ? -EINVAL : -EIO;
		break;
	case 3:
		announce();
		break;
	case 4:
		wire.link_result = fuzz_u8(in) & 1;
		signal_fd(wire.be.link_fd, true);
		break;
	case 5: /* seldom, for nothing comes after it */
		if (fuzz_u8(in) < 0x10)
			wire.link_result = -EIO;
		signal_fd(wire.be.link_fd, true);
		break;
	case 6:
		wire.gone = fuzz_u8(in) < 0x10;
		signal_fd(wire.be.fd[0], true);
		break;
	}
}

static void net_host(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);
	unsigned int n = 1 + (what & 0x3f) * (what & 0x3f) / 12;
	uint32_t len;

	if (what % 4 == 3) {
		host_changes(in, what / 4 % 8);
		return;
	}
	len = guest_len(in) % 0x14000;
	for (unsigned int i = 0; i < n; i++)
		wire_put(what >> 7, len < 0xff00 ? len + HDR : len);
}

static void check_receive(void)
{
	const struct virtq_piece rx = {guest_alloc(2000), 2000, true};
	struct virtio_net_hdr_v1 hdr;

	guest_send(0, &rx, 1, 0);
	guest_kick(0);
	wire_put(0, HDR + 60);
	world_settle();
	FUZZ_CHECK(guest.drv[0].used->idx == 1 && guest.drv[0].used->ring[0].len == HDR + 60);
	memcpy(&hdr, guest_at(rx.gpa, HDR), HDR);
	FUZZ_CHECK(hdr.num_buffers == 1);
}

static void net_check(void)
{
	const uint8_t request[] = {VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1};
	const struct virtq_piece tx = {guest_alloc(HDR + 60), HDR + 60, false};
	const struct virtq_piece ctrl[] = {{guest_put(request, 3), 3, false},
					   {guest_alloc(1), 1, true}};
	unsigned int sent;

	wire_discard(NULL);
	wire_fill(false);
	world_sleep(UINT64_C(1000000000000) * WORLD_MS); /* whatever the limit */
	sent = wire.sent;
	guest_exchange(1, &tx, 1);
	FUZZ_CHECK(wire.sent == sent + 1);
	guest_exchange(ctrl_queue(), ctrl, 2);
	FUZZ_CHECK(*(uint8_t *)guest_at(ctrl[1].gpa, 1) == VIRTIO_NET_OK);
	if (!wire.gone && !net.dead)
		check_receive();
}

static struct guest_target target = {.open = net_open,
				     .close = net_close,
				     .request = net_request,
				     .host = net_host,
				     .check = net_check};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return guest_run(&target, data, size);
}
