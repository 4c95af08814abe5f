/*
 * A virtio network card on a socket pair instead of a TAP, with hand-driven rings, for tests.
 *
 * Everything happens on the test's thread: the loop is never started, net_pump() calls what the loop would
 * call. The transport only counts.
 */
#pragma once

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/if_tun.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "tests/unit/virtq_driver.h"
#include "virtio/net.h"
#include "virtio/tap.h"

#define NET_HDR	     sizeof(struct virtio_net_hdr_v1)
#define NET_SLOTS    256u
#define NET_SLOT_MAX 0x11000u
#define NET_MERGE    (UINT64_C(1) << VIRTIO_NET_F_MRG_RXBUF)
#define NET_EVENT    (UINT64_C(1) << VIRTIO_RING_F_EVENT_IDX)
#define NET_INDIRECT (UINT64_C(1) << VIRTIO_RING_F_INDIRECT_DESC)
#define NET_V1	     (UINT64_C(1) << VIRTIO_F_VERSION_1)
#define NET_TSO                                                                                    \
	(UINT64_C(1) << VIRTIO_NET_F_GUEST_CSUM | UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO4 |         \
	 UINT64_C(1) << VIRTIO_NET_F_GUEST_TSO6)

#define NET_TUN_TSO (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)

struct net_fixture {
	struct guest_mem mem;
	struct evloop loop;
	struct tap tap;
	int peer; /* the host's end of the wire */
	struct net_limit_config rx_limit, tx_limit;
	const struct vhost_net_host *vhost_host; /* NULL: no vhost-net */
	struct vhost_net vhost;
	struct virtio_net net;
	struct virtq_driver rx;
	struct virtq_driver tx;
	gpa_t slots; /* receive buffers */
	bool slot_busy[NET_SLOTS];
	unsigned int slot_of[NET_SLOTS]; /* by head */
	uint32_t slot_len[NET_SLOTS];	 /* by slot */
	unsigned int interrupts[3];
	unsigned int config_changes;
	unsigned int needs_reset;
	unsigned int stopped;
	unsigned int log_lines;
	char log_last[512];
};

static inline void net_on_log(void *arg, int level, const char *line)
{
	struct net_fixture *f = arg;

	(void)level;
	f->log_lines++;
	snprintf(f->log_last, sizeof(f->log_last), "%s", line);
}

static inline void net_on_interrupt(void *arg, unsigned int queue)
{
	((struct net_fixture *)arg)->interrupts[queue]++;
}

static inline void net_on_config(void *arg)
{
	((struct net_fixture *)arg)->config_changes++;
}

static inline void net_on_needs_reset(void *arg)
{
	((struct net_fixture *)arg)->needs_reset++;
}

static inline void net_on_stopped(void *arg)
{
	((struct net_fixture *)arg)->stopped++;
}

/* A driver comes up: fresh rings, DRIVER_OK. */
static inline void net_start(struct net_fixture *f, uint64_t features, uint16_t size)
{
	struct virtio_device *dev = &f->net.dev;

	memset(f->slot_busy, 0, sizeof(f->slot_busy));
	virtq_driver_init(&f->rx, &f->mem, 0, 1 << 20, size);
	virtq_driver_init(&f->tx, &f->mem, 1 << 20, 16 << 20, size);
	f->slots = 16 << 20;
	dev->negotiated = features | NET_V1;
	ck_assert_int_eq(virtq_init(&dev->queue[0], &f->mem, &f->rx.config, features), 0);
	ck_assert_int_eq(virtq_init(&dev->queue[1], &f->mem, &f->tx.config, features), 0);
	dev->enabled[0] = dev->enabled[1] = true;
	dev->start_task.fn(dev->start_task.arg);
}

static inline void net_reset(struct net_fixture *f)
{
	struct virtio_device *dev = &f->net.dev;

	dev->stop_task.fn(dev->stop_task.arg);
}

/* A card on a TAP that f->tap already describes. */
static inline void net_open_on_tap(struct net_fixture *f)
{
	static const uint8_t mac[ETH_ALEN] = {0x52, 0x54, 0, 1, 2, 3};
	struct guest_mem_region region = {.base = 0, .size = 64 << 20};
	struct virtio_net_options options = {.loop = &f->loop,
					     .backend = &f->tap.be,
					     .mac = mac,
					     .rx_limit = f->rx_limit,
					     .tx_limit = f->tx_limit};

	log_set_sink(net_on_log, f);
	ck_assert_int_eq(guest_mem_init(&f->mem, &region, 1), 0);
	ck_assert_int_eq(evloop_init(&f->loop), 0);
	if (f->vhost_host) {
		const struct vhost_net_options vhost = {
			.host = f->vhost_host, .mem = &f->mem, .backend = &f->tap.be, .must = true};

		ck_assert_int_eq(vhost_net_open(&f->vhost, &vhost), 0);
		options.vhost = &f->vhost;
	}
	ck_assert_int_eq(virtio_net_init(&f->net, &options), 0);
	if (f->vhost_host)
		ck_assert_int_eq(vhost_net_own(&f->vhost), 0);
	f->net.dev.transport = (struct virtio_transport){.interrupt = net_on_interrupt,
							 .config_changed = net_on_config,
							 .needs_reset = net_on_needs_reset,
							 .stopped = net_on_stopped,
							 .arg = f};
}

/* A card with limits, or one that vhost may serve, which a driver has started. */
static inline struct net_fixture *net_open_as(uint64_t features, struct net_limit_config rx,
					      struct net_limit_config tx,
					      const struct vhost_net_host *vhost_host)
{
	struct net_fixture *f = calloc(1, sizeof(*f));
	int pair[2], size = 4 << 20;

	ck_assert_ptr_nonnull(f);
	f->rx_limit = rx;
	f->tx_limit = tx;
	ck_assert_int_eq(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	for (int i = 0; i < 2; i++)
		setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	f->peer = pair[1];
	f->vhost_host = vhost_host;
	tap_init(&f->tap);
	f->tap.be.fd[0] = pair[0];
	f->tap.be.mtu = 1500;
	strcpy(f->tap.name, "fake0");
	if (features & NET_TSO)
		f->tap.be.offloads = f->tap.be.offloads_on =
			NET_TUN_TSO; /* nothing is left to be set */
	net_open_on_tap(f);
	net_start(f, features, 256);
	return f;
}

static inline struct net_fixture *net_open_limited(uint64_t features, struct net_limit_config rx,
						   struct net_limit_config tx)
{
	return net_open_as(features, rx, tx, NULL);
}

static inline struct net_fixture *net_open_with(uint64_t features,
						const struct vhost_net_host *vhost_host)
{
	const struct net_limit_config none = {0};

	return net_open_as(features, none, none, vhost_host);
}

static inline struct net_fixture *net_open(uint64_t features)
{
	return net_open_with(features, NULL);
}

static inline void net_close(struct net_fixture *f)
{
	log_set_sink(NULL, NULL);
	virtio_net_fini(&f->net);
	if (f->vhost_host)
		vhost_net_close(&f->vhost);
	tap_close(&f->tap);
	if (f->peer >= 0)
		close(f->peer);
	evloop_fini(&f->loop);
	guest_mem_fini(&f->mem);
	free(f);
}

static inline bool net_call(struct evloop_fd *efd)
{
	struct pollfd p = {.fd = efd->fd, .events = (short)efd->events};
	uint64_t count;

	if (!efd->added || poll(&p, 1, 0) <= 0 || p.revents == 0)
		return false;
	/* An edge comes once. */
	if (efd->events & EPOLLET)
		ck_assert_int_eq(read(efd->fd, &count, sizeof(count)), sizeof(count));
	efd->fn(efd->arg, (uint32_t)p.revents);
	return true;
}

/* Runs callbacks until none is due. Returns how many ran; a loop that spins fails the test. */
static inline unsigned int net_pump(struct net_fixture *f)
{
	unsigned int n = 0;
	bool more = true;

	while (more) {
		more = net_call(&f->net.dev.kick[0]);
		more |= net_call(&f->net.dev.kick[1]);
		more |= net_call(&f->net.pair[0].rx.watch);
		more |= net_call(&f->net.link_watch);
		n += more;
		ck_assert_uint_lt(n, 10000);
	}
	/* what a pair's loop has posted to the card's */
	if (f->net.gone_task.queued)
		evloop_turn(&f->loop);
	return n;
}

/* What the driver does after adding buffers, regardless of whether it was asked to. */
static inline void net_kick(struct net_fixture *f, unsigned int queue)
{
	virtio_device_rekick(&f->net.dev, queue);
	net_pump(f);
}

/* Adds one receive buffer in descriptors of at most cut bytes (0: one), without a kick. False: no room. */
static inline bool net_post(struct net_fixture *f, uint32_t len, uint32_t cut)
{
	struct virtq_piece pieces[NET_SLOTS];
	unsigned int slot = 0, n;
	gpa_t gpa;
	uint16_t head;

	while (slot < NET_SLOTS && f->slot_busy[slot])
		slot++;
	ck_assert_uint_le(len, NET_SLOT_MAX - 16);
	if (slot == NET_SLOTS || f->rx.n_free < (cut ? (len + cut - 1) / cut : 1))
		return false;
	gpa = f->slots + slot * NET_SLOT_MAX;
	memset(guest_mem_ptr(&f->mem, gpa, NET_SLOT_MAX), 0xa5, len + 16);
	n = virtq_driver_cut(pieces, NET_SLOTS, gpa, len, true, cut);
	head = virtq_driver_send(&f->rx, pieces, n);
	f->slot_busy[slot] = true;
	f->slot_of[head] = slot;
	f->slot_len[slot] = len;
	return true;
}

/* Takes one used buffer. Returns its bytes and sets *len, after a look that nothing behind them was touched. */
static inline const uint8_t *net_take_buffer(struct net_fixture *f, uint32_t *len, bool *full)
{
	static const uint8_t clean[16] = {0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5,
					  0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5, 0xa5};
	const uint8_t *p;
	uint32_t head;
	unsigned int slot;

	ck_assert(virtq_driver_used(&f->rx, &head, len));
	slot = f->slot_of[head];
	ck_assert(f->slot_busy[slot]);
	f->slot_busy[slot] = false;
	ck_assert_uint_le(*len, f->slot_len[slot]);
	*full = *len == f->slot_len[slot];
	p = guest_mem_ptr(&f->mem, f->slots + slot * NET_SLOT_MAX, NET_SLOT_MAX);
	ck_assert_mem_eq(p + f->slot_len[slot], clean, sizeof(clean));
	return p;
}

/* Takes the next packet as a driver does, and checks 5.1.6.4. Returns its length, or 0 when there is none. */
static inline uint32_t net_take(struct net_fixture *f, uint8_t *packet)
{
	struct virtio_net_hdr_v1 hdr;
	uint32_t total = 0, len = 0;
	bool full = true;

	if (virtq_driver_n_used(&f->rx) == 0)
		return 0;
	for (unsigned int i = 0, n = 1; i < n; i++) {
		const uint8_t *p = net_take_buffer(f, &len, &full);

		if (i == 0) {
			ck_assert_uint_ge(len, sizeof(hdr));
			memcpy(&hdr, p, sizeof(hdr));
			n = hdr.num_buffers;
			ck_assert_uint_ge(n, 1);
			/* a packet becomes visible as a whole */
			ck_assert_uint_le(n, virtq_driver_n_used(&f->rx) + 1u);
		}
		ck_assert(full || i == n - 1);
		ck_assert_uint_gt(len, 0);
		memcpy(packet + total, p, len);
		total += len;
	}
	return total;
}

/* A packet whose bytes depend on seed, with an empty header. */
static inline void net_fill(uint8_t *packet, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		packet[i] = (uint8_t)((seed + i) * 167 + (i >> 8));
	memset(packet, 0, len < NET_HDR ? len : NET_HDR);
}

/* The host sends; false when the wire is full. */
static inline bool net_wire_send(struct net_fixture *f, const void *packet, uint32_t len)
{
	ssize_t n = send(f->peer, packet, len, MSG_NOSIGNAL);

	ck_assert(n == (ssize_t)len || (n < 0 && (errno == EAGAIN || errno == ENOBUFS)));
	return n >= 0;
}

/* Takes the next packet and compares it with the one that net_fill() makes. */
static inline void net_expect(struct net_fixture *f, uint32_t len, uint32_t seed)
{
	static uint8_t got[2 * NET_PACKET_MAX], want[2 * NET_PACKET_MAX];

	ck_assert_uint_eq(net_take(f, got), len);
	net_fill(want, len, seed);
	ck_assert_mem_eq(got + NET_HDR, want + NET_HDR, len - NET_HDR);
	ck_assert_mem_eq(got, want, NET_HDR - 2); /* all but num_buffers */
}

static inline int net_run(Suite *suite)
{
	SRunner *runner = srunner_create(suite);
	int failed;

	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
