#include "virtio/image_raw.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "virtio/image_flush.h"
#include "virtio/image_io.h"
#include "vmm/core/log.h"

#define IMAGE_SECTOR 512u

#ifdef STATX_DIOALIGN
#define IMAGE_RAW_STATX (STATX_BASIC_STATS | STATX_DIOALIGN)
#else
#define IMAGE_RAW_STATX STATX_BASIC_STATS
#endif

struct image_raw {
	struct image image;
	/* immutable after open */
	int fd;
	int direct_fd;	    /* -1: not direct */
	bool writes_cached; /* even so */
	bool is_device;
	const char *path;	  /* while it is opened */
	struct image_flush flush; /* own locking */
};

static struct image_raw *image_raw_of(struct image *image)
{
	return (struct image_raw *)(void *)((char *)image - offsetof(struct image_raw, image));
}

/* ---- opening ---- */

/* What is neither a file nor a block device; NULL for what can be a disk. */
static const char *image_raw_wrong_type(mode_t mode)
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

/* why is NULL: what err says */
static int image_raw_refuse(const struct image_raw *raw, int err, const char *why)
{
	return image_file_refuse("disk", raw->path, err, why);
}

static int image_raw_refuse_open(const struct image_raw *raw, int err)
{
	bool readable = faccessat(AT_FDCWD, raw->path, R_OK, AT_EACCESS) == 0;

	if (err == EROFS && readable)
		return image_raw_refuse(raw, -err, "read-only file system; add ',readonly'");
	if ((err == EACCES || err == EPERM) && !raw->image.readonly && readable)
		return image_raw_refuse(raw, -err, "no permission to write; add ',readonly'");
	if (err == EACCES || err == EPERM)
		return image_raw_refuse(raw, -err, "no permission to read");
	if (err == EBUSY)
		return image_raw_refuse(raw, -err, "it is mounted on the host or in use there");
	return image_raw_refuse(raw, -err, NULL);
}

/*
 * The type is checked before open(), which has side effects on some devices and would wait for a pipe's other
 * end, and again after it. O_NONBLOCK serves only the moment between the two; O_EXCL keeps a device that the
 * host has mounted from being written.
 */
static int image_raw_open_path(struct image_raw *raw, struct stat *st)
{
	int flags = O_CLOEXEC | O_NOCTTY | (raw->image.readonly ? O_RDONLY : O_RDWR);

	if (stat(raw->path, st) < 0)
		return image_raw_refuse(raw, -errno, NULL);
	if (image_raw_wrong_type(st->st_mode))
		return image_raw_refuse(raw, S_ISDIR(st->st_mode) ? -EISDIR : -EINVAL,
					image_raw_wrong_type(st->st_mode));
	if (!S_ISBLK(st->st_mode))
		flags |= O_NONBLOCK;
	else if (!raw->image.readonly)
		flags |= O_EXCL;
	raw->fd = open(raw->path, flags);
	/* Somebody has a lease on the file (NFS's server, Samba), and is asked to give it back. */
	if (raw->fd < 0 && errno == EAGAIN)
		raw->fd = open(raw->path, flags & ~O_NONBLOCK);
	if (raw->fd < 0)
		return image_raw_refuse_open(raw, errno);
	if (fstat(raw->fd, st) < 0 || fcntl(raw->fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
		return image_raw_refuse(raw, -errno, NULL);
	return image_raw_wrong_type(st->st_mode)
		       ? image_raw_refuse(raw, -EINVAL, image_raw_wrong_type(st->st_mode))
		       : 0;
}

static int image_raw_lock(struct image_raw *raw)
{
	int err = image_file_lock(raw->fd, raw->image.readonly ? F_RDLCK : F_WRLCK, "disk",
				  raw->path);

	if (err < 0)
		log_error("disk '%s' is in use (locked) by another program or another disk of this "
			  "one; only readers can share it",
			  raw->path);
	return err;
}

static bool image_raw_power_of_two(uint32_t n)
{
	return n != 0 && (n & (n - 1)) == 0;
}

static int image_raw_measure_device(struct image_raw *raw)
{
	int readonly = 0, logical = 0;
	unsigned int physical = 0, optimal = 0;

	/* open() for writing succeeds on a device set read-only; only the writes fail */
	if (!raw->image.readonly && ioctl(raw->fd, BLKROGET, &readonly) == 0 && readonly)
		return image_raw_refuse(raw, -EROFS, "the device is read-only; add ',readonly'");
	if (ioctl(raw->fd, BLKGETSIZE64, &raw->image.size) < 0)
		return image_raw_refuse(raw, -errno, NULL);
	if (ioctl(raw->fd, BLKSSZGET, &logical) == 0 && logical >= (int)IMAGE_SECTOR &&
	    image_raw_power_of_two((uint32_t)logical))
		raw->image.logical_block = (uint32_t)logical;
	raw->image.physical_block = raw->image.logical_block;
	if (ioctl(raw->fd, BLKPBSZGET, &physical) == 0 && physical > raw->image.logical_block &&
	    image_raw_power_of_two(physical))
		raw->image.physical_block = physical;
	if (ioctl(raw->fd, BLKIOOPT, &optimal) == 0)
		raw->image.optimal_io = optimal;
	return 0;
}

/* Nothing depends on it: whoever writes to the disk may have written that there. */
static void image_raw_look(const struct image_raw *raw)
{
	char magic[4];

	if (pread(raw->fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	    memcmp(magic, "QFI\xfb", sizeof(magic)) == 0)
		log_warn("disk '%s' begins as a qcow2 image does; is 'format=qcow2' missing?",
			 raw->path);
}

static int image_raw_measure(struct image_raw *raw, const struct stat *st, bool whole)
{
	uint64_t rest;
	int ret = 0;

	raw->image.logical_block = IMAGE_SECTOR;
	raw->image.physical_block = IMAGE_SECTOR;
	raw->is_device = S_ISBLK(st->st_mode);
	if (!raw->is_device)
		raw->image.size = (uint64_t)st->st_size;
	else
		ret = image_raw_measure_device(raw);
	if (ret < 0)
		return ret;
	if (raw->image.size == 0)
		return image_raw_refuse(raw, -EINVAL, "it is empty");
	if (raw->image.size < IMAGE_SECTOR)
		return image_raw_refuse(raw, -EINVAL, "it is smaller than one sector (512 bytes)");
	rest = raw->image.size % IMAGE_SECTOR;
	/* As zeros, the disk above it would show a sector that nobody has written. */
	if (rest > 0 && whole)
		return image_raw_refuse(
			raw, -EINVAL,
			"its size is no multiple of 512, as a backing file's must be");
	raw->image.size -= rest;
	if (rest > 0)
		log_warn("disk '%s': size is no multiple of 512; the guest does not see the last "
			 "%" PRIu64 " bytes, from byte %" PRIu64 " on",
			 raw->path, rest, raw->image.size);
	/* What is below another image has its format from there. */
	if (!whole)
		image_raw_look(raw);
	return 0;
}

/* What direct I/O must be aligned to. The guest's sectors stay as they are: its partitions and file systems lie by them. */
static void image_raw_learn_direct(struct image_raw *raw)
{
	struct image *image = &raw->image;
	struct statx stx;

	image->memory_align = image->direct_align = image->logical_block;
	if (statx(raw->direct_fd, "", AT_EMPTY_PATH, IMAGE_RAW_STATX, &stx) < 0)
		return;
#ifdef STATX_DIOALIGN
	if ((stx.stx_mask & STATX_DIOALIGN) && image_raw_power_of_two(stx.stx_dio_offset_align)) {
		image->direct_align = stx.stx_dio_offset_align;
		image->memory_align = stx.stx_dio_mem_align;
	} else
#endif
		/*
		 * Linux before 6.1 does not tell, and some file systems still do not. There blocks are no larger than a page; what
		 * is more is another number, as NFS has it.
		 */
		if (!raw->is_device)
			image->memory_align = image->direct_align =
				image_raw_power_of_two(stx.stx_blksize) &&
						stx.stx_blksize >= IMAGE_SECTOR &&
						stx.stx_blksize <= 4096
					? stx.stx_blksize
					: 4096;
	if (image->physical_block < image->direct_align && image->direct_align <= 4096)
		image->physical_block = image->direct_align;
}

/*
 * Btrfs makes its checksums from the guest's own memory, which the guest may change before that is written; then nobody can read
 * the block any more. Linux 6.15 and newer write such files through the cache; so does this, on all.
 */
static bool image_raw_has_checksums(const struct image_raw *raw)
{
	struct statfs fs;
	long flags = 0;

	return !raw->is_device && fstatfs(raw->fd, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC &&
	       !(ioctl(raw->fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_NOCOW_FL));
}

/* A second description of the same file, so that what direct I/O cannot do has the other to go to. */
static int __attribute__((cold)) image_raw_open_direct(struct image_raw *raw)
{
	char self[40];

	snprintf(self, sizeof(self), "/proc/self/fd/%d", raw->fd);
	raw->direct_fd = open(self,
			      O_CLOEXEC | O_DIRECT | (raw->image.readonly ? O_RDONLY : O_RDWR));
	if (raw->direct_fd < 0 && errno == EINVAL)
		return image_raw_refuse(raw, -EINVAL,
					"its file system has no direct I/O; leave out ',direct'");
	if (raw->direct_fd < 0)
		return image_raw_refuse(raw, -errno, NULL);
	image_raw_learn_direct(raw);
	raw->writes_cached = image_raw_has_checksums(raw);
	return 0;
}

/* ---- operations ---- */

static int image_raw_map(struct image *image, uint64_t offset, uint64_t len,
			 struct image_extent *extent)
{
	const struct image_raw *raw = image_raw_of(image);
	bool direct = raw->direct_fd >= 0 && (offset | len) % raw->image.direct_align == 0;

	*extent = (struct image_extent){.place = IMAGE_FILE,
					.fd = direct ? raw->direct_fd : raw->fd,
					.direct = direct,
					.offset = offset,
					.len = len};
	return 0;
}

static int image_raw_map_write(struct image *image, uint64_t offset, uint64_t len,
			       struct image_extent *extent)
{
	const struct image_raw *raw = image_raw_of(image);

	image_raw_map(image, offset, len, extent);
	if (raw->writes_cached) {
		extent->fd = raw->fd;
		extent->direct = false;
	}
	return 0;
}

/* A block device writes zeros for either call if it knows no better way, or refuses the first. */
static int image_raw_zero(struct image *image, uint64_t offset, uint64_t len, bool unmap)
{
	const struct image_raw *raw = image_raw_of(image);
	int err = unmap ? image_file_fallocate(raw->fd, FALLOC_FL_PUNCH_HOLE, offset, len)
			: -EOPNOTSUPP;

	if (err == -EOPNOTSUPP)
		err = image_file_fallocate(raw->fd, FALLOC_FL_ZERO_RANGE, offset, len);
	return err;
}

/* The calls above promise zeros to be read, which many devices that can discard cannot. */
static int image_raw_discard_device(const struct image_raw *raw, uint64_t offset, uint64_t len)
{
	uint64_t range[] = {offset, len};
	int err;

	do {
		err = ioctl(raw->fd, BLKDISCARD, range) < 0 ? -errno : 0;
	} while (err == -EINTR);
	return err == -EINVAL || err == -ENOTTY ? -EOPNOTSUPP : err;
}

static int image_raw_discard(struct image *image, uint64_t offset, uint64_t len)
{
	const struct image_raw *raw = image_raw_of(image);

	return raw->is_device ? image_raw_discard_device(raw, offset, len)
			      : image_file_fallocate(raw->fd, FALLOC_FL_PUNCH_HOLE, offset, len);
}

static int image_raw_sync(void *arg, bool *lost)
{
	const struct image_raw *raw = arg;

	return image_flush_file(raw->fd, lost);
}

static int image_raw_flush(struct image *image, bool *lost)
{
	struct image_raw *raw = image_raw_of(image);

	return image_flush_run(&raw->flush, image_raw_sync, raw, lost);
}

static int image_raw_resize(struct image *image)
{
	struct image_raw *raw = image_raw_of(image);
	uint64_t size = 0;
	struct stat st;

	if (raw->is_device ? ioctl(raw->fd, BLKGETSIZE64, &size) < 0 : fstat(raw->fd, &st) < 0)
		return -errno;
	if (!raw->is_device)
		size = (uint64_t)st.st_size;
	size -= size % IMAGE_SECTOR;
	if (size == 0)
		return -EINVAL;
	__atomic_store_n(&image->size, size, __ATOMIC_RELAXED);
	return 0;
}

static void image_raw_close(struct image *image)
{
	struct image_raw *raw = image_raw_of(image);

	if (raw->direct_fd >= 0)
		close(raw->direct_fd);
	if (raw->fd >= 0)
		image_file_close(raw->fd);
	image_flush_fini(&raw->flush);
	free(raw);
}

static const struct image_ops image_raw_ops = {
	.map_read = image_raw_map,
	.map_write = image_raw_map_write,
	.zero = image_raw_zero,
	.discard = image_raw_discard,
	.flush = image_raw_flush,
	.resize = image_raw_resize,
	.close = image_raw_close,
};

static const struct image_ops image_raw_readonly_ops = {
	.map_read = image_raw_map,
	.flush = image_raw_flush,
	.resize = image_raw_resize,
	.close = image_raw_close,
};

int image_raw_open(const struct image_raw_config *config, struct image **image)
{
	struct image_raw *raw = calloc(1, sizeof(*raw));
	struct statfs fs;
	struct stat st;
	int ret;

	*image = NULL;
	if (!raw)
		return image_file_refuse("disk", config->path, -ENOMEM, NULL);
	image_flush_init(&raw->flush);
	raw->fd = raw->direct_fd = -1;
	raw->path = config->path;
	raw->image.readonly = config->readonly;
	raw->image.ops = config->readonly ? &image_raw_readonly_ops : &image_raw_ops;
	ret = image_raw_open_path(raw, &st);
	if (ret == 0)
		ret = image_raw_lock(raw);
	if (ret == 0)
		ret = image_raw_measure(raw, &st, config->whole);
	if (ret == 0 && config->direct)
		ret = image_raw_open_direct(raw);
	if (ret < 0) {
		image_raw_close(&raw->image);
		return ret;
	}
	if (!raw->is_device)
		raw->image.changed = st.st_mtim;
	raw->image.mode = st.st_mode & 0777;
	raw->image.in_memory = !raw->is_device && fstatfs(raw->fd, &fs) == 0 &&
			       (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
	*image = &raw->image;
	return 0;
}
