#include "virtio/mac.h"

#include <endian.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MAC_ID_DIGITS 32u

static uint64_t mac_turn(uint64_t n, unsigned int bits)
{
	return n << bits | n >> (64 - bits);
}

/* SipHash-2-4: whoever sees results, as guests see their addresses, learns nothing of the key. Its first byte is key0's lowest. */
static uint64_t mac_hash(uint64_t key0, uint64_t key1, const void *text, unsigned int len)
{
	uint64_t a = key0 ^ UINT64_C(0x736f6d6570736575);
	uint64_t b = key1 ^ UINT64_C(0x646f72616e646f6d);
	uint64_t c = key0 ^ UINT64_C(0x6c7967656e657261);
	uint64_t d = key1 ^ UINT64_C(0x7465646279746573);
	const unsigned int last = len | 7;
	const uint8_t *bytes = text;
	uint64_t word = 0;

	/* Words of eight bytes, the last one filled up with zeros and the length; and one of zeros, which ends it. */
	for (unsigned int i = 0;; i++) {
		uint64_t byte = i < len ? bytes[i] : i == last ? len : 0;
		unsigned int rounds = 2;

		word = word >> 8 | byte << 56;
		if (i % 8 != 7)
			continue;
		if (i > last) {
			c ^= 0xff;
			rounds = 4;
		}
		d ^= word;
		do {
			a += b;
			b = mac_turn(b, 13) ^ a;
			a = mac_turn(a, 32);
			c += d;
			d = mac_turn(d, 16) ^ c;
			a += d;
			d = mac_turn(d, 21) ^ a;
			c += b;
			b = mac_turn(b, 17) ^ c;
			c = mac_turn(c, 32);
		} while (--rounds > 0);
		a ^= word;
		if (i > last)
			return a ^ b ^ c ^ d;
	}
}

/* What is no machine-id, with no more digits than it has, counts as zeros. */
static void mac_derive(uint8_t mac[ETH_ALEN], const char *id, const char *interface)
{
	uint64_t high = 0, low = 0, hash;

	if (strspn(id, "0123456789abcdef") == MAC_ID_DIGITS) {
		for (unsigned int i = 0; i < MAC_ID_DIGITS; i++) {
			high = high << 4 | low >> 60;
			low = low << 4 | ((id[i] & 15u) + (id[i] > '9' ? 9 : 0));
		}
	}
	hash = mac_hash(htobe64(high), htobe64(low), interface, (unsigned int)strlen(interface));
	mac[0] = 0x02;
	for (unsigned int i = 1; i < ETH_ALEN; i++) {
		hash >>= 8;
		mac[i] = (uint8_t)hash;
	}
}

void mac_default(uint8_t mac[ETH_ALEN], const char *interface)
{
	char id[MAC_ID_DIGITS + 2]; /* and what shows that there is more */
	ssize_t n = -1;
	int fd = open("/etc/machine-id", O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd >= 0) {
		n = read(fd, id, sizeof(id) - 1);
		close(fd);
	}
	id[n > 0 ? n : 0] = '\0';
	mac_derive(mac, id, interface);
}
