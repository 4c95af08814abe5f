/*
 * A raw image: the bytes of the disk are those of a regular file or a block device of the host.
 *
 * The image is locked while it is open (open file description locks over the whole file): one writer, or any
 * number of readers, also within one process. Opening creates and changes nothing. Ranges that are to read as zeros
 * become holes, or unwritten, where the host can do that.
 *
 * With direct, I/O bypasses the host's page cache. What is not aligned as the host demands goes through the cache, which
 * the host keeps consistent with direct I/O.
 */
#pragma once

#include <stdbool.h>

#include "virtio/image.h"

struct image_raw_config {
	const char *path; /* borrowed during open */
	bool readonly;
	bool direct;
	bool whole; /* a part of a sector at its end is refused, not left out */
};

/*
 * Opens, locks and measures. On failure one line was reported by log_error() and nothing is left open. Returns 0 with
 * *image, which its close() frees, or negative errno; -EBUSY: somebody else uses the image.
 */
int image_raw_open(const struct image_raw_config *config, struct image **image);
