/*
 * virtio-vsock: streams between the guest and unix sockets of the host (virtio 1.2, 5.10).
 *
 * A client of the host that connects to PATH and writes "CONNECT PORT\n" reaches that port of the guest, and reads
 * "OK HOSTPORT\n" once the guest has accepted; else its connection is closed. A guest that connects to port P of the host
 * (CID 2) reaches the unix socket PATH_P, unless P is a port of the owner's, which has a connected socket at hand.
 *
 * Everything happens on one loop and nothing there waits: connections take turns, a turn moves VSOCK_RX_BUFFERS buffers at
 * most, and a callback has a budget. A connection that wants to send while the guest has no buffers queues up for them.
 * Resets for connections that do not exist are held in a short list; when it is full, the transmit queue waits (5.10.6.1.1).
 *
 * Memory: max_connections of them, each with what credit it gave the guest; the credit of new ones shrinks as their number
 * grows, so that it stays below 256 MiB in all. It is used only where clients of the host do not read.
 *
 * Owner: the machine. Threads: init and fini by the owner while the loop does not run; all else on the loop.
 *
 * Snapshot: the configuration space and the queues; connections do not survive (5.10.6.7).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "virtio/virtio.h"
#include "virtio/vsock_conn.h"
#include "virtio/vsock_host.h"
#include "virtio/vsock_map.h"
#include "virtio/vsock_rx.h"

#define VIRTIO_VSOCK_QUEUE_SIZE	     256
#define VIRTIO_VSOCK_MAX_CONNECTIONS 4096 /* unless told */
#define VIRTIO_VSOCK_PORTS	     8	  /* that are the owner's */
#define VIRTIO_VSOCK_RESETS	     64
#define VIRTIO_VSOCK_PATIENCE	     UINT64_C(8000000000) /* ns, with a side that does not answer */

/* 0 to 2 have a meaning of their own (5.10.4), and all ones stands for any. */
#define VIRTIO_VSOCK_CID_MIN UINT32_C(3)
#define VIRTIO_VSOCK_CID_MAX UINT32_C(0xfffffffe)

/* A port of the host that is no unix socket: the guest's first connection to it is this one, the next are refused. */
struct virtio_vsock_port {
	uint32_t port;
	int fd; /* a connected stream socket; a duplicate is used, and the socket does not block from then on */
};

struct virtio_vsock_options {
	struct evloop *loop; /* borrowed */
	uint32_t cid;
	const char *path; /* NULL: there are the ports alone */
	const struct virtio_vsock_port *ports;
	unsigned int n_ports;	      /* at most VIRTIO_VSOCK_PORTS */
	unsigned int max_connections; /* 0: VIRTIO_VSOCK_MAX_CONNECTIONS */
};

struct virtio_vsock {
	struct virtio_device dev;
	/* immutable after init */
	char name[32];
	uint64_t cid;
	unsigned int max_conns;
	/* owned by the loop thread */
	struct virtio_vsock_port
		port[VIRTIO_VSOCK_PORTS]; /* whose fd is -1 when it has been used */
	unsigned int n_ports;
	struct vsock_host host;
	struct vsock_rx rx;
	struct iovec tx_iov[VIRTIO_VSOCK_QUEUE_SIZE];
	unsigned int n_conns;
	struct vsock_map map;
	struct vsock_conn_list all;
	struct vsock_conn_list turns; /* have something for the guest */
	struct vsock_conn_list waits; /* for an answer, ascending by wait_end */
	unsigned int n_resets;
	struct vsock_packet resets[VIRTIO_VSOCK_RESETS];
	bool tx_paused; /* until there is room for resets */
	struct evloop_timer wait_timer;
	struct evloop_timer retry_timer; /* for listeners whose queue was full */
	unsigned int
		retry_skip; /* how many that wait for them were tried already, this time round */
};

/* Returns 0, or negative errno after a message with nothing left behind. */
int virtio_vsock_init(struct virtio_vsock *vs, const struct virtio_vsock_options *options);

/*
 * Before the loop runs: makes the socket, so that only those have one who are ready to remove it again. Returns 0, or
 * negative errno after a message; then only fini may follow.
 */
int virtio_vsock_listen(struct virtio_vsock *vs);

/* See vsock_host_moved(). */
void virtio_vsock_moved(struct virtio_vsock *vs);

/* Closes all connections and removes the socket. */
void virtio_vsock_fini(struct virtio_vsock *vs);
