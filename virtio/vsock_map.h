/*
 * The connections of a virtio socket device by their two ports, at most a fixed number.
 *
 * The guest chooses ports, so it can make lookups of its own connections slow; the bound bounds that too.
 *
 * Owner: struct virtio_vsock. Loop thread only.
 */
#pragma once

#include "virtio/vsock_conn.h"

#define VSOCK_MAP_BUCKETS 1024u /* a power of two */

/* Ports of the host's side of connections that the host began; listeners of the guest's users have lower ones. */
#define VSOCK_MAP_FIRST_PORT (UINT32_C(1) << 30)

struct vsock_map {
	struct vsock_conn *bucket[VSOCK_MAP_BUCKETS];
	uint32_t next_port;
};

void vsock_map_init(struct vsock_map *map);

struct vsock_conn *vsock_map_find(const struct vsock_map *map, uint32_t host_port,
				  uint32_t guest_port);

/* The ports must be free. */
void vsock_map_add(struct vsock_map *map, struct vsock_conn *conn);
void vsock_map_remove(struct vsock_map *map, struct vsock_conn *conn);

/* A port of the host's side that is free together with guest_port. */
uint32_t vsock_map_port(struct vsock_map *map, uint32_t guest_port);
