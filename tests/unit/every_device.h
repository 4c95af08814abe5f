/*
 * Every kind of virtio device behind the PCI transport, as a table, with what a driver must do to see that each of its queues
 * works. For tests of what is common to all; such a test defines FIX_QUEUES as 5, and RAM_SIZE.
 */
#pragma once

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_net.h>
#include <linux/virtio_vsock.h>

#include "tests/unit/vpci_fixture.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/net.h"
#include "virtio/rng.h"
#include "virtio/tap.h"
#include "virtio/vsock.h"

#define BUF UINT64_C(0x1000000) /* behind the rings */

/* ---- the driver ---- */

static void wait_used(unsigned int queue)
{
	for (int i = 0; virtq_driver_n_used(&fix.drv[queue]) == 0; i++) {
		ck_assert_msg(i < 100000, "%s: queue %u gives nothing back", fix.dev->name, queue);
		usleep(50);
	}
}

/* Sends pieces through a queue and waits for them. Returns the used length. */
static uint32_t exchange(unsigned int queue, const struct virtq_piece *pieces, unsigned int n)
{
	uint32_t len;

	virtq_driver_send(&fix.drv[queue], pieces, n);
	fix_kick(queue);
	wait_used(queue);
	ck_assert(virtq_driver_used(&fix.drv[queue], NULL, &len));
	return len;
}

static void store(gpa_t gpa, const void *bytes, size_t len)
{
	ck_assert_int_eq(guest_mem_write(&fix.mem, gpa, bytes, len), 0);
}

static uint8_t load(gpa_t gpa)
{
	uint8_t byte;

	ck_assert_int_eq(guest_mem_read(&fix.mem, gpa, &byte, 1), 0);
	return byte;
}

/* ---- the devices ---- */

static struct disk disk;
static struct virtio_blk blk;

static void open_blk(void)
{
	char path[] = "/tmp/test_bad_rings.XXXXXX";
	struct disk_config config = {.image = {.path = path}, .engine = DISK_ENGINE_THREADS};
	struct virtio_blk_options options = {.disk = &disk, .loop = &fix.loop, .n_queues = 2};
	int fd = mkstemp(path);

	ck_assert_int_eq(ftruncate(fd, 1 << 20), 0);
	close(fd);
	ck_assert_int_eq(disk_open(&disk, &config), 0);
	unlink(path);
	ck_assert_int_eq(virtio_blk_init(&blk, &options), 0);
	fix_plug(&blk.dev);
}

static void close_blk(void)
{
	virtio_blk_fini(&blk);
	disk_close(&disk);
}

static void check_blk(void)
{
	const struct virtio_blk_outhdr hdr = {.type = VIRTIO_BLK_T_IN, .sector = 3};
	const struct virtq_piece pieces[] = {
		{BUF, sizeof(hdr), false}, {BUF + 4096, 512, true}, {BUF + 8192, 1, true}};

	for (unsigned int queue = 0; queue < 2; queue++) {
		store(BUF, &hdr, sizeof(hdr));
		store(BUF + 8192, "\xee", 1);
		ck_assert_uint_eq(exchange(queue, pieces, 3), 513);
		ck_assert_uint_eq(load(BUF + 8192), VIRTIO_BLK_S_OK);
	}
}

static struct tap tap;
static struct virtio_net net;
static struct net_backend_ops net_ops;
static int peer[2];

static int accept_queues(struct net_backend *backend, unsigned int n)
{
	(void)backend;
	(void)n;
	return 0;
}

/* A TAP whose queues are socket pairs. */
static void open_pairs(unsigned int n)
{
	struct virtio_net_options options = {.loop = &fix.loop, .backend = &tap.be};
	int pair[2], size = 4 << 20;

	tap_init(&tap);
	net_ops = *tap.be.ops;
	net_ops.set_queues = accept_queues;
	tap.be.ops = &net_ops;
	tap.be.n_queues = n;
	for (unsigned int i = 0; i < n; i++) {
		ck_assert_int_eq(
			socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
			0);
		/* What is sent to a broken device stays on the wire. */
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		tap.be.fd[i] = pair[0];
		peer[i] = pair[1];
	}
	strcpy(tap.name, "fake0");
	ck_assert_int_eq(virtio_net_init(&net, &options), 0);
	fix_plug(&net.dev);
}

static void open_net(void)
{
	open_pairs(1);
}

static void open_net_mq(void)
{
	open_pairs(2);
}

static void close_net(void)
{
	virtio_net_fini(&net);
	for (unsigned int i = 0; i < tap.be.n_queues; i++)
		close(peer[i]);
	tap_close(&tap);
}

/* To the pair that the queue belongs to; the control queue to none. */
static void send_frame(unsigned int queue)
{
	static const uint8_t frame[sizeof(struct virtio_net_hdr_v1) + 60];

	if (queue / 2 >= tap.be.n_queues)
		return;
	ck_assert_int_eq(send(peer[queue / 2], frame, sizeof(frame), 0), sizeof(frame));
	evloop_settle(&fix.loop);
}

static void check_pair(unsigned int i)
{
	const uint32_t len = sizeof(struct virtio_net_hdr_v1) + 60;
	const struct virtq_piece rx = {BUF, 2000, true}, tx = {BUF + 4096, len, false};
	uint8_t got[256] = {0};

	send_frame(2 * i);
	ck_assert_uint_eq(exchange(2 * i, &rx, 1), len);
	store(BUF + 4096, got, len);
	exchange(2 * i + 1, &tx, 1);
	ck_assert_int_eq(recv(peer[i], got, sizeof(got), 0), len);
}

static void check_ctrl(uint8_t class, uint8_t cmd, uint16_t value)
{
	const struct virtq_piece pieces[] = {{BUF + 8192, 4, false}, {BUF + 8256, 1, true}};
	const uint8_t request[] = {class, cmd, (uint8_t)value, (uint8_t)(value >> 8)};

	store(BUF + 8192, request, sizeof(request));
	store(BUF + 8256, "\xee", 1);
	ck_assert_uint_eq(exchange(2 * tap.be.n_queues, pieces, 2), 1);
	ck_assert_uint_eq(load(BUF + 8256), VIRTIO_NET_OK);
}

static void check_net(void)
{
	check_ctrl(VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, 1);
	if (tap.be.n_queues > 1)
		check_ctrl(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
			   (uint16_t)tap.be.n_queues);
	for (unsigned int i = 0; i < tap.be.n_queues; i++)
		check_pair(i);
}

static struct virtio_rng rng;

static void open_rng(void)
{
	ck_assert_int_eq(virtio_rng_init(&rng, &fix.loop), 0);
	fix_plug(&rng.dev);
}

static void close_rng(void)
{
	virtio_rng_fini(&rng);
}

static void check_rng(void)
{
	const struct virtq_piece piece = {BUF, 64, true};

	ck_assert_uint_eq(exchange(0, &piece, 1), 64);
}

static struct virtio_balloon balloon;

static void open_balloon(void)
{
	ck_assert_int_eq(virtio_balloon_init(&balloon, &fix.loop, &fix.mem), 0);
	fix_plug(&balloon.dev);
}

static void close_balloon(void)
{
	virtio_balloon_fini(&balloon);
}

static void check_balloon(void)
{
	const uint32_t page = (uint32_t)(BUF >> VIRTIO_BALLOON_PFN_SHIFT) + 1;
	const struct virtio_balloon_stat stat = {0, 7};
	const struct virtq_piece pages = {BUF, sizeof(page), false};
	const struct virtq_piece stats = {BUF + 64, sizeof(stat), false};
	const struct virtq_piece report = {BUF + 4096, 4096, true};

	store(BUF, &page, sizeof(page));
	store(BUF + 64, &stat, sizeof(stat));
	for (unsigned int queue = 0; queue < 2; queue++) {
		store(BUF + 4096, "x", 1);
		exchange(queue, &pages, 1);
		ck_assert_uint_eq(load(BUF + 4096), queue == 0 ? 0 : 'x');
	}
	/* The device keeps the last one. */
	virtq_driver_send(&fix.drv[2], &stats, 1);
	exchange(2, &stats, 1);
	exchange(4, &report, 1);
	ck_assert_uint_eq(load(BUF + 4096), 0);
}

static struct virtio_console console;
static size_t printed;

static size_t on_output(void *arg, const void *buf, size_t n)
{
	(void)arg;
	(void)buf;
	printed += n;
	return n;
}

static void on_room(void *arg)
{
	(void)arg;
}

static void open_console(void)
{
	const struct virtio_console_host host = {.write = on_output, .rx_room = on_room};

	ck_assert_int_eq(virtio_console_init(&console, &fix.loop, &host), 0);
	fix_plug(&console.dev);
}

static void close_console(void)
{
	virtio_console_fini(&console);
}

static void on_type(void *arg)
{
	size_t *n = arg;

	*n = virtio_console_receive(&console, "typed", 5);
}

static void type(unsigned int queue)
{
	size_t n;

	(void)queue;
	evloop_call(&fix.loop, on_type, &n);
}

static void check_console(void)
{
	const struct virtq_piece rx = {BUF, 64, true}, tx = {BUF + 64, 100, false};
	size_t before = printed, n;
	uint32_t len;

	virtq_driver_send(&fix.drv[0], &rx, 1);
	evloop_call(&fix.loop, on_type, &n);
	ck_assert_uint_eq(n, 5);
	ck_assert(virtq_driver_used(&fix.drv[0], NULL, &len));
	ck_assert_uint_eq(len, 5);
	exchange(1, &tx, 1);
	ck_assert_uint_eq(printed, before + 100);
}

static struct virtio_vsock vsock;
static char vsock_dir[64], vsock_path[96];

static void open_vsock(void)
{
	struct virtio_vsock_options options = {.loop = &fix.loop, .cid = 42, .path = vsock_path};

	strcpy(vsock_dir, "/tmp/test_bad_rings.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(vsock_dir));
	snprintf(vsock_path, sizeof(vsock_path), "%s/v", vsock_dir);
	ck_assert_int_eq(virtio_vsock_init(&vsock, &options), 0);
	fix_plug(&vsock.dev);
}

static void close_vsock(void)
{
	virtio_vsock_fini(&vsock);
	ck_assert_int_eq(rmdir(vsock_dir), 0);
}

/* A request to a port where nobody listens, which is to be answered. */
static struct virtq_piece vsock_request(void)
{
	const struct virtio_vsock_hdr hdr = {.src_cid = 42,
					     .dst_cid = 2,
					     .src_port = 1,
					     .dst_port = 2,
					     .type = VIRTIO_VSOCK_TYPE_STREAM,
					     .op = VIRTIO_VSOCK_OP_REQUEST};

	store(BUF + 8192, &hdr, sizeof(hdr));
	return (struct virtq_piece){BUF + 8192, sizeof(hdr), false};
}

static void need_answer(unsigned int queue)
{
	const struct virtq_piece piece = vsock_request();

	if (queue == 1)
		return;
	virtq_driver_send(&fix.drv[1], &piece, 1);
	fix_kick(1);
}

static void check_vsock(void)
{
	const struct virtq_piece rx = {BUF, 4096, true}, tx = vsock_request();
	struct virtio_vsock_hdr hdr;

	virtq_driver_send(&fix.drv[0], &rx, 1);
	fix_kick(0);
	exchange(1, &tx, 1);
	wait_used(0);
	ck_assert(virtq_driver_used(&fix.drv[0], NULL, NULL));
	ck_assert_int_eq(guest_mem_read(&fix.mem, BUF, &hdr, sizeof(hdr)), 0);
	ck_assert_uint_eq(hdr.op, VIRTIO_VSOCK_OP_RST);
}

enum carries {
	READABLE,
	WRITABLE,
	UNREAD, /* writable, but the device never has anything to say */
};

static const struct subject {
	const char *name;
	void (*open)(void);
	void (*close)(void);
	/* Sends something good through each queue. */
	void (*check)(void);
	/* Makes a device that fills a queue on demand look at it. */
	void (*provoke)(unsigned int queue);
	unsigned int n_queues;
	enum carries carries[FIX_QUEUES];
} subjects[] = {
	{"blk", open_blk, close_blk, check_blk, NULL, 2, {READABLE, READABLE}},
	{"net", open_net, close_net, check_net, send_frame, 3, {WRITABLE, READABLE, READABLE}},
	{"net with two pairs",
	 open_net_mq,
	 close_net,
	 check_net,
	 send_frame,
	 5,
	 {WRITABLE, READABLE, WRITABLE, READABLE, READABLE}},
	{"rng", open_rng, close_rng, check_rng, NULL, 1, {WRITABLE}},
	{"balloon",
	 open_balloon,
	 close_balloon,
	 check_balloon,
	 NULL,
	 5,
	 {READABLE, READABLE, READABLE, UNREAD, WRITABLE}},
	{"console", open_console, close_console, check_console, type, 2, {WRITABLE, READABLE}},
	{"vsock",
	 open_vsock,
	 close_vsock,
	 check_vsock,
	 need_answer,
	 3,
	 {WRITABLE, READABLE, UNREAD}},
};
