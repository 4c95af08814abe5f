#include "virtio/fs_stat.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#include "vmm/core/mounts.h"

#define FS_STATX_MNT_ID 0x1000 /* not in older headers */

/* Not in older <linux/magic.h>. */
#ifndef SMB2_SUPER_MAGIC
#define SMB2_SUPER_MAGIC 0xfe534d42
#endif
#ifndef CIFS_SUPER_MAGIC
#define CIFS_SUPER_MAGIC 0xff534d42
#endif
#ifndef CEPH_SUPER_MAGIC
#define CEPH_SUPER_MAGIC 0x00c36400
#endif
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif

int fs_stat_get(int fd, struct statx *st)
{
	return statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | FS_STATX_MNT_ID, st) < 0 ? -errno
											 : 0;
}

static struct statx_timestamp fs_stat_time(const struct timespec *time)
{
	return (struct statx_timestamp){.tv_sec = time->tv_sec, .tv_nsec = (uint32_t)time->tv_nsec};
}

/* fstat() costs half of what statx() does, and by its own number is the cheapest: libc would give a name to it. */
int fs_stat_on(int fd, uint64_t mount, struct statx *to)
{
	struct stat st;

	if (mount == 0)
		return fs_stat_get(fd, to);
	if (syscall(SYS_fstat, fd, &st) < 0)
		return -errno;
	*to = (struct statx){.stx_mask = STATX_BASIC_STATS | FS_STATX_MNT_ID,
			     .stx_blksize = (uint32_t)st.st_blksize,
			     .stx_nlink = (uint32_t)st.st_nlink,
			     .stx_uid = st.st_uid,
			     .stx_gid = st.st_gid,
			     .stx_mode = (uint16_t)st.st_mode,
			     .stx_ino = st.st_ino,
			     .stx_size = (uint64_t)st.st_size,
			     .stx_blocks = (uint64_t)st.st_blocks,
			     .stx_atime = fs_stat_time(&st.st_atim),
			     .stx_ctime = fs_stat_time(&st.st_ctim),
			     .stx_mtime = fs_stat_time(&st.st_mtim),
			     .stx_rdev_major = major(st.st_rdev),
			     .stx_rdev_minor = minor(st.st_rdev),
			     .stx_dev_major = major(st.st_dev),
			     .stx_dev_minor = minor(st.st_dev),
			     .stx_mnt_id = mount};
	return 0;
}

dev_t fs_stat_dev(const struct statx *st)
{
	return (dev_t)st->stx_dev_major << 32 | st->stx_dev_minor;
}

static int fs_stat_is_one_of(int fd, const uint32_t *types, size_t n)
{
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return -errno;
	while (n > 0 && (uint32_t)st.f_type != types[n - 1])
		n--;
	return n > 0;
}

#define IS_ONE_OF(fd, types) fs_stat_is_one_of(fd, types, sizeof(types) / sizeof((types)[0]))

int fs_stat_is_kernels_own(int fd)
{
	return IS_ONE_OF(fd, mounts_kernels_own);
}

bool fs_stat_flushes(int fd)
{
	static const uint32_t types[] = {NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC,  SMB2_SUPER_MAGIC,
					 CIFS_SUPER_MAGIC, CEPH_SUPER_MAGIC, FUSE_SUPER_MAGIC,
					 AFS_FS_MAGIC,	   V9FS_MAGIC};

	return IS_ONE_OF(fd, types) != 0;
}

bool fs_stat_is_in_memory(int fd)
{
	static const uint32_t types[] = {TMPFS_MAGIC, RAMFS_MAGIC};

	return IS_ONE_OF(fd, types) > 0;
}
