/*
 * One stream between a port of the guest and a unix socket of the host (virtio 1.2, 5.10.6): its states, the credit of
 * both directions, half-closes and resets. It knows neither rings nor the event loop.
 *
 *	ASKING       a client on the host asked; the guest has not answered yet
 *	CONNECTING   the guest asked; the host's listener has no room yet
 *	OPEN
 *	CLOSING      the host has closed, the guest was told and has not answered yet
 *	DRAINING     the guest is through; the host has yet to take what the guest sent
 *	OVER         nothing is left to do but to send what is pending
 *
 * From the guest to the host: bytes go into the socket right from the guest's buffers, and what the socket does not take
 * waits in a buffer of buf_alloc bytes, which is the credit that the guest has. Who sends more is reset. From the host to
 * the guest: the socket is read into the guest's buffers when there are some, and only as much as the guest gave credit
 * for; the rest stays in the socket, and its sender has to wait.
 *
 * Owner: struct virtio_vsock. Loop thread only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "virtio/vsock_packet.h"
#include "vmm/core/evloop.h"

enum vsock_conn_state {
	VSOCK_CONN_ASKING,
	VSOCK_CONN_CONNECTING,
	VSOCK_CONN_OPEN,
	VSOCK_CONN_CLOSING,
	VSOCK_CONN_DRAINING,
	VSOCK_CONN_OVER,
};

struct vsock_conn {
	/* immutable */
	uint32_t host_port;
	uint32_t guest_port;
	uint32_t buf_alloc; /* bytes that the guest may send ahead of what the host takes */
	/* the stream; read by others, changed by vsock_conn.c alone */
	enum vsock_conn_state state;
	int fd;		     /* the host's end; -1: closed */
	uint32_t pending;    /* bit i: a packet with op i is to be sent */
	uint32_t shut_host;  /* VIRTIO_VSOCK_SHUTDOWN_*: what the host side does no more */
	uint32_t shut_guest; /* what the guest does no more */
	bool hup;	     /* the host's peer has closed both directions */
	bool readable;	     /* the socket may have bytes for the guest, or its end */
	/* credit: free running counts of bytes */
	uint32_t received; /* from the guest */
	uint32_t fwd_cnt;  /* of these, out of our hands */
	uint32_t told;	   /* fwd_cnt as last told to the guest */
	uint32_t sent;	   /* to the guest */
	uint32_t peer_buf_alloc;
	uint32_t peer_fwd_cnt;
	/* what the socket did not take: a ring of buf_alloc bytes, there only while it is needed */
	uint8_t *buf;
	uint32_t buf_first;
	uint32_t buf_len;
	/* of the owner */
	void *owner;
	struct evloop_fd watch;
	struct vsock_conn *map_next;
	TAILQ_ENTRY(vsock_conn) all;
	TAILQ_ENTRY(vsock_conn) turn;
	TAILQ_ENTRY(vsock_conn) wait;
	bool in_map;
	bool in_turn;
	bool in_wait;
	enum vsock_conn_state wait_state;
	uint64_t wait_end;  /* ns of CLOCK_MONOTONIC */
	unsigned int reach; /* guest buffers worth trying at once */
};

TAILQ_HEAD(vsock_conn_list, vsock_conn);

/* A client of the host asked for guest_port. Takes fd over, which does not block. NULL: out of memory, fd stays. */
struct vsock_conn *vsock_conn_ask(int fd, uint32_t host_port, uint32_t guest_port,
				  uint32_t buf_alloc);

/* The guest asked, by this packet; fd is not connected yet. NULL: as above. */
struct vsock_conn *vsock_conn_accept(int fd, const struct vsock_packet *packet, uint32_t buf_alloc);

/* CONNECTING: fd is connected now. */
void vsock_conn_connected(struct vsock_conn *conn);

/* A good packet from the guest for this connection, with its payload. */
void vsock_conn_receive(struct vsock_conn *conn, const struct vsock_packet *packet,
			struct iov_cursor *payload);

/* What epoll said of fd. */
void vsock_conn_host_event(struct vsock_conn *conn, uint32_t events);

/* What to ask epoll for; 0: nothing. */
uint32_t vsock_conn_events(const struct vsock_conn *conn);

/* How many bytes may be read for the guest now. */
size_t vsock_conn_may_read(const struct vsock_conn *conn);

/* Reads at most what vsock_conn_may_read() said. Returns the bytes, which the guest must get, or 0. */
size_t vsock_conn_read(struct vsock_conn *conn, const struct iovec *iov, unsigned int n,
		       size_t len);

/* Whether a packet without payload waits to be sent; takes the most urgent one. */
bool vsock_conn_has_packet(const struct vsock_conn *conn);
void vsock_conn_take_packet(struct vsock_conn *conn, struct vsock_packet *packet);

/* The packet for len bytes of what was read. */
void vsock_conn_data_packet(struct vsock_conn *conn, struct vsock_packet *packet, uint32_t len);

/* Ends the stream at once, and tells the guest if it knows of it. */
void vsock_conn_reset(struct vsock_conn *conn);

/* CLOSING and OVER have no use for fd; the owner watches it no more. */
void vsock_conn_close_fd(struct vsock_conn *conn);

/* Closes and frees. The owner has forgotten it. */
void vsock_conn_free(struct vsock_conn *conn);
