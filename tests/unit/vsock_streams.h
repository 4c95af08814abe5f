/* A device with somebody who listens on the host, and bytes to send. */
#pragma once

#include "tests/unit/vsock_fixture.h"

#define BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

static uint8_t bytes[1 << 20], got[1 << 20];
static int listener;

static inline void setup(void)
{
	open_device(0);
	listener = listen_at(5, 128);
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 167 + (i >> 8));
}

static inline void teardown(void)
{
	ck_assert_uint_eq(fix.needs_reset, 0);
	unlisten(listener, 5);
	close_device();
}

static inline void send_with_room(const void *data, uint32_t len, uint32_t room)
{
	struct virtio_vsock_hdr hdr =
		header(len > 0 ? VIRTIO_VSOCK_OP_RW : VIRTIO_VSOCK_OP_CREDIT_UPDATE, 5, 1000);

	hdr.len = len;
	hdr.buf_alloc = room;
	send_hdr(&hdr, data, len);
}
