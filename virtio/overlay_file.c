#include "virtio/overlay_file.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "virtio/image.h"
#include "virtio/image_io.h"
#include "vmm/core/crc32.h"
#include "vmm/core/log.h"

#define OVERLAY_MAGIC	   "vmm disk overlay" /* 16 bytes, no terminating 0 in the file */
#define OVERLAY_VERSION	   1u
#define OVERLAY_SAMPLE	   (64u << 10)
/* Data start where every host's file system has a block boundary. */
#define OVERLAY_DATA_ALIGN (1u << 20)
#define OVERLAY_TRIES	   10 /* of a name that others take away */
#define OVERLAY_IN_USE	   "it is in use (locked) by another disk or program"

_Static_assert(sizeof(OVERLAY_MAGIC) - 1 == sizeof(((struct overlay_header *)0)->magic), "16");
_Static_assert(sizeof(struct overlay_header) == 56, "no padding");

int overlay_base_identify(struct overlay_base *id, struct image *base)
{
	uint64_t len = base->size < OVERLAY_SAMPLE ? base->size : OVERLAY_SAMPLE;
	unsigned char *sample = malloc(OVERLAY_SAMPLE);
	int ret;

	if (!sample)
		return -ENOMEM;
	*id = (struct overlay_base){
		.size = base->size,
		.changed_sec = base->changed.tv_sec,
		.changed_nsec = (uint32_t)base->changed.tv_nsec,
		/*
		 * What the guest writes is as private as what it reads, and who makes the file writes to it. Its group may be
		 * another than the image's: it gets what all get.
		 */
		.mode = (base->mode & 0006) * 0011 | 0600,
	};
	ret = image_pread(base, sample, len, 0);
	if (ret == 0) {
		id->crc = crc32_add(0, sample, len);
		ret = image_pread(base, sample, len, base->size - len);
	}
	if (ret == 0)
		id->crc = crc32_add(id->crc, sample, len);
	free(sample);
	return ret;
}

uint64_t overlay_file_data_offset(uint64_t disk_size)
{
	uint64_t end = OVERLAY_HEADER_SIZE + overlay_bitmap_bytes(disk_size);

	return (end + OVERLAY_DATA_ALIGN - 1) / OVERLAY_DATA_ALIGN * OVERLAY_DATA_ALIGN;
}

static uint64_t overlay_file_size(uint64_t disk_size)
{
	return overlay_file_data_offset(disk_size) + disk_size;
}

/* ---- temporary ---- */

/* A file without a name in that directory, or negative errno. */
static int overlay_file_unnamed(const char *dir)
{
	char name[PATH_MAX];
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC | O_EXCL, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	/* a file system that makes no such file: a named one, for a moment */
	if (snprintf(name, sizeof(name), "%s/vmm-overlay-XXXXXX", dir) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(name);
	return fd;
}

int overlay_file_open_temporary(uint64_t disk_size)
{
	const char *dir = getenv("TMPDIR");
	int fd, ret = 0;

	if (dir && *dir != '\0') {
		fd = overlay_file_unnamed(dir);
	} else {
		/* /tmp is memory on many hosts, and a disk's changes can be many */
		dir = "/var/tmp";
		fd = overlay_file_unnamed(dir);
		if (fd < 0) {
			dir = "/tmp";
			fd = overlay_file_unnamed(dir);
		}
	}
	if (fd < 0) {
		ret = fd;
	} else if (ftruncate(fd, (off_t)overlay_file_size(disk_size)) < 0) {
		ret = -errno;
		close(fd);
	}
	if (ret < 0) {
		log_error("cannot make a temporary overlay in '%s': %s; set TMPDIR to another "
			  "directory",
			  dir, strerror(-ret));
		return ret;
	}
	return fd;
}

/* ---- kept ---- */

static uint32_t overlay_header_crc(const struct overlay_header *header)
{
	struct overlay_header copy = *header;

	copy.crc = 0;
	return crc32_add(0, &copy, sizeof(copy));
}

static void overlay_header_make(struct overlay_header *header, const struct overlay_base *base)
{
	*header = (struct overlay_header){
		.version = htole32(OVERLAY_VERSION),
		.data_offset = htole64(overlay_file_data_offset(base->size)),
		.base_size = htole64(base->size),
		.base_changed_sec = (int64_t)htole64((uint64_t)base->changed_sec),
		.base_changed_nsec = htole32(base->changed_nsec),
		.base_crc = htole32(base->crc),
	};
	memcpy(header->magic, OVERLAY_MAGIC, sizeof(header->magic));
	header->crc = htole32(overlay_header_crc(header));
}

/* why is NULL: what err says */
static int overlay_file_refuse(const char *path, int err, const char *why)
{
	return image_file_refuse("overlay", path, err, why);
}

static int overlay_file_lock(int fd, const char *path)
{
	int err = image_file_lock(fd, F_WRLCK, "overlay", path);

	return err < 0 ? overlay_file_refuse(path, err, OVERLAY_IN_USE) : 0;
}

static int overlay_file_check_base(const struct overlay_header *header, const char *path,
				   const struct overlay_base *base, const char *base_name)
{
	int64_t sec = (int64_t)le64toh((uint64_t)header->base_changed_sec);
	uint32_t nsec = le32toh(header->base_changed_nsec);
	uint64_t size = le64toh(header->base_size);

	if (size != base->size) {
		log_error("cannot open overlay '%s': it was made over a disk of %" PRIu64
			  " bytes, '%s' has %" PRIu64,
			  path, size, base_name, base->size);
		return -ESTALE;
	}
	if (le32toh(header->base_crc) != base->crc) {
		log_error("cannot open overlay '%s': the content of '%s' was changed since, "
			  "or it is another image",
			  path, base_name);
		return -ESTALE;
	}
	if (sec != base->changed_sec || nsec != base->changed_nsec) {
		log_error("cannot open overlay '%s': '%s' was written since, or copied without its "
			  "times; if "
			  "its content is the same, run: touch -d @%" PRId64 ".%09" PRIu32 " '%s'",
			  path, base_name, sec, nsec, base_name);
		return -ESTALE;
	}
	return 0;
}

static int overlay_file_check(int fd, const char *path, const struct overlay_base *base,
			      const char *base_name)
{
	struct overlay_header header;
	struct stat st;
	int ret;

	if (fstat(fd, &st) < 0)
		return overlay_file_refuse(path, -errno, NULL);
	if (!S_ISREG(st.st_mode))
		return overlay_file_refuse(path, -EINVAL, "it is not a regular file");
	if ((uint64_t)st.st_size < OVERLAY_HEADER_SIZE)
		return overlay_file_refuse(path, -EINVAL, "it is not an overlay");
	ret = image_file_pread(fd, &header, sizeof(header), 0);
	if (ret < 0)
		return overlay_file_refuse(path, ret, NULL);
	if (memcmp(header.magic, OVERLAY_MAGIC, sizeof(header.magic)) != 0)
		return overlay_file_refuse(path, -EINVAL, "it is not an overlay");
	if (le32toh(header.version) != OVERLAY_VERSION)
		return overlay_file_refuse(path, -EINVAL,
					   "another version of vmm made it, in another format");
	if (le32toh(header.crc) != overlay_header_crc(&header))
		return overlay_file_refuse(path, -EINVAL, "its header is damaged");
	ret = overlay_file_check_base(&header, path, base, base_name);
	if (ret < 0)
		return ret;
	if (le64toh(header.data_offset) != overlay_file_data_offset(base->size))
		return overlay_file_refuse(path, -EINVAL, "its header is damaged");
	if ((uint64_t)st.st_size != overlay_file_size(base->size))
		return overlay_file_refuse(path, -EINVAL,
					   "it was cut short or written to by others");
	return 0;
}

/* The directory that path lies in, for a while; the name in it is path's last part. */
static int overlay_file_open_dir(const char *path)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) + 1 : 0;
	int fd;

	if (len >= sizeof(dir))
		return -ENAMETOOLONG;
	memcpy(dir, path, len);
	dir[len] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int overlay_file_fill(int fd, const struct overlay_base *base)
{
	char block[OVERLAY_HEADER_SIZE] = {0};
	struct overlay_header header;
	int ret;

	overlay_header_make(&header, base);
	memcpy(block, &header, sizeof(header));
	ret = image_file_pwrite(fd, block, sizeof(block), 0);
	if (ret == 0 && ftruncate(fd, (off_t)overlay_file_size(base->size)) < 0)
		ret = -errno;
	if (ret == 0 && fsync(fd) < 0)
		ret = -errno;
	return ret;
}

/* Complete, stable and locked before it gets its name; the name must not exist and is not followed if it is a link. */
static int overlay_file_create_named(int dir, const char *name, const char *path,
				     const struct overlay_base *base)
{
	char self[64];
	int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, base->mode);
	int ret;

	if (fd < 0)
		return -errno;
	ret = overlay_file_lock(fd, path);
	if (ret == 0)
		ret = overlay_file_fill(fd, base);
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	if (ret == 0 && linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW) < 0)
		ret = errno == ENOENT ? -EOPNOTSUPP : -errno;
	if (ret == 0 && fsync(dir) < 0)
		log_warn("cannot make the name of overlay '%s' stable: %m", path);
	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

/* Where a file cannot be made without a name (or there is no /proc): a name of its own first, which SIGKILL may leave behind. */
static int overlay_file_create_renamed(int dir, const char *name, const char *path,
				       const struct overlay_base *base)
{
	char own[NAME_MAX + 1];
	int fd, ret;

	if (snprintf(own, sizeof(own), "%.200s.new-%d", name, (int)getpid()) >= (int)sizeof(own))
		return -ENAMETOOLONG;
	fd = openat(dir, own, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, base->mode);
	if (fd < 0)
		return -errno;
	ret = overlay_file_lock(fd, path);
	if (ret == 0)
		ret = overlay_file_fill(fd, base);
	if (ret == 0 && linkat(dir, own, dir, name, 0) < 0)
		ret = -errno;
	unlinkat(dir, own, 0);
	if (ret == 0 && fsync(dir) < 0)
		log_warn("cannot make the name of overlay '%s' stable: %m", path);
	if (ret < 0)
		close(fd);
	return ret < 0 ? ret : fd;
}

static int overlay_file_create(const char *path, const struct overlay_base *base)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	int dir = overlay_file_open_dir(path), fd;

	if (dir < 0)
		return dir;
	fd = overlay_file_create_named(dir, name, path, base);
	if (fd == -EOPNOTSUPP || fd == -EISDIR || fd == -EPERM)
		fd = overlay_file_create_renamed(dir, name, path, base);
	close(dir);
	return fd;
}

static int overlay_file_make(const char *path, const struct overlay_base *base)
{
	int fd = overlay_file_create(path, base);

	if (fd == -EEXIST)
		return overlay_file_refuse(
			path, fd, "it is a symbolic link to nothing, or was made just now");
	if (fd < 0 && fd != -EBUSY)
		log_failure(fd, "cannot make overlay '%s'", path);
	return fd;
}

/* Returns 0, negative errno, or -EAGAIN when it lost its name meanwhile: who made it has ended, and never wrote to it. */
static int overlay_file_take(int fd, const char *path, const struct overlay_base *base,
			     const char *base_name)
{
	struct stat st, named;
	int ret = overlay_file_check(fd, path, base, base_name);

	if (ret == 0 && fcntl(fd, F_SETFL, 0) < 0)
		ret = overlay_file_refuse(path, -errno, NULL);
	if (ret == 0)
		ret = overlay_file_lock(fd, path);
	if (ret < 0)
		return ret;
	if (fstat(fd, &st) == 0 && stat(path, &named) == 0 && named.st_dev == st.st_dev &&
	    named.st_ino == st.st_ino)
		return 0;
	return -EAGAIN;
}

int overlay_file_open_kept(const char *path, const struct overlay_base *base, const char *base_name,
			   bool *made)
{
	for (unsigned int i = 0; i < OVERLAY_TRIES; i++) {
		/* O_NONBLOCK: what is a pipe is refused and not waited for */
		int fd = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), ret;

		*made = fd < 0;
		if (fd < 0)
			return errno == ENOENT ? overlay_file_make(path, base)
					       : overlay_file_refuse(path, -errno, NULL);
		ret = overlay_file_take(fd, path, base, base_name);
		if (ret == 0)
			return fd;
		close(fd);
		if (ret != -EAGAIN)
			return ret;
	}
	return overlay_file_refuse(path, -EBUSY, OVERLAY_IN_USE);
}

/* The part [at, end) of the bitmap, in which data are. */
static int overlay_file_load_part(int fd, struct overlay_bitmap *bitmap, uint64_t at, uint64_t end)
{
	uint64_t copy[OVERLAY_BITMAP_PAGE / 8];

	at -= at % OVERLAY_BITMAP_PAGE;
	for (; at < end; at += OVERLAY_BITMAP_PAGE) {
		int ret = image_file_pread(fd, copy, sizeof(copy), at);

		if (ret < 0)
			return ret;
		overlay_bitmap_load(bitmap, (at - OVERLAY_HEADER_SIZE) / OVERLAY_BITMAP_PAGE, copy);
	}
	return 0;
}

int overlay_file_load(int fd, struct overlay_bitmap *bitmap)
{
	uint64_t at = OVERLAY_HEADER_SIZE;
	uint64_t end = OVERLAY_HEADER_SIZE + bitmap->n_pages * OVERLAY_BITMAP_PAGE;

	while (at < end) {
		off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;
		int ret;

		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		if ((uint64_t)data >= end)
			return 0;
		hole = lseek(fd, data, SEEK_HOLE);
		if (hole < 0)
			return -errno;
		ret = overlay_file_load_part(fd, bitmap, (uint64_t)data,
					     (uint64_t)hole < end ? (uint64_t)hole : end);
		if (ret < 0)
			return ret;
		at = (uint64_t)hole;
	}
	return 0;
}
