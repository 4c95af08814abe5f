/*
 * A qcow2 image, version 2 or 3, for reading: docs/interop/qcow2 of the QEMU project describes the format.
 *
 * Read are clusters of every size, compressed ones (deflate; zstd where vmm was built with libzstd), zero clusters and subclusters. Internal
 * snapshots are ignored. Refused are encrypted images, those whose data lie in another file, and those that their writer marked as corrupt.
 *
 * Nothing that the image says is believed: every offset is checked against the file's size, every table and every
 * cluster is looked at within bounds that the header was checked for, and what is damaged gives -EIO where it is read. An image that wants a backing file
 * gets the one that the user names; the name that is in the image is never followed.
 *
 * Memory: the first table (8 bytes for each second one that the disk needs, at most 32 MiB), 256 KiB of second tables, and decompressed
 * clusters (1 MiB, or two clusters when those are larger).
 *
 * Owner: whoever opens it; it owns its backing image. Threads: as in image.h. Its map_read() waits for storage.
 */
#pragma once

#include "virtio/image.h"

struct qcow2_config {
	const char *path;      /* borrowed during the call */
	struct image *backing; /* opened for reading; NULL: none */
	bool is_backing;       /* of another one: it has none itself */
};

/*
 * Opens and locks it for reading, as disk.h says. On failure one line was reported by log_error(), *image is NULL and the backing image is
 * closed. -ENOTSUP: a feature that is not supported; -EINVAL: no qcow2, damaged, or a backing image missing or too many.
 */
int qcow2_open(struct image **image, const struct qcow2_config *config);
