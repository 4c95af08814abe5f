/*
 * The streams of a virtio socket device: how they begin, on the host's side and on the guest's, what they wait for, and that
 * they are forgotten. The queues are vsock.c's, a stream's own states vsock_conn.c's.
 *
 * After anything happened to a stream it is settled: it then is in the lists, in the map and with the event loop as its state
 * asks, or is gone.
 *
 * Owner: struct virtio_vsock, of which all of this is a part. Loop thread only, but for init.
 */
#pragma once

#include "virtio/vsock.h"

/* Before the device is known to its loop. */
void vsock_streams_init(struct virtio_vsock *vs);

/* struct vsock_host_options, connect: arg is the device. */
void vsock_streams_ask(void *arg, int fd, uint32_t port);

/* A packet that asks for a stream that does not exist. */
void vsock_streams_request(struct virtio_vsock *vs, const struct vsock_packet *packet);

/* A packet of a stream that does not exist. There is always room: the transmit queue is not served without. */
void vsock_streams_refuse(struct virtio_vsock *vs, const struct vsock_packet *packet);

/* conn may be freed. */
void vsock_streams_settle(struct virtio_vsock *vs, struct vsock_conn *conn);

void vsock_streams_forget(struct virtio_vsock *vs, struct vsock_conn *conn);
void vsock_streams_forget_all(struct virtio_vsock *vs);

/* vsock.c: gives the guest what is due, with a bound. */
void virtio_vsock_serve(struct virtio_vsock *vs);
