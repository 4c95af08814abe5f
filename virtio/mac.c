#include "virtio/mac.h"

#include <fcntl.h>
#include <unistd.h>

/* FNV-1a, the terminating zero included so that ("a", "b") and ("ab", "") differ. */
static uint64_t mac_hash(uint64_t hash, const char *text)
{
	do {
		hash = (hash ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
	} while (*text++);
	return hash;
}

/* FNV mixes its last bytes little, and names differ in their last digit: spread that over all bits (murmur3). */
static uint64_t mac_spread(uint64_t hash)
{
	hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
	hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return hash ^ hash >> 33;
}

void mac_derive(uint8_t mac[ETH_ALEN], const char *machine_id, const char *interface)
{
	uint64_t hash = mac_hash(UINT64_C(0xcbf29ce484222325), machine_id);

	hash = mac_spread(mac_hash(hash, interface));
	mac[0] = 0x02;
	for (unsigned int i = 1; i < ETH_ALEN; i++)
		mac[i] = (uint8_t)(hash >> (8 * i));
}

void mac_default(uint8_t mac[ETH_ALEN], const char *interface)
{
	char id[33]; /* machine-id(5): 32 hex digits */
	ssize_t n = -1;
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd >= 0) {
		n = read(fd, id, sizeof(id) - 1);
		close(fd);
	}
	id[n > 0 ? n : 0] = '\0';
	mac_derive(mac, id, interface);
}
