/*
 * The other end of a network card's stream says anything, takes what it likes and leaves when it likes; what it gets is whole
 * frames, in order.
 *
 * Fuzzes: virtio/net_stream.c
 */
#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/input.h"
#include "virtio/net_stream.h"

#define HDR	   ((uint32_t)sizeof(struct virtio_net_hdr_v1))
#define MAX_FRAMES 1024u

static struct net_stream stream;
static int peer; /* -1: closed */

/* Frames that were sent and have not arrived yet, by their lengths; and the one that arrives now. */
static struct {
	uint32_t len[MAX_FRAMES];
	unsigned int first, n;
	uint8_t prefix[4];
	uint32_t prefix_len, body_len;
} wire;

/* ---- the peer ---- */

static void take_byte(uint8_t byte)
{
	uint32_t len;

	if (wire.prefix_len < sizeof(wire.prefix)) {
		wire.prefix[wire.prefix_len++] = byte;
		memcpy(&len, wire.prefix, sizeof(len));
		if (wire.prefix_len == sizeof(wire.prefix))
			FUZZ_CHECK(wire.first < wire.n && ntohl(len) == wire.len[wire.first]);
		return;
	}
	FUZZ_CHECK(byte == (uint8_t)(wire.body_len * 7 + wire.len[wire.first]));
	if (++wire.body_len < wire.len[wire.first])
		return;
	wire.first++;
	wire.prefix_len = wire.body_len = 0;
}

static void peer_takes(uint32_t most)
{
	static uint8_t bytes[0x10000];
	ssize_t n = recv(peer, bytes, most < sizeof(bytes) ? most : sizeof(bytes), MSG_DONTWAIT);

	for (ssize_t i = 0; i < n; i++)
		take_byte(bytes[i]);
}

static void peer_sends(struct fuzz_input *in, uint8_t how)
{
	static uint8_t bytes[4 + 0x12000];
	uint32_t len = 14u + (how & 0x10 ? fuzz_u16(in) + (how & 1u) * 0x20 : fuzz_u8(in));
	uint32_t prefix = htonl(len);
	uint32_t all = 4 + len, n = 1 + (how >> 5);

	if (how >= 0xf0) { /* that is no frame */
		prefix = fuzz_u32(in);
		all = 4 + fuzz_u8(in);
	}
	memcpy(bytes, &prefix, sizeof(prefix));
	if (how & 8) /* some of it now, the rest is not to come */
		all = 1 + fuzz_u16(in) % all;
	for (uint32_t i = 0; i < n; i++) {
		if (send(peer, bytes, all, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)all)
			return;
	}
}

/* ---- the card ---- */

static void card_reads(struct fuzz_input *in, uint8_t how)
{
	const struct net_backend_ops *ops = stream.be.ops;
	uint32_t room = how & 8 ? fuzz_u16(in) : HDR + 0x12000;
	uint32_t cut = how & 0x10 ? fuzz_u16(in) % (room + 1) : room;
	uint8_t *one = malloc(cut ? cut : 1), *two = malloc(room - cut ? room - cut : 1);
	const struct iovec iov[] = {{one, cut}, {two, room - cut}};
	ssize_t len;

	if (!one || !two)
		abort();
	for (unsigned int i = 0; i <= how >> 5; i++) {
		len = ops->read(&stream.be, 0, iov, 2);
		FUZZ_CHECK(len <= 0 || ((size_t)len >= HDR + ETH_HLEN &&
					(size_t)len <= HDR + NET_STREAM_FRAME_MAX));
		if (len < 0)
			FUZZ_CHECK(len == -EPROTO || len == -EPIPE || len == -ECONNRESET);
		if (len == -EPROTO)
			FUZZ_CHECK(ops->pending(&stream.be, 0));
	}
	ops->pending(&stream.be, 0);
	free(one);
	free(two);
}

/* One frame of the card's, in pieces. */
static void card_writes(struct fuzz_input *in, uint8_t how)
{
	static uint8_t packet[HDR + 0x11000];
	uint32_t len = how & 8 ? 14 + fuzz_u16(in) + (how & 0x40) : 14 + fuzz_u8(in);
	uint32_t all = HDR + len, cut = how & 0x10 ? 1u + fuzz_u8(in) : all;
	struct iovec iov[256];
	unsigned int n = 0;

	for (uint32_t i = 0; i < len; i++)
		packet[HDR + i] = (uint8_t)(i * 7 + len);
	for (uint32_t at = 0; at < all; n++) {
		uint32_t part = n == 255 || all - at < cut ? all - at : cut;

		iov[n] = (struct iovec){packet + at, part};
		at += part;
	}
	if (wire.n == MAX_FRAMES || !stream.be.ops->ready(&stream.be, 0))
		return;
	if (stream.be.ops->write(&stream.be, 0, iov, n, all) == 0)
		wire.len[wire.n++] = len;
}

static void op(struct fuzz_input *in)
{
	uint8_t what = fuzz_u8(in);

	switch (what & 7) {
	case 0:
	case 1:
		if (peer >= 0)
			peer_sends(in, what);
		break;
	case 2:
		if (peer >= 0)
			peer_takes(what & 8 ? 1u + what : fuzz_u16(in) + 1u);
		break;
	case 3:
	case 4:
		card_reads(in, what);
		break;
	case 5:
	case 6:
		card_writes(in, what);
		break;
	default:
		if (what < 0xe0) {
			stream.be.ops->discard(&stream.be);
		} else if (peer >= 0) {
			close(peer);
			peer = -1;
		}
	}
}

/* All that was taken comes. */
static void drain(void)
{
	while (peer >= 0 && !stream.be.ops->ready(&stream.be, 0))
		peer_takes(UINT32_MAX);
	for (unsigned int i = 0; peer >= 0 && wire.first < wire.n; i++) {
		FUZZ_CHECK(i < MAX_FRAMES * 4);
		peer_takes(UINT32_MAX);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {.at = data, .left = size};
	int pair[2], room = fuzz_u8(&in) << 10;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		abort();
	peer = pair[1];
	memset(&wire, 0, sizeof(wire));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	FUZZ_CHECK(net_stream_open(&stream, pair[0], "stream", "fuzz", 1500) == 0);
	while (fuzz_more(&in))
		op(&in);
	drain();
	if (peer >= 0)
		close(peer);
	net_stream_close(&stream);
	return 0;
}
