#include "virtio/net_stream.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/core/descriptor.h"
#include "vmm/core/iov.h"

#define NET_STREAM_HDR sizeof(struct virtio_net_hdr_v1)
#define NET_STREAM_LEN sizeof(uint32_t)

/* More than the socket and the buffer hold is not thrown away at once. */
#define NET_STREAM_DISCARD_MAX 64

static struct net_stream *net_stream_of(struct net_backend *be)
{
	return (struct net_stream *)((char *)be - offsetof(struct net_stream, be));
}

/* ---- reading ---- */

/* Length of the frame at the start of the buffer, 0 when it is not all there, -EPROTO when no frame is that long. */
static ssize_t net_stream_peek(const struct net_stream_rx *rx)
{
	uint32_t len;

	if (rx->end - rx->start < NET_STREAM_LEN)
		return 0;
	memcpy(&len, &rx->buf[rx->start], sizeof(len));
	len = ntohl(len);
	if (len < ETH_HLEN || len > NET_STREAM_FRAME_MAX)
		return -EPROTO;
	return rx->end - rx->start - NET_STREAM_LEN >= len ? (ssize_t)len : 0;
}

/* Reads what fits. Returns 1 when something came, 0 when nothing waits, or why nothing will come any more. */
static int net_stream_fill(struct net_stream *stream)
{
	struct net_stream_rx *rx = stream->rx;
	size_t room;
	ssize_t n;

	if (rx->drained) {
		rx->drained = false;
		return 0;
	}
	if (rx->start > 0) {
		memmove(rx->buf, &rx->buf[rx->start], rx->end - rx->start);
		rx->end -= rx->start;
		rx->start = 0;
	}
	room = sizeof(rx->buf) - rx->end;
	n = recv(stream->be.fd[0], &rx->buf[rx->end], room, MSG_DONTWAIT);
	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	rx->end += (size_t)n;
	return 1;
}

/*
 * Returns the length of the frame at the start of the buffer, as net_stream_peek(). A read that came short emptied the socket,
 * and is followed by none: the socket polls readable for what comes later.
 */
static ssize_t net_stream_next(struct net_stream *stream)
{
	struct net_stream_rx *rx = stream->rx;
	ssize_t len = net_stream_peek(rx);

	while (len == 0) {
		int r = net_stream_fill(stream);

		if (r <= 0)
			return r;
		len = net_stream_peek(rx);
		/* A frame that is there in part needs more; with whole ones the next call has work anyway. */
		rx->drained = len > 0 && rx->end < sizeof(rx->buf);
	}
	return len;
}

static ssize_t net_stream_read(struct net_backend *be, unsigned int queue, const struct iovec *iov,
			       unsigned int n)
{
	static const struct virtio_net_hdr_v1 hdr;
	struct net_stream *stream = net_stream_of(be);
	struct net_stream_rx *rx = stream->rx;
	ssize_t len = net_stream_next(stream);
	struct iov_cursor cur;

	(void)queue;
	if (len <= 0)
		return len;
	iov_cursor_init(&cur, iov, n);
	iov_cursor_write(&cur, &hdr, sizeof(hdr));
	iov_cursor_write(&cur, &rx->buf[rx->start + NET_STREAM_LEN], (size_t)len);
	rx->start += NET_STREAM_LEN + (size_t)len;
	return (ssize_t)NET_STREAM_HDR + len;
}

static bool net_stream_pending(struct net_backend *be, unsigned int queue)
{
	(void)queue;
	return net_stream_peek(net_stream_of(be)->rx) != 0;
}

static void net_stream_discard(struct net_backend *be)
{
	struct net_stream *stream = net_stream_of(be);

	for (unsigned int i = 0; i < NET_STREAM_DISCARD_MAX; i++) {
		ssize_t len = net_stream_next(stream);

		if (len <= 0)
			return;
		stream->rx->start += NET_STREAM_LEN + (size_t)len;
	}
}

/* ---- writing ---- */

/* Whether nothing is left of the last frame. An error is the reader's to find. */
static bool net_stream_ready(struct net_backend *be, unsigned int queue)
{
	struct net_stream_tx *tx = net_stream_of(be)->tx;
	ssize_t n;

	(void)queue;
	if (tx->start == tx->end)
		return true;
	n = send(be->write_fd[0], &tx->buf[tx->start], tx->end - tx->start,
		 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno != EAGAIN && errno != EINTR && errno != ENOBUFS && errno != ENOMEM;
	tx->start += (size_t)n;
	return tx->start == tx->end;
}

/* Keeps what the socket did not take: all but the first bytes of what cur is over. */
static void net_stream_keep(struct net_stream_tx *tx, struct iov_cursor *cur, size_t sent)
{
	iov_cursor_skip(cur, sent);
	tx->start = 0;
	tx->end = iov_cursor_read(cur, tx->buf, sizeof(tx->buf));
}

static int net_stream_write(struct net_backend *be, unsigned int queue, const struct iovec *iov,
			    unsigned int n, size_t bytes)
{
	struct net_stream_tx *tx = net_stream_of(be)->tx;
	size_t len = bytes - NET_STREAM_HDR, taken;
	uint32_t prefix = htonl((uint32_t)len);
	struct iovec out[64] = {{.iov_base = &prefix, .iov_len = sizeof(prefix)}};
	struct msghdr msg = {.msg_iov = out};
	struct iov_cursor cur, whole;
	ssize_t sent = -1;

	(void)queue;
	if (len > NET_STREAM_SEND_MAX)
		return -EINVAL;
	iov_cursor_init(&cur, iov, n);
	iov_cursor_skip(&cur, NET_STREAM_HDR);
	msg.msg_iovlen = 1 + iov_cursor_take(&cur, &out[1], 63, len, &taken);
	if (taken < len)
		return -EINVAL; /* in more pieces than any driver makes of a frame */
	sent = sendmsg(be->write_fd[0], &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	if (sent < 0)
		sent = 0;
	if ((size_t)sent < NET_STREAM_LEN + len) {
		iov_cursor_init(&whole, out, (unsigned int)msg.msg_iovlen);
		net_stream_keep(tx, &whole, (size_t)sent);
	}
	return 0;
}

static const struct net_backend_ops net_stream_ops = {
	.read = net_stream_read,
	.write = net_stream_write,
	.ready = net_stream_ready,
	.pending = net_stream_pending,
	.discard = net_stream_discard,
};

/* ---- life ---- */

int net_stream_open(struct net_stream *stream, int fd, const char *kind, const char *name,
		    unsigned int mtu)
{
	*stream = (struct net_stream){.be = {.ops = &net_stream_ops,
					     .kind = kind,
					     .name = name,
					     .n_queues = 1,
					     .mtu = mtu,
					     .link_fd = -1,
					     .link_up = true}};
	stream->be.fd[0] = fd;
	/* The two directions are watched apart, and epoll counts descriptors. */
	stream->be.write_fd[0] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (stream->be.write_fd[0] >= 0) {
		stream->rx = calloc(1, sizeof(*stream->rx));
		stream->tx = calloc(1, sizeof(*stream->tx));
		if (stream->rx && stream->tx)
			return 0;
		errno = ENOMEM;
	}
	fd = -errno;
	net_stream_close(stream);
	return fd;
}

void net_stream_close(struct net_stream *stream)
{
	descriptor_hang_up(stream->be.fd[0]);
	if (stream->be.write_fd[0] >= 0)
		close(stream->be.write_fd[0]);
	free(stream->rx);
	free(stream->tx);
	stream->be.fd[0] = stream->be.write_fd[0] = -1;
	stream->rx = NULL;
	stream->tx = NULL;
}
