#include "virtio/disk.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/core/log.h"

/* What is neither a file nor a block device; NULL for what can be a disk. */
static const char *disk_wrong_type(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFBLK:
		return NULL;
	case S_IFDIR:
		return "it is a directory";
	case S_IFCHR:
		return "it is a character device, not a block device";
	case S_IFIFO:
		return "it is a pipe";
	default:
		return "it is neither a file nor a block device";
	}
}

static int disk_refuse(const struct disk *disk, int err, const char *why)
{
	log_error("cannot open %s: %s", disk->name, why);
	return err;
}

static int disk_refuse_open(const struct disk *disk, const char *path, int err)
{
	bool readable = faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0;

	if (err == EROFS && readable)
		return disk_refuse(disk, -err, "read-only file system; add ',readonly'");
	if ((err == EACCES || err == EPERM) && !disk->readonly && readable)
		return disk_refuse(disk, -err, "no permission to write; add ',readonly'");
	if (err == EACCES || err == EPERM)
		return disk_refuse(disk, -err, "no permission to read");
	if (err == EBUSY)
		return disk_refuse(disk, -err, "it is mounted on the host or in use there");
	return disk_refuse(disk, -err, strerror(err));
}

/*
 * The type is checked before open(), which has side effects on some devices and would wait for a pipe's other
 * end, and again after it. O_NONBLOCK serves only the moment between the two; O_EXCL keeps a device that the
 * host has mounted from being written.
 */
static int disk_open_path(struct disk *disk, const char *path, struct stat *st)
{
	int flags = O_CLOEXEC | O_NOCTTY | (disk->readonly ? O_RDONLY : O_RDWR);

	if (stat(path, st) < 0)
		return disk_refuse(disk, -errno, strerror(errno));
	if (disk_wrong_type(st->st_mode))
		return disk_refuse(disk, S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL,
				   disk_wrong_type(st->st_mode));
	if (!S_ISBLK(st->st_mode))
		flags |= O_NONBLOCK;
	else if (!disk->readonly)
		flags |= O_EXCL;
	disk->fd = open(path, flags);
	if (disk->fd < 0)
		return disk_refuse_open(disk, path, errno);
	if (fstat(disk->fd, st) < 0 || fcntl(disk->fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return disk_refuse(disk, -errno, strerror(errno));
	return disk_wrong_type(st->st_mode)
		       ? disk_refuse(disk, -EINVAL, disk_wrong_type(st->st_mode))
		       : 0;
}

/* A file system that cannot lock must not keep a VM from starting, but its user should know. */
static int disk_lock(struct disk *disk)
{
	struct flock whole = {
		.l_type = disk->readonly ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	if (fcntl(disk->fd, F_OFD_SETLK, &whole) == 0)
		return 0;
	if (errno != EAGAIN && errno != EACCES) {
		log_warn("%s cannot be locked (%s): nothing keeps others from writing to it",
			 disk->name, strerror(errno));
		return 0;
	}
	log_error("%s is in use (locked) by another program or another disk of this one; %s",
		  disk->name,
		  disk->readonly ? "only readers can share it"
				 : "stop that one, or give ',readonly' to both");
	return -EBUSY;
}

static bool disk_power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static int disk_measure_device(struct disk *disk)
{
	int readonly = 0, logical = 0;
	unsigned int physical = 0;

	/* open() for writing succeeds on a device set read-only; only the writes fail */
	if (!disk->readonly && ioctl(disk->fd, BLKROGET, &readonly) == 0 && readonly)
		return disk_refuse(disk, -EROFS, "the device is read-only; add ',readonly'");
	if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) < 0)
		return disk_refuse(disk, -errno, strerror(errno));
	if (ioctl(disk->fd, BLKSSZGET, &logical) == 0 && logical >= (int)DISK_SECTOR &&
	    disk_power_of_two((uint32_t)logical))
		disk->logical_block = (uint32_t)logical;
	disk->physical_block = disk->logical_block;
	if (ioctl(disk->fd, BLKPBSZGET, &physical) == 0 && physical > disk->logical_block &&
	    disk_power_of_two(physical))
		disk->physical_block = physical;
	return 0;
}

static int disk_measure(struct disk *disk, const struct stat *st)
{
	uint64_t rest;
	int ret = 0;

	disk->logical_block = DISK_SECTOR;
	disk->physical_block = DISK_SECTOR;
	if (S_ISREG(st->st_mode))
		disk->size = (uint64_t)st->st_size;
	else
		ret = disk_measure_device(disk);
	if (ret < 0)
		return ret;
	if (disk->size == 0)
		return disk_refuse(disk, -EINVAL, "it is empty");
	if (disk->size < DISK_SECTOR)
		return disk_refuse(disk, -EINVAL, "it is smaller than one sector (512 bytes)");
	rest = disk->size % DISK_SECTOR;
	disk->size -= rest;
	if (rest > 0)
		log_warn("%s: size is no multiple of 512; the guest does not see the last %" PRIu64
			 " bytes, from byte %" PRIu64 " on",
			 disk->name, rest, disk->size);
	return 0;
}

int disk_open(struct disk *disk, const struct disk_config *config)
{
	struct stat st;
	int ret;

	*disk = (struct disk){.fd = -1, .readonly = config->readonly};
	if (asprintf(&disk->name, "disk '%s'", config->path) < 0) {
		disk->name = NULL;
		log_error("cannot open disk '%s': %s", config->path, strerror(ENOMEM));
		return -ENOMEM;
	}
	ret = disk_open_path(disk, config->path, &st);
	if (ret == 0)
		ret = disk_lock(disk);
	if (ret == 0)
		ret = disk_measure(disk, &st);
	if (ret < 0)
		disk_close(disk);
	return ret;
}

static int disk_check_range(const struct disk *disk, const struct iovec *iov, unsigned int n,
			    uint64_t offset)
{
	uint64_t end = offset;

	for (unsigned int i = 0; i < n; i++) {
		if (__builtin_add_overflow(end, iov[i].iov_len, &end))
			return -EINVAL;
	}
	return end <= disk->size ? 0 : -EINVAL;
}

/* Drops the first bytes of iov, and elements of length 0 behind them. Returns the number of elements left. */
static unsigned int disk_advance(struct iovec **iov, unsigned int n, size_t bytes)
{
	while (n > 0 && bytes >= (*iov)->iov_len) {
		bytes -= (*iov)->iov_len;
		(*iov)++;
		n--;
	}
	if (bytes > 0) {
		assert(n > 0);
		(*iov)->iov_base = (char *)(*iov)->iov_base + bytes;
		(*iov)->iov_len -= bytes;
	}
	return n;
}

typedef ssize_t disk_transfer_fn(int fd, const struct iovec *iov, int n, off_t offset);

/* One call may move less than asked: 2 GiB, IOV_MAX pieces, up to a signal, a full disk or the end of the file. */
static int disk_transfer(struct disk *disk, disk_transfer_fn *fn, struct iovec *iov, unsigned int n,
			 uint64_t offset)
{
	int ret = disk_check_range(disk, iov, n, offset);

	if (ret < 0)
		return ret;
	n = disk_advance(&iov, n, 0);
	while (n > 0) {
		ssize_t done = fn(disk->fd, iov, n < IOV_MAX ? (int)n : IOV_MAX, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		offset += (uint64_t)done;
		n = disk_advance(&iov, n, (size_t)done);
	}
	return 0;
}

int disk_readv(struct disk *disk, struct iovec *iov, unsigned int n, uint64_t offset)
{
	return disk_transfer(disk, preadv, iov, n, offset);
}

int disk_writev(struct disk *disk, struct iovec *iov, unsigned int n, uint64_t offset)
{
	if (disk->readonly)
		return -EROFS;
	return disk_transfer(disk, pwritev, iov, n, offset);
}

int disk_flush(struct disk *disk)
{
	int ret;

	if (disk->readonly)
		return 0;
	if (disk->state.lost)
		return -EIO;
	do {
		ret = fdatasync(disk->fd);
	} while (ret < 0 && errno == EINTR);
	if (ret == 0)
		return 0;
	ret = -errno;
	disk->state.lost = true;
	return ret;
}

void disk_close(struct disk *disk)
{
	if (disk->fd >= 0)
		close(disk->fd);
	disk->fd = -1;
	free(disk->name);
	disk->name = NULL;
}
