/*
 * Reads an image without a disk: for an image that looks into the one below it, and for tests.
 *
 * Owner: of nothing. Threads: any that may wait for storage.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "virtio/image.h"

/* All len bytes from offset on, which must lie within the image. Returns 0 or negative errno; -EIO also for a file that was cut short. */
int image_pread(struct image *image, void *buf, size_t len, uint64_t offset);

/* Calls that start again after a signal and move everything or fail. -EIO: the file ends before that. */
int image_file_pread(int fd, void *buf, size_t len, uint64_t offset);
int image_file_pwrite(int fd, const void *buf, size_t len, uint64_t offset);

/*
 * fallocate() without a change of the file's size. Returns 0 or negative errno; -EOPNOTSUPP also for what a file system or device
 * calls by another name: parts of blocks (EINVAL), and pages that others use at the moment (EBUSY, devices before Linux 5.12).
 */
int image_file_fallocate(int fd, int mode, uint64_t offset, uint64_t len);

/*
 * Locks the whole file for as long as it is open: F_RDLCK or F_WRLCK. Returns 0, or -EBUSY for what somebody else has locked, which is
 * waited for, half a second at most. A file system that cannot lock must not keep a VM from starting, but its user is warned: of what
 * ("disk", "overlay") with that path.
 */
int image_file_lock(int fd, short type, const char *what, const char *path);

/* Says that it cannot be opened, and why; NULL: what err says. Returns err. */
int image_file_refuse(const char *what, const char *path, int err, const char *why);

/* Unlocks the file and closes it. A ring of io_uring that had it keeps it for a moment, and its lock with it. */
void image_file_close(int fd);
