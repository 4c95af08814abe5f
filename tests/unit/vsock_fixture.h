/*
 * A virtio socket device on a running loop, between a guest driven by hand and real unix sockets, for tests.
 */
#pragma once

#include "tests/unit/device_fixture.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <linux/virtio_vsock.h>

#include "virtio/vsock.h"

#define CID	   42
#define RX	   0
#define TX	   1
#define EVENT	   2
#define N_RX	   64u
#define RX_BYTES   4096u
#define TX_BYTES   70000u
#define TX_AT	   (DEV_BUFFERS + N_RX * 8192u)
#define GUEST_ROOM 65536u /* the credit that the guest gives, unless a test says otherwise */

static struct virtio_vsock vs;
static char dir[64], path[96];
static unsigned int rx_slot[VIRTQ_MAX_SIZE]; /* by head */

/* A packet as the guest sees it. */
struct seen {
	struct virtio_vsock_hdr hdr;
	uint8_t data[RX_BYTES];
};

static void put_rx_slot(unsigned int slot)
{
	struct virtq_piece piece = {DEV_BUFFERS + slot * 8192u, RX_BYTES, true};

	rx_slot[virtq_driver_send(&fix.drv[RX], &piece, 1)] = slot;
}

static inline void put_rx(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		put_rx_slot(i);
	device_kick(RX);
}

static inline void begin(unsigned int n_rx)
{
	device_begin(0, 7);
	put_rx(n_rx);
}

/* Its path is the fixture's, if it has one. */
static inline void open_device_with(struct virtio_vsock_options *options)
{
	device_prepare();
	snprintf(dir, sizeof(dir), "/tmp/vsock-test-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/v", dir);
	options->loop = &fix.loop;
	ck_assert_int_eq(virtio_vsock_init(&vs, options), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(virtio_vsock_listen(&vs), 0);
	device_attach(&vs.dev);
	device_run_loop();
	begin(N_RX);
}

static inline void open_device(unsigned int max)
{
	struct virtio_vsock_options options = {.cid = CID, .path = path, .max_connections = max};

	open_device_with(&options);
}

/* What belongs to the device's loop. */
struct counts {
	unsigned int conns;
	unsigned int clients; /* that have not said what they want */
	unsigned int resets;
	uint32_t next_port;
	size_t kept;	 /* bytes that the first connection's socket has not taken */
	bool has_packet; /* and whether it has one for the guest */
};

static inline void count_on_loop(void *arg)
{
	struct vsock_conn *first = TAILQ_FIRST(&vs.all);

	*(struct counts *)arg = (struct counts){.conns = vs.n_conns,
						.clients = vs.host.n_clients,
						.resets = vs.n_resets,
						.next_port = vs.map.next_port,
						.kept = first ? first->buf_len : 0,
						.has_packet = first &&
							      vsock_conn_has_packet(first)};
}

static inline struct counts counts(void)
{
	struct counts c;

	evloop_call(&fix.loop, count_on_loop, &c);
	return c;
}

static inline void close_device(void)
{
	device_detach();
	virtio_vsock_fini(&vs);
	device_finish();
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(rmdir(dir), 0);
}

/* ---- the guest ---- */

static inline struct virtio_vsock_hdr header(uint16_t op, uint32_t host, uint32_t guest)
{
	return (struct virtio_vsock_hdr){.src_cid = CID,
					 .dst_cid = 2,
					 .src_port = guest,
					 .dst_port = host,
					 .type = VIRTIO_VSOCK_TYPE_STREAM,
					 .op = op,
					 .buf_alloc = GUEST_ROOM};
}

static inline void send_raw(const struct virtio_vsock_hdr *hdr, size_t hdr_len, const void *data,
			    uint32_t len, uint32_t cut)
{
	struct virtq_piece pieces[VIRTIO_VSOCK_QUEUE_SIZE];
	uint32_t head;

	memcpy(device_at(TX_AT, TX_BYTES + 64), hdr, hdr_len);
	if (len)
		memcpy(device_at(TX_AT + hdr_len, len), data, len);
	virtq_driver_send(&fix.drv[TX], pieces,
			  virtq_driver_cut(pieces, VIRTIO_VSOCK_QUEUE_SIZE, TX_AT,
					   (uint32_t)hdr_len + len, false, cut));
	device_kick(TX);
	while (virtq_driver_used(&fix.drv[TX], &head, NULL))
		;
}

static inline void send_hdr(const struct virtio_vsock_hdr *hdr, const void *data, uint32_t len)
{
	send_raw(hdr, sizeof(*hdr), data, len, 0);
}

static inline void send_op(uint16_t op, uint32_t host, uint32_t guest)
{
	struct virtio_vsock_hdr hdr = header(op, host, guest);

	send_hdr(&hdr, NULL, 0);
}

static inline void send_shutdown(uint32_t host, uint32_t guest, uint32_t flags)
{
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_SHUTDOWN, host, guest);

	hdr.flags = flags;
	send_hdr(&hdr, NULL, 0);
}

static inline void send_data(uint32_t host, uint32_t guest, const void *data, uint32_t len)
{
	struct virtio_vsock_hdr hdr = header(VIRTIO_VSOCK_OP_RW, host, guest);

	hdr.len = len;
	send_hdr(&hdr, data, len);
}

/* Takes the next packet and gives its buffer back. Returns whether there was one. */
static inline bool next(struct seen *seen)
{
	uint32_t head, len;
	unsigned int slot;

	for (int i = 0; virtq_driver_n_used(&fix.drv[RX]) == 0; i++) {
		if (i == 20)
			return false;
		evloop_settle(&fix.loop);
	}
	ck_assert(virtq_driver_used(&fix.drv[RX], &head, &len));
	slot = rx_slot[head];
	memcpy(seen, device_at(DEV_BUFFERS + slot * 8192u, RX_BYTES), RX_BYTES);
	ck_assert_uint_eq(len, sizeof(seen->hdr) + seen->hdr.len);
	ck_assert_uint_eq(seen->hdr.src_cid, 2);
	ck_assert_uint_eq(seen->hdr.dst_cid, CID);
	put_rx_slot(slot);
	if (virtq_driver_needs_kick(&fix.drv[RX], false))
		device_kick(RX);
	return true;
}

static inline struct seen expect(uint16_t op, uint32_t host, uint32_t guest)
{
	struct seen seen;

	ck_assert(next(&seen));
	ck_assert_uint_eq(seen.hdr.op, op);
	ck_assert_uint_eq(seen.hdr.src_port, host);
	ck_assert_uint_eq(seen.hdr.dst_port, guest);
	return seen;
}

static inline void expect_nothing(void)
{
	struct seen seen;

	ck_assert(!next(&seen));
}

/* ---- the host ---- */

static inline struct sockaddr_un address(int port)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (port < 0)
		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	else
		snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%d", path, port);
	return addr;
}

static inline int listen_at(int port, int backlog)
{
	struct sockaddr_un addr = address(port);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(listen(fd, backlog), 0);
	return fd;
}

static inline void unlisten(int fd, int port)
{
	struct sockaddr_un addr = address(port);

	close(fd);
	unlink(addr.sun_path);
}

static inline int client(const char *line)
{
	struct sockaddr_un addr = address(-1);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct timeval patience = {.tv_sec = 10};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	ck_assert_int_eq(write(fd, line, strlen(line)), (ssize_t)strlen(line));
	evloop_settle(&fix.loop);
	return fd;
}

static inline void expect_text(int fd, const char *text)
{
	char got[256] = "";
	size_t len = strlen(text), have = 0;
	ssize_t n = 1;

	while (have < len && n > 0) {
		n = read(fd, got + have, len - have);
		have += n > 0 ? (size_t)n : 0;
	}
	ck_assert_str_eq(got, text);
}

static inline void expect_eof(int fd)
{
	char byte;

	ck_assert_int_eq(read(fd, &byte, 1), 0);
}

/* A stream that the guest began, open on both sides. Returns the host's end. */
static inline int guest_opens(int listener, uint32_t host, uint32_t guest)
{
	int fd;

	send_op(VIRTIO_VSOCK_OP_REQUEST, host, guest);
	expect(VIRTIO_VSOCK_OP_RESPONSE, host, guest);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

/* A stream that the host began. Returns the host's end, and its port. */
static inline int host_opens(uint32_t guest, uint32_t *port)
{
	char line[32];
	struct seen seen;
	int fd;

	snprintf(line, sizeof(line), "CONNECT %u\n", guest);
	fd = client(line);
	ck_assert(next(&seen));
	ck_assert_uint_eq(seen.hdr.op, VIRTIO_VSOCK_OP_REQUEST);
	ck_assert_uint_eq(seen.hdr.dst_port, guest);
	*port = seen.hdr.src_port;
	send_op(VIRTIO_VSOCK_OP_RESPONSE, *port, guest);
	snprintf(line, sizeof(line), "OK %u\n", *port);
	expect_text(fd, line);
	return fd;
}
