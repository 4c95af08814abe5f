/*
 * A disk that is copied when it is written: changes go to a file of their own, all else is read from a base that is never touched.
 *
 * The overlay's file is sparse and holds each sector at the offset that it has on the disk, plus a constant; a bitmap says which sectors it
 * holds. So a write goes to one known place and nothing is copied, read or locked before it; the sectors are marked when their data
 * were written, and reads are split where marked and unmarked sectors meet.
 *
 * Temporary: the file has no name and ends with the VM. It lies in $TMPDIR, or else in /var/tmp, or else in /tmp; a flush costs
 * nothing, for no one can ask after a crash. Kept: the file stays, is locked while it is open, and can be opened again
 * over the same base. What was flushed is found again after SIGKILL or loss of power at any moment, and the
 * file always opens: data are made stable first, then the bitmap's pages that changed, and bits are only ever added. When the file's
 * disk is full, writes fail (the guest sees an I/O error) and what is there stays readable.
 *
 * The base of a kept overlay is known again by what it reads as and not by its name, so it can be moved or copied with its times: its size,
 * the time of its last change, and a checksum of its first and last 64 KiB, where a file system or a partition table
 * shows that it was mounted for writing.
 *
 * Owner: whoever calls overlay_open(); the overlay owns its base from then on, also when it fails. Threads: as in image.h.
 */
#pragma once

#include "virtio/image.h"

struct overlay_config {
	struct image *base;    /* opened for reading */
	const char *base_name; /* for messages */
	const char *path;      /* the kept file, created when it does not exist; NULL: temporary */
};

/*
 * On failure one line was reported by log_error(), and *image is NULL. -EBUSY: in use; -ESTALE: the base was changed; -EINVAL: no
 * overlay, or damaged. Everything is borrowed during the call but the base.
 */
int overlay_open(struct image **image, const struct overlay_config *config);
