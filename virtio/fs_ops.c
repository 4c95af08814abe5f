/* A shared directory's operations on names and what they stand for. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* For how long the guest may believe what it was told. */
#define FS_SECONDS	1
#define FS_SECONDS_KEEP 86400

/* The first protocol of virtio-fs itself, of Linux 5.4; below it structs are shorter. */
#define FS_MINOR_FIRST 31

#define FS_MOST_FORGOTTEN (FS_MAX_PAGES * 4096 / sizeof(struct fuse_forget_one))
#define FS_SPARES	  17 /* halves of FS_MOST_FDS */

/* Not in <linux/magic.h>, or not in older ones. */
#define FS_MAGIC_CONFIGFS 0x62656570
#define FS_MAGIC_MQUEUE	  0x19800202
#define FS_MAGIC_FUSECTL  0x65735543
#define FS_MAGIC_SECRET	  0x5345434d

int64_t fs_put(struct iov_cursor *out, const void *bytes, size_t len)
{
	if (iov_cursor_left(out) < len)
		return -EINVAL;
	return (int64_t)iov_cursor_write(out, bytes, len);
}

int fs_reopen(struct virtio_fs *fs, struct fs_node *node, int flags)
{
	char name[16];
	int fd = fs_nodes_fd(&fs->nodes, node);

	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "%d", fd);
	fd = openat(fs->proc, name, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- attributes ---- */

/* The upper bits tell file systems apart; the first has none, and a number that is too large for them stays as it is. */
uint64_t fs_number(struct virtio_fs *fs, dev_t dev, ino_t ino)
{
	unsigned int i = 0;

	while (i < fs->n_devices && fs->devices[i] != dev)
		i++;
	if (i == fs->n_devices && i < VIRTIO_FS_DEVICES)
		fs->devices[fs->n_devices++] = dev;
	return ino >> 48 == 0 ? ino | (uint64_t)i << 48 : ino;
}

static void fs_fill_attr(struct virtio_fs *fs, const struct stat *st, struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = fs_number(fs, st->st_dev, st->st_ino),
		.size = (uint64_t)st->st_size,
		.blocks = (uint64_t)st->st_blocks,
		.atime = (uint64_t)st->st_atim.tv_sec,
		.mtime = (uint64_t)st->st_mtim.tv_sec,
		.ctime = (uint64_t)st->st_ctim.tv_sec,
		.atimensec = (uint32_t)st->st_atim.tv_nsec,
		.mtimensec = (uint32_t)st->st_mtim.tv_nsec,
		.ctimensec = (uint32_t)st->st_ctim.tv_nsec,
		.mode = st->st_mode,
		.nlink = (uint32_t)st->st_nlink,
		.uid = fs->squash ? 0 : st->st_uid,
		.gid = fs->squash ? 0 : st->st_gid,
		/* as Linux keeps it: 12 bits, and 20 around them */
		.rdev = (minor(st->st_rdev) & 0xff) | (major(st->st_rdev) << 8) |
			((minor(st->st_rdev) & ~0xffU) << 12),
		.blksize = (uint32_t)st->st_blksize,
	};
}

static int fs_stat(int fd, struct stat *st)
{
	return fstatat(fd, "", st, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static uint64_t fs_seconds(const struct virtio_fs *fs)
{
	return fs->keep ? FS_SECONDS_KEEP : FS_SECONDS;
}

static int64_t fs_getattr(struct virtio_fs *fs, struct fs_node *node, struct iov_cursor *out)
{
	struct fuse_attr_out answer = {.attr_valid = fs_seconds(fs)};
	struct stat st;
	int fd = fs_nodes_fd(&fs->nodes, node), err;

	err = fd < 0 ? fd : fs_stat(fd, &st);
	if (err < 0)
		return err;
	fs_fill_attr(fs, &st, &answer.attr);
	return fs_put(out, &answer, sizeof(answer));
}

/* ---- names ---- */

bool fs_is_kernels_own(int fd)
{
	static const unsigned long types[] = {
		PROC_SUPER_MAGIC,     SYSFS_MAGIC,	    CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC,
		DEBUGFS_MAGIC,	      TRACEFS_MAGIC,	    SECURITYFS_MAGIC,	BPF_FS_MAGIC,
		PSTOREFS_MAGIC,	      EFIVARFS_MAGIC,	    SELINUX_MAGIC,	SMACK_MAGIC,
		DEVPTS_SUPER_MAGIC,   NSFS_MAGIC,	    BINFMTFS_MAGIC,	AUTOFS_SUPER_MAGIC,
		BINDERFS_SUPER_MAGIC, RDTGROUP_SUPER_MAGIC, HUGETLBFS_MAGIC,	FS_MAGIC_CONFIGFS,
		FS_MAGIC_MQUEUE,      FS_MAGIC_FUSECTL,	    FS_MAGIC_SECRET};
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return true;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if ((unsigned long)st.f_type == types[i])
			return true;
	}
	return false;
}

static bool fs_is_name(const char *name)
{
	return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int fs_look_up(struct virtio_fs *fs, uint64_t parent, const char *name,
	       struct fuse_entry_out *entry)
{
	struct fs_node *dir = fs_nodes_get(&fs->nodes, parent);
	bool sealed = false;
	struct stat st;
	int64_t id;
	int fd, err;

	if (!dir)
		return -ESTALE;
	if (!fs_is_name(name))
		return -EINVAL;
	if (dir->sealed)
		return -ENOENT;
	fd = fs_nodes_fd(&fs->nodes, dir);
	if (fd < 0)
		return fd;
	fd = openat(fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = fs_stat(fd, &st);
	if (err < 0) {
		close(fd);
		return err;
	}
	/* What is mounted on a file is another file system too. */
	if (st.st_dev != dir->dev)
		sealed = fs_is_kernels_own(fd);
	if (sealed && !S_ISDIR(st.st_mode)) {
		close(fd);
		return -ENOENT;
	}
	id = fs_nodes_add(&fs->nodes, (uint32_t)parent, name, fd, &st);
	if (id < 0)
		return (int)id;
	fs_nodes_get(&fs->nodes, (uint64_t)id)->sealed = sealed;
	*entry = (struct fuse_entry_out){.nodeid = (uint64_t)id,
					 .entry_valid = fs_seconds(fs),
					 .attr_valid = fs_seconds(fs)};
	fs_fill_attr(fs, &st, &entry->attr);
	return 0;
}

static int64_t fs_lookup(struct virtio_fs *fs, const struct fs_request *request,
			 struct iov_cursor *out)
{
	struct fuse_entry_out entry = {.nodeid = 0};
	int64_t ret;
	int err;

	/* An entry that nobody can be told of would never be forgotten. */
	if (iov_cursor_left(out) < sizeof(entry))
		return -EINVAL;
	err = fs_look_up(fs, request->header.nodeid, request->name, &entry);
	/* That there is none may be kept in mind too. */
	if (err == -ENOENT)
		entry.entry_valid = fs_seconds(fs);
	else if (err < 0)
		return err;
	ret = fs_put(out, &entry, sizeof(entry));
	return ret;
}

static int64_t fs_readlink(struct virtio_fs *fs, struct fs_node *node, struct iov_cursor *out)
{
	char target[PATH_MAX];
	ssize_t n;
	int fd;

	if (node->type != S_IFLNK)
		return -EINVAL;
	fd = fs_nodes_fd(&fs->nodes, node);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", target, sizeof(target));
	return n < 0 ? -errno : fs_put(out, target, (size_t)n);
}

static void fs_batch_forget(struct virtio_fs *fs, struct fs_request *request)
{
	struct fuse_forget_one one;

	/* Linux sends no more at once than there are bytes in a request of the largest size. */
	for (uint32_t i = 0; i < request->args.batch_forget.count && i < FS_MOST_FORGOTTEN; i++) {
		if (iov_cursor_read(&request->rest, &one, sizeof(one)) < sizeof(one))
			break;
		fs_nodes_forget(&fs->nodes, one.nodeid, one.nlookup);
	}
}

/* ---- the whole ---- */

static int64_t fs_statfs(struct virtio_fs *fs, struct fs_node *node, struct iov_cursor *out)
{
	struct fuse_statfs_out answer;
	struct statfs st;
	int fd = fs_nodes_fd(&fs->nodes, node);

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &st) < 0)
		return -errno;
	answer = (struct fuse_statfs_out){.st = {.blocks = st.f_blocks,
						 .bfree = st.f_bfree,
						 .bavail = st.f_bavail,
						 .files = st.f_files,
						 .ffree = st.f_ffree,
						 .bsize = (uint32_t)st.f_bsize,
						 .namelen = (uint32_t)st.f_namelen,
						 .frsize = (uint32_t)st.f_frsize}};
	return fs_put(out, &answer, sizeof(answer));
}

static void fs_forget_all(struct virtio_fs *fs)
{
	fs->begun = false;
	fs_files_clear(fs);
	fs_nodes_clear(&fs->nodes);
}

static int64_t fs_begin(struct virtio_fs *fs, const struct fs_request *request,
			struct iov_cursor *out)
{
	const uint32_t known = FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
			       FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_AUTO_INVAL_DATA |
			       FUSE_INIT_EXT;
	const struct fuse_init_in *init = &request->args.init;
	struct fuse_init_out answer = {.major = FUSE_KERNEL_VERSION,
				       .minor = FUSE_KERNEL_MINOR_VERSION,
				       .max_readahead = init->max_readahead,
				       .flags = init->flags & known,
				       .max_background = 128,
				       .congestion_threshold = 96,
				       .max_write = FS_MAX_PAGES * 4096,
				       .time_gran = 1,
				       .max_pages = FS_MAX_PAGES};

	if (init->major < FUSE_KERNEL_VERSION ||
	    (init->major == FUSE_KERNEL_VERSION && init->minor < FS_MINOR_FIRST))
		return -EPROTO;
	if (fs->keep) {
		answer.flags |= init->flags & FUSE_CACHE_SYMLINKS;
		answer.flags &= ~(uint32_t)FUSE_AUTO_INVAL_DATA;
	}
	fs_forget_all(fs);
	/* A kernel of another major version comes again, with ours. */
	fs->begun = init->major == FUSE_KERNEL_VERSION;
	return fs_put(out, &answer, sizeof(answer));
}

static int64_t fs_serve_node(struct virtio_fs *fs, struct fs_request *request,
			     struct iov_cursor *out)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);

	if (!node)
		return -ESTALE;
	switch (request->header.opcode) {
	case FUSE_GETATTR:
		return fs_getattr(fs, node, out);
	case FUSE_READLINK:
		return fs_readlink(fs, node, out);
	case FUSE_STATFS:
		return fs_statfs(fs, node, out);
	case FUSE_GETXATTR:
		return fs_xattr(fs, request, out, false);
	case FUSE_LISTXATTR:
		return fs_xattr(fs, request, out, true);
	case FUSE_OPEN:
		return fs_open(fs, request, out);
	case FUSE_OPENDIR:
		return fs_open_dir(fs, request, out);
	default:
		return -ENOSYS;
	}
}

static int64_t fs_serve_any(struct virtio_fs *fs, struct fs_request *request,
			    struct iov_cursor *out)
{
	if (request->header.opcode == FUSE_INIT)
		return fs_begin(fs, request, out);
	if (!fs->begun)
		return -ENOTCONN;
	switch (request->header.opcode) {
	case FUSE_LOOKUP:
		return fs_lookup(fs, request, out);
	case FUSE_FORGET:
		fs_nodes_forget(&fs->nodes, request->header.nodeid, request->args.forget.nlookup);
		return 0;
	case FUSE_BATCH_FORGET:
		fs_batch_forget(fs, request);
		return 0;
	case FUSE_DESTROY:
		fs_forget_all(fs);
		return 0;
	case FUSE_READ:
		return fs_read(fs, request, out);
	case FUSE_LSEEK:
		return fs_seek(fs, request, out);
	case FUSE_READDIR:
		return fs_list(fs, request, out, false);
	case FUSE_READDIRPLUS:
		return fs_list(fs, request, out, true);
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		return fs_release(fs, request);
	case FUSE_INTERRUPT: /* of a request that is over by now */
	case FUSE_FSYNC:     /* nothing was written */
	case FUSE_FSYNCDIR:
	case FUSE_SYNCFS:
		return 0;
	default:
		return fs_request_would_change(request) ? -EROFS : fs_serve_node(fs, request, out);
	}
}

int64_t fs_serve(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	int64_t ret = fs_serve_any(fs, request, out);

	/*
	 * Nothing was done. Others of vmm's may take more descriptors than were left to them. Each time half of the table's are given up;
	 * a request that takes the last one back, and lacks another, would go on for ever.
	 */
	for (unsigned int tries = 0; ret == -EMFILE && tries < FS_SPARES; tries++) {
		if (!fs_nodes_spare(&fs->nodes))
			break;
		ret = fs_serve_any(fs, request, out);
	}
	/* It is vmm that has too many files open, not the guest's process. */
	return ret == -EMFILE ? -ENFILE : ret;
}
