#include "vmm/core/crc32.h"

/* The polynomial of IEEE 802.3, its bits in reverse. */
#define CRC32_POLYNOMIAL UINT32_C(0xedb88320)

uint32_t crc32_add(uint32_t crc, const void *bytes, size_t len)
{
	const uint8_t *at = bytes;

	crc = ~crc;
	for (; len > 0; len--) {
		crc ^= *at++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC32_POLYNOMIAL : 0);
	}
	return ~crc;
}
