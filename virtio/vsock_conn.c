#include "virtio/vsock_conn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/assert.h"
#include "vmm/core/descriptor.h"
#include "vmm/core/unset.h"

#define VSOCK_CONN_IOV	  64 /* pieces in one call */
#define VSOCK_OP_BIT(op)  (UINT32_C(1) << (op))
#define VSOCK_SHUTDOWN_RW (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

/* ---- birth ---- */

static struct vsock_conn *vsock_conn_new(int fd, uint32_t host_port, uint32_t guest_port,
					 uint32_t buf_alloc)
{
	struct vsock_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->fd = fd;
	conn->host_port = host_port;
	conn->guest_port = guest_port;
	conn->buf_alloc = buf_alloc;
	conn->reach = 1;
	return conn;
}

struct vsock_conn *vsock_conn_ask(int fd, uint32_t host_port, uint32_t guest_port,
				  uint32_t buf_alloc)
{
	struct vsock_conn *conn = vsock_conn_new(fd, host_port, guest_port, buf_alloc);

	if (conn) {
		conn->state = VSOCK_CONN_ASKING;
		conn->pending = VSOCK_OP_BIT(VIRTIO_VSOCK_OP_REQUEST);
	}
	return conn;
}

struct vsock_conn *vsock_conn_accept(int fd, const struct vsock_packet *packet, uint32_t buf_alloc)
{
	struct vsock_conn *conn = vsock_conn_new(fd, packet->host_port, packet->guest_port,
						 buf_alloc);

	if (conn) {
		conn->state = VSOCK_CONN_CONNECTING;
		conn->peer_buf_alloc = packet->buf_alloc;
		conn->peer_fwd_cnt = packet->fwd_cnt;
	}
	return conn;
}

void vsock_conn_connected(struct vsock_conn *conn)
{
	assert(conn->state == VSOCK_CONN_CONNECTING);
	conn->state = VSOCK_CONN_OPEN;
	conn->pending |= VSOCK_OP_BIT(VIRTIO_VSOCK_OP_RESPONSE);
}

/* ---- death ---- */

static void vsock_conn_drop_buffer(struct vsock_conn *conn)
{
	free(conn->buf);
	conn->buf = NULL;
	conn->buf_len = 0;
	conn->fwd_cnt = conn->received;
}

/* fd itself is closed by vsock_conn_close_fd(), when it is no more watched. */
static void vsock_conn_close(struct vsock_conn *conn)
{
	vsock_conn_drop_buffer(conn);
	conn->readable = false;
}

/* The guest knows no more of the stream, or is told so now. What it sent goes on to the host. */
static void vsock_conn_guest_gone(struct vsock_conn *conn, uint32_t pending)
{
	conn->pending = pending;
	conn->readable = false;
	conn->state = conn->buf_len > 0 ? VSOCK_CONN_DRAINING : VSOCK_CONN_OVER;
}

void vsock_conn_reset(struct vsock_conn *conn)
{
	bool known = !(conn->pending & VSOCK_OP_BIT(VIRTIO_VSOCK_OP_REQUEST));

	if (conn->state == VSOCK_CONN_DRAINING || conn->state == VSOCK_CONN_OVER)
		known = conn->pending & VSOCK_OP_BIT(VIRTIO_VSOCK_OP_RST);
	conn->pending = known ? VSOCK_OP_BIT(VIRTIO_VSOCK_OP_RST) : 0;
	conn->state = VSOCK_CONN_OVER;
	vsock_conn_close(conn);
}

void vsock_conn_close_fd(struct vsock_conn *conn)
{
	descriptor_hang_up(conn->fd);
	conn->fd = -1;
}

void vsock_conn_free(struct vsock_conn *conn)
{
	vsock_conn_close(conn);
	vsock_conn_close_fd(conn);
	free(conn);
}

/* The host's peer is gone and all that it sent was passed on: the guest is to acknowledge that (5.10.6.6). */
static void vsock_conn_host_gone(struct vsock_conn *conn)
{
	conn->shut_host = VSOCK_SHUTDOWN_RW;
	conn->pending |= VSOCK_OP_BIT(VIRTIO_VSOCK_OP_SHUTDOWN);
	conn->state = VSOCK_CONN_CLOSING;
	vsock_conn_close(conn);
}

static void vsock_conn_check_hup(struct vsock_conn *conn)
{
	bool nothing_to_read = (conn->shut_host & VIRTIO_VSOCK_SHUTDOWN_SEND) ||
			       (conn->shut_guest & VIRTIO_VSOCK_SHUTDOWN_RCV);

	if (conn->state == VSOCK_CONN_OPEN && conn->hup && nothing_to_read)
		vsock_conn_host_gone(conn);
}

/* ---- from the guest to the host ---- */

/*
 * The guest learns of free room when more than half of it is news; packets that go its way tell it anyway (5.10.6.3). Linux sends no more
 * ahead than it would take itself: of a small window half is little, and more might never come. At most one update answers a packet, be
 * the window none at all.
 */
static void vsock_conn_forwarded(struct vsock_conn *conn, size_t bytes)
{
	uint32_t window = conn->peer_buf_alloc < conn->buf_alloc ? conn->peer_buf_alloc
								 : conn->buf_alloc;

	conn->fwd_cnt += (uint32_t)bytes;
	if (conn->state == VSOCK_CONN_OPEN && conn->fwd_cnt - conn->told > window / 2)
		conn->pending |= VSOCK_OP_BIT(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
}

/* The host's peer takes nothing any more: the guest is told, and what it sends meanwhile is thrown away. */
static void vsock_conn_host_deaf(struct vsock_conn *conn)
{
	vsock_conn_drop_buffer(conn);
	conn->shut_host |= VIRTIO_VSOCK_SHUTDOWN_RCV;
	if (conn->state == VSOCK_CONN_OPEN)
		conn->pending |= VSOCK_OP_BIT(VIRTIO_VSOCK_OP_SHUTDOWN);
}

/* Returns how many bytes the socket took; when it takes nothing ever again, vsock_conn_host_deaf() was called. */
static size_t vsock_conn_write(struct vsock_conn *conn, struct iovec *iov, unsigned int n)
{
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
	ssize_t done = sendmsg(conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (done >= 0) {
		vsock_conn_forwarded(conn, (size_t)done);
		return (size_t)done;
	}
	if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		vsock_conn_host_deaf(conn);
	return 0;
}

/* The first or the last bytes of the ring, in at most two pieces. */
static unsigned int vsock_conn_ring(const struct vsock_conn *conn, uint32_t at, uint32_t len,
				    struct iovec iov[2])
{
	uint32_t until_wrap = conn->buf_alloc - at;

	if (len <= until_wrap) {
		iov[0] = (struct iovec){.iov_base = conn->buf + at, .iov_len = len};
		return 1;
	}
	iov[0] = (struct iovec){.iov_base = conn->buf + at, .iov_len = until_wrap};
	iov[1] = (struct iovec){.iov_base = conn->buf, .iov_len = len - until_wrap};
	return 2;
}

static void vsock_conn_finish_sending(struct vsock_conn *conn)
{
	if (conn->state == VSOCK_CONN_DRAINING)
		conn->state = VSOCK_CONN_OVER;
	else if (conn->shut_guest & VIRTIO_VSOCK_SHUTDOWN_SEND)
		shutdown(conn->fd, SHUT_WR);
}

static void vsock_conn_flush(struct vsock_conn *conn)
{
	struct iovec iov[2];
	unsigned int n = vsock_conn_ring(conn, conn->buf_first, conn->buf_len, iov);
	size_t done = vsock_conn_write(conn, iov, n);

	if (conn->buf) {
		conn->buf_first = (uint32_t)((conn->buf_first + done) % conn->buf_alloc);
		conn->buf_len -= (uint32_t)done;
	}
	if (conn->buf_len > 0)
		return;
	free(conn->buf);
	conn->buf = NULL;
	vsock_conn_finish_sending(conn);
}

/* There is room: that is what credit means. */
static void vsock_conn_store(struct vsock_conn *conn, struct iov_cursor *payload, uint32_t len)
{
	struct iovec iov[2];
	unsigned int n;

	if (!conn->buf) {
		conn->buf = malloc(conn->buf_alloc);
		conn->buf_first = 0;
	}
	if (!conn->buf) {
		vsock_conn_reset(conn);
		return;
	}
	n = vsock_conn_ring(conn, (conn->buf_first + conn->buf_len) % conn->buf_alloc, len, iov);
	for (unsigned int i = 0; i < n; i++)
		iov_cursor_read(payload, iov[i].iov_base, iov[i].iov_len);
	conn->buf_len += len;
}

/* Straight from the guest's buffers. Returns the bytes that are left; 0 also when the host takes no more. */
static uint32_t vsock_conn_pass(struct vsock_conn *conn, struct iov_cursor *payload, uint32_t len)
{
	while (len > 0) {
		struct iov_cursor ahead = *payload;
		UNSET struct iovec iov[VSOCK_CONN_IOV];
		size_t want, done;
		unsigned int n = iov_cursor_take(&ahead, iov, VSOCK_CONN_IOV, len, &want);

		done = vsock_conn_write(conn, iov, n);
		if (conn->shut_host & VIRTIO_VSOCK_SHUTDOWN_RCV)
			return 0;
		iov_cursor_skip(payload, done);
		len -= (uint32_t)done;
		if (done < want)
			break;
	}
	return len;
}

static void vsock_conn_data(struct vsock_conn *conn, uint32_t len, struct iov_cursor *payload)
{
	if (conn->state == VSOCK_CONN_CLOSING)
		return; /* it crossed our SHUTDOWN */
	if (conn->state != VSOCK_CONN_OPEN || (conn->shut_guest & VIRTIO_VSOCK_SHUTDOWN_SEND) ||
	    len > conn->buf_alloc - conn->buf_len) {
		vsock_conn_reset(conn);
		return;
	}
	conn->received += len;
	if (conn->shut_host & VIRTIO_VSOCK_SHUTDOWN_RCV) {
		vsock_conn_forwarded(conn, len);
		return;
	}
	if (conn->buf_len == 0)
		len = vsock_conn_pass(conn, payload, len);
	if (len > 0)
		vsock_conn_store(conn, payload, len);
}

/* ---- other packets of the guest ---- */

/* The answer that clients of the host wait for. */
static void vsock_conn_response(struct vsock_conn *conn)
{
	char line[24];
	int len = snprintf(line, sizeof(line), "OK %u\n", conn->host_port);

	if (conn->state != VSOCK_CONN_ASKING ||
	    (conn->pending & VSOCK_OP_BIT(VIRTIO_VSOCK_OP_REQUEST)) ||
	    send(conn->fd, line, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) != len) {
		vsock_conn_reset(conn);
		return;
	}
	conn->state = VSOCK_CONN_OPEN;
}

static void vsock_conn_shutdown(struct vsock_conn *conn, uint32_t flags)
{
	uint32_t news = flags & VSOCK_SHUTDOWN_RW & ~conn->shut_guest;

	if (conn->state != VSOCK_CONN_OPEN && conn->state != VSOCK_CONN_CLOSING) {
		vsock_conn_reset(conn);
		return;
	}
	conn->shut_guest |= news;
	if (conn->shut_guest == VSOCK_SHUTDOWN_RW) {
		vsock_conn_guest_gone(conn, VSOCK_OP_BIT(VIRTIO_VSOCK_OP_RST));
		return;
	}
	if (conn->state == VSOCK_CONN_CLOSING)
		return;
	if (news & VIRTIO_VSOCK_SHUTDOWN_RCV)
		descriptor_deafen(conn->fd);
	if ((news & VIRTIO_VSOCK_SHUTDOWN_SEND) && conn->buf_len == 0)
		vsock_conn_finish_sending(conn);
	vsock_conn_check_hup(conn);
}

/* What the guest gave room for and was not used yet; nonsense gives none. */
static uint32_t vsock_conn_credit(const struct vsock_conn *conn)
{
	uint32_t in_flight = conn->sent - conn->peer_fwd_cnt;

	return in_flight < conn->peer_buf_alloc ? conn->peer_buf_alloc - in_flight : 0;
}

void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_packet *packet,
			struct iov_cursor *payload)
{
	conn->peer_buf_alloc = packet->buf_alloc;
	conn->peer_fwd_cnt = packet->fwd_cnt;
	switch (packet->op) {
	case VIRTIO_VSOCK_OP_RESPONSE:
		vsock_conn_response(conn);
		break;
	case VIRTIO_VSOCK_OP_RST:
		vsock_conn_guest_gone(conn, 0);
		break;
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		vsock_conn_shutdown(conn, packet->flags);
		break;
	case VIRTIO_VSOCK_OP_RW:
		vsock_conn_data(conn, packet->len, payload);
		break;
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		vsock_conn_forwarded(conn, 0); /* the window may be smaller now */
		break;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		if (conn->state == VSOCK_CONN_OPEN || conn->state == VSOCK_CONN_CLOSING)
			conn->pending |= VSOCK_OP_BIT(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		break;
	default: /* VIRTIO_VSOCK_OP_REQUEST: for a stream that exists */
		vsock_conn_reset(conn);
	}
}

/* ---- from the host to the guest ---- */

void vsock_conn_host_event(struct vsock_conn *conn, uint32_t events)
{
	bool gone = events & (EPOLLHUP | EPOLLERR);

	if (conn->buf_len > 0)
		vsock_conn_flush(conn);
	conn->hup |= gone;
	if (conn->state == VSOCK_CONN_ASKING && gone)
		vsock_conn_reset(conn);
	if (conn->state != VSOCK_CONN_OPEN)
		return;
	conn->readable = events & (EPOLLIN | EPOLLHUP | EPOLLERR);
	vsock_conn_check_hup(conn);
}

static bool vsock_conn_wants_bytes(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_CONN_OPEN && vsock_conn_credit(conn) > 0 &&
	       !(conn->shut_host & VIRTIO_VSOCK_SHUTDOWN_SEND) &&
	       !(conn->shut_guest & VIRTIO_VSOCK_SHUTDOWN_RCV);
}

uint32_t vsock_conn_events(const struct vsock_conn *conn)
{
	/* EPOLLERR and EPOLLHUP are always told: asking for the one alone waits for either. */
	uint32_t events = conn->hup ? 0 : EPOLLERR;

	switch (conn->state) {
	case VSOCK_CONN_ASKING:
		return events;
	case VSOCK_CONN_DRAINING:
		return EPOLLOUT;
	case VSOCK_CONN_OPEN:
		if (conn->buf_len > 0)
			events |= EPOLLOUT;
		if (vsock_conn_wants_bytes(conn))
			events |= EPOLLIN;
		return events;
	default:
		return 0;
	}
}

size_t vsock_conn_may_read(const struct vsock_conn *conn)
{
	return conn->readable && vsock_conn_wants_bytes(conn) ? vsock_conn_credit(conn) : 0;
}

size_t vsock_conn_read(struct vsock_conn *conn, const struct iovec *iov, unsigned int n, size_t len)
{
	ssize_t done = readv(conn->fd, iov, (int)n);

	if (done > 0) {
		conn->readable = (size_t)done == len;
		conn->sent += (uint32_t)done;
		if (vsock_conn_credit(conn) == 0)
			conn->pending |= VSOCK_OP_BIT(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
		return (size_t)done;
	}
	conn->readable = false;
	if (done < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	/* The end. An error means that the peer has gone without reading all of ours. */
	conn->hup |= done < 0;
	conn->shut_host |= VIRTIO_VSOCK_SHUTDOWN_SEND;
	conn->pending |= VSOCK_OP_BIT(VIRTIO_VSOCK_OP_SHUTDOWN);
	vsock_conn_check_hup(conn);
	return 0;
}

/* ---- packets to the guest ---- */

static void vsock_conn_fill_packet(struct vsock_conn *conn, struct vsock_packet *packet,
				   uint16_t op)
{
	*packet = (struct vsock_packet){.host_port = conn->host_port,
					.guest_port = conn->guest_port,
					.type = VIRTIO_VSOCK_TYPE_STREAM,
					.op = op,
					.buf_alloc = conn->buf_alloc,
					.fwd_cnt = conn->fwd_cnt};
	conn->told = conn->fwd_cnt;
	conn->pending &= ~(VSOCK_OP_BIT(op) | VSOCK_OP_BIT(VIRTIO_VSOCK_OP_CREDIT_UPDATE));
}

bool vsock_conn_has_packet(const struct vsock_conn *conn)
{
	return conn->pending != 0;
}

/* The ops are numbered in the order in which they may follow one another. */
void vsock_conn_take_packet(struct vsock_conn *conn, struct vsock_packet *packet)
{
	assert(conn->pending != 0);
	vsock_conn_fill_packet(conn, packet, (uint16_t)__builtin_ctz(conn->pending));
	if (packet->op == VIRTIO_VSOCK_OP_SHUTDOWN)
		packet->flags = conn->shut_host;
}

void vsock_conn_data_packet(struct vsock_conn *conn, struct vsock_packet *packet, uint32_t len)
{
	vsock_conn_fill_packet(conn, packet, VIRTIO_VSOCK_OP_RW);
	packet->len = len;
}
