/*
 * The checksum of IEEE 802.3 and gzip, for a few kilobytes now and then: zlib's, which is much faster, would come with all of that
 * library, or could not be loaded any more when it is needed.
 *
 * Any thread.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* crc: of what stands before, 0 at the beginning. */
uint32_t crc32_add(uint32_t crc, const void *bytes, size_t len);
