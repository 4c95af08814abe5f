#include "virtio/fs_stat.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <linux/magic.h>

#define FS_STATX_MNT_ID 0x1000 /* not in older headers */

/* Not in <linux/magic.h>, or not in older ones. */
#define FS_MAGIC_CONFIGFS   0x62656570
#define FS_MAGIC_FUNCTIONFS 0xa647361
#define FS_MAGIC_FUSECTL    0x65735543
#define FS_MAGIC_MQUEUE	    0x19800202
#define FS_MAGIC_NFSD	    0x6e667364
#define FS_MAGIC_RPC_PIPEFS 0x67596969
#define FS_MAGIC_SECRET	    0x5345434d

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
	static const uint32_t types[] = {
		PROC_SUPER_MAGIC,     SYSFS_MAGIC,	    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC,	      TRACEFS_MAGIC,	    SECURITYFS_MAGIC,	BPF_FS_MAGIC,
		PSTOREFS_MAGIC,	      EFIVARFS_MAGIC,	    SELINUX_MAGIC,	SMACK_MAGIC,
		DEVPTS_SUPER_MAGIC,   NSFS_MAGIC,	    BINFMTFS_MAGIC,	AUTOFS_SUPER_MAGIC,
		BINDERFS_SUPER_MAGIC, RDTGROUP_SUPER_MAGIC, HUGETLBFS_MAGIC,	XENFS_SUPER_MAGIC,
		FS_MAGIC_CONFIGFS,    FS_MAGIC_MQUEUE,	    FS_MAGIC_FUSECTL,	FS_MAGIC_SECRET,
		FS_MAGIC_NFSD,	      FS_MAGIC_RPC_PIPEFS,  FS_MAGIC_FUNCTIONFS};

	return IS_ONE_OF(fd, types);
}

bool fs_stat_flushes(int fd)
{
	static const uint32_t types[] = {NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC,  SMB2_SUPER_MAGIC,
					 CIFS_SUPER_MAGIC, CEPH_SUPER_MAGIC, FUSE_SUPER_MAGIC,
					 AFS_FS_MAGIC,	   V9FS_MAGIC};

	return IS_ONE_OF(fd, types) != 0;
}

/* In a name there blanks, and some others, are a backslash and three octal digits. */
static bool fs_stat_is_below(const char *at, const char *dir)
{
	for (; *dir; dir++, at++) {
		char c = *at;

		if (c == '\\' && at[1] && at[2] && at[3]) {
			c = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 3;
		}
		if (c != *dir)
			return false;
	}
	return at[0] == '/' && at[1];
}

bool fs_stat_has_mounts(const char *path)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char *dir = realpath(path, NULL), at[PATH_MAX];
	bool found = !mounts || !dir;

	if (dir && !dir[1])
		dir[0] = '\0';
	while (!found && fscanf(mounts, "%*s %*s %*s %*s %4095s%*[^\n]", at) == 1)
		found = fs_stat_is_below(at, dir);
	if (mounts)
		fclose(mounts);
	free(dir);
	return found;
}

bool fs_stat_is_in_memory(int fd)
{
	static const uint32_t types[] = {TMPFS_MAGIC, RAMFS_MAGIC};

	return IS_ONE_OF(fd, types) > 0;
}
