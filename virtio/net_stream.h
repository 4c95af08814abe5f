/*
 * A network card's backend that speaks over a stream socket: before each Ethernet frame its length, 32 bits in network
 * order. There are no headers on the wire, so no offloads either.
 *
 * The other end is not believed: a length that no frame has ends the connection. Nor is it waited for: what it does
 * not take at once of one frame is kept here, and until that is gone no other is accepted.
 *
 * Owner: whoever opened it, until net_stream_close(). Threads: see struct net_backend; reading and writing share nothing.
 */
#pragma once

#include <stdint.h>

#include "virtio/net_backend.h"

/* A frame with two VLAN tags and its length in front; and several of them, which one system call may read. */
#define NET_STREAM_FRAME_MAX (14u + 8u + 65535u)
#define NET_STREAM_BUFFER    (256u * 1024u)
/* What the other side takes: passt of 2024 and later ends at a longer frame. */
#define NET_STREAM_SEND_MAX  65535u

struct net_stream_rx {
	size_t start; /* of what was not consumed yet */
	size_t end;
	bool drained; /* the socket had no more than this */
	uint8_t buf[NET_STREAM_BUFFER];
};

struct net_stream_tx {
	size_t start; /* of the rest of a frame, which the socket has not taken yet */
	size_t end;
	uint8_t buf[4 + NET_STREAM_SEND_MAX];
};

struct net_stream {
	struct net_backend be;
	/* owned by the thread that serves that direction */
	struct net_stream_rx *rx;
	struct net_stream_tx *tx;
};

/* Takes over the connected socket in any case. name and kind are borrowed. Returns 0 or negative errno. */
int net_stream_open(struct net_stream *stream, int fd, const char *kind, const char *name,
		    unsigned int mtu);

void net_stream_close(struct net_stream *stream);
