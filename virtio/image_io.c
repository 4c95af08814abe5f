#include "virtio/image_io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "vmm/core/log.h"

#define IMAGE_LOCK_PAUSE_US 20000
#define IMAGE_LOCK_TRIES    25

int image_file_pread(int fd, void *buf, size_t len, uint64_t offset)
{
	char *at = buf;

	while (len > 0) {
		ssize_t got = pread(fd, at, len, (off_t)offset);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -EIO;
		at += got;
		len -= (size_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

int image_file_pwrite(int fd, const void *buf, size_t len, uint64_t offset)
{
	const char *at = buf;

	while (len > 0) {
		ssize_t done = pwrite(fd, at, len, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		at += done;
		len -= (size_t)done;
		offset += (uint64_t)done;
	}
	return 0;
}

static int image_pread_extent(struct image *image, const struct image_extent *extent, char *at,
			      uint64_t offset)
{
	struct iovec iov = {.iov_base = at, .iov_len = (size_t)extent->len};

	switch (extent->place) {
	case IMAGE_FILE:
		return image_file_pread(extent->fd, at, (size_t)extent->len, extent->offset);
	case IMAGE_SELF:
		return image->ops->read(image, &iov, 1, offset);
	case IMAGE_ZERO:
		break;
	}
	memset(at, 0, (size_t)extent->len);
	return 0;
}

int image_pread(struct image *image, void *buf, size_t len, uint64_t offset)
{
	char *at = buf;

	while (len > 0) {
		struct image_extent extent;
		int ret = image->ops->map_read(image, offset, len, &extent);

		if (ret == 0)
			ret = image_pread_extent(image, &extent, at, offset);
		if (ret < 0)
			return ret;
		at += extent.len;
		len -= (size_t)extent.len;
		offset += extent.len;
	}
	return 0;
}

int image_file_fallocate(int fd, int mode, uint64_t offset, uint64_t len)
{
	int ret;

	do {
		ret = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len);
	} while (ret < 0 && errno == EINTR);
	if (ret < 0 && (errno == ENOSYS || errno == EINVAL || errno == EBUSY))
		return -EOPNOTSUPP;
	return ret < 0 ? -errno : 0;
}

static int image_file_try_lock(int fd, short type)
{
	struct flock whole = {.l_type = type, .l_whence = SEEK_SET};
	int ret;

	do {
		ret = fcntl(fd, F_OFD_SETLK, &whole);
	} while (ret < 0 && errno == EINTR);
	if (ret == 0)
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/*
 * The lock of a process that was killed outlives it, for 70 ms have been seen: the kernel takes a ring of io_uring down behind its back, and
 * with it the files that are registered there. So one that is locked is looked at again.
 */
int image_file_lock(int fd, short type, const char *what, const char *path)
{
	int err;

	for (int i = 0; (err = image_file_try_lock(fd, type)) == -EBUSY && i < IMAGE_LOCK_TRIES;
	     i++)
		usleep(IMAGE_LOCK_PAUSE_US);
	if (err == 0 || err == -EBUSY)
		return err;
	log_warn("%s '%s' cannot be locked (%s): nothing keeps others from writing to it", what,
		 path, strerror(-err));
	return 0;
}

int image_file_refuse(const char *what, const char *path, int err, const char *why)
{
	log_error("cannot open %s '%s': %s", what, path, why ? why : strerror(-err));
	return err;
}

void image_file_close(int fd)
{
	image_file_try_lock(fd, F_UNLCK); /* of a file without a lock: nothing */
	close(fd);
}
