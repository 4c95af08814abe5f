#include "virtio/vsock_map.h"

#include <string.h>

#include "vmm/core/assert.h"

static unsigned int vsock_map_hash(uint32_t host_port, uint32_t guest_port)
{
	uint64_t key = (uint64_t)host_port << 32 | guest_port;

	/* 2^64 divided by the golden ratio: neighbouring ports spread */
	return (unsigned int)((key ^ key >> 29) * UINT64_C(0x9e3779b97f4a7c15) >> 40) %
	       VSOCK_MAP_BUCKETS;
}

void vsock_map_init(struct vsock_map *map)
{
	memset(map, 0, sizeof(*map));
	map->next_port = VSOCK_MAP_FIRST_PORT;
}

struct vsock_conn *vsock_map_find(const struct vsock_map *map, uint32_t host_port,
				  uint32_t guest_port)
{
	struct vsock_conn *conn = map->bucket[vsock_map_hash(host_port, guest_port)];

	while (conn && (conn->host_port != host_port || conn->guest_port != guest_port))
		conn = conn->map_next;
	return conn;
}

void vsock_map_add(struct vsock_map *map, struct vsock_conn *conn)
{
	struct vsock_conn **head = &map->bucket[vsock_map_hash(conn->host_port, conn->guest_port)];

	assert(!conn->in_map && !vsock_map_find(map, conn->host_port, conn->guest_port));
	conn->map_next = *head;
	*head = conn;
	conn->in_map = true;
}

void vsock_map_remove(struct vsock_map *map, struct vsock_conn *conn)
{
	struct vsock_conn **at = &map->bucket[vsock_map_hash(conn->host_port, conn->guest_port)];

	assert(conn->in_map);
	while (*at != conn)
		at = &(*at)->map_next;
	*at = conn->map_next;
	conn->in_map = false;
}

uint32_t vsock_map_port(struct vsock_map *map, uint32_t guest_port)
{
	uint32_t port;

	do {
		port = map->next_port++;
		if (map->next_port == 2 * VSOCK_MAP_FIRST_PORT)
			map->next_port = VSOCK_MAP_FIRST_PORT;
	} while (vsock_map_find(map, port, guest_port));
	return port;
}
