/* A shared directory's operations on names and what they stand for. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* For how long the guest may believe what it was told. */
#define FS_SECONDS	1
#define FS_SECONDS_KEEP 86400

int64_t fs_put(struct iov_cursor *out, const void *bytes, size_t len)
{
	if (iov_cursor_left(out) < len)
		return -EINVAL;
	return (int64_t)iov_cursor_write(out, bytes, len);
}

/* printf() would take as long as the open() that the name is for. */
const char *fs_fd_name(int fd, char name[FS_FD_NAME])
{
	char *at = name + FS_FD_NAME - 1;

	*at = '\0';
	for (unsigned int left = (unsigned int)fd; left > 0 || !*at; left /= 10)
		*--at = (char)('0' + left % 10);
	return at;
}

int fs_reopen_fd(struct virtio_fs *fs, int fd, int flags)
{
	char name[FS_FD_NAME];

	return fs_nodes_open(&fs->nodes, fs->proc, fs_fd_name(fd, name), flags);
}

int fs_reopen(struct virtio_fs *fs, struct fs_node *node, int flags)
{
	int fd = fs_nodes_fd(&fs->nodes, node);

	return fd < 0 ? fd : fs_reopen_fd(fs, fd, flags);
}

/* ---- attributes ---- */

/*
 * The upper bits tell file systems apart: the first has none. Where there are too many, or a number is too large, the uppermost bit is
 * set, and the others are mixed.
 */
uint64_t fs_number(struct virtio_fs *fs, dev_t dev, ino_t ino)
{
	unsigned int i = 0;

	while (i < fs->n_devices && fs->devices[i] != dev)
		i++;
	if (i == fs->n_devices && i < VIRTIO_FS_DEVICES)
		fs->devices[fs->n_devices++] = dev;
	if (i == 0)
		return ino;
	if (ino >> 48 == 0 && i < VIRTIO_FS_DEVICES)
		return ino | (uint64_t)i << 48;
	return (ino ^ (uint64_t)dev * UINT64_C(0x9e3779b97f4a7c15)) | UINT64_C(1) << 63;
}

/* Whose a file is: what is vmm's own is the guest's root's. */
static uint32_t fs_shown(const struct virtio_fs *fs, uint32_t id, uint32_t own)
{
	return fs->squash || id == own ? 0 : id;
}

static void fs_fill_attr(struct virtio_fs *fs, const struct statx *st, struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = fs_number(fs, fs_stat_dev(st), st->stx_ino),
		.size = st->stx_size,
		.blocks = st->stx_blocks,
		.atime = (uint64_t)st->stx_atime.tv_sec,
		.mtime = (uint64_t)st->stx_mtime.tv_sec,
		.ctime = (uint64_t)st->stx_ctime.tv_sec,
		.atimensec = st->stx_atime.tv_nsec,
		.mtimensec = st->stx_mtime.tv_nsec,
		.ctimensec = st->stx_ctime.tv_nsec,
		.mode = st->stx_mode,
		.nlink = st->stx_nlink,
		.uid = fs_shown(fs, st->stx_uid, fs->uid),
		.gid = fs_shown(fs, st->stx_gid, fs->gid),
		/* as Linux keeps it: 12 bits, and 20 around them */
		.rdev = (st->stx_rdev_minor & 0xff) | (st->stx_rdev_major << 8) |
			((st->stx_rdev_minor & ~0xffU) << 12),
		.blksize = st->stx_blksize,
	};
}

/* Of a file system of the kernel's own nothing is seen, such as how many processes there are. */
static void fs_hide(struct fuse_attr *attr)
{
	*attr = (struct fuse_attr){
		.ino = attr->ino, .mode = S_IFDIR | 0555, .nlink = 2, .blksize = attr->blksize};
}

uint64_t fs_seconds(const struct virtio_fs *fs)
{
	static const uint32_t seconds[] = {[VIRTIO_FS_CACHE_AUTO] = FS_SECONDS,
					   [VIRTIO_FS_CACHE_ALWAYS] = FS_SECONDS_KEEP,
					   [VIRTIO_FS_CACHE_NEVER] = 0};

	return seconds[fs->cache];
}

int64_t fs_put_attr(struct virtio_fs *fs, const struct fs_node *node, int fd,
		    struct iov_cursor *out)
{
	struct fuse_attr_out answer = {.attr_valid = fs_seconds(fs)};
	struct statx st;
	int err = fs_stat_on(fd, node->mount, &st);

	if (err < 0)
		return err;
	fs_fill_attr(fs, &st, &answer.attr);
	if (node->sealed)
		fs_hide(&answer.attr);
	return fs_put(out, &answer, sizeof(answer));
}

int fs_there(struct virtio_fs *fs, struct fs_node *node, const struct fs_file *file)
{
	int fd = fs_nodes_fd(&fs->nodes, node);

	return fd == -ESTALE && file ? file->fd : fd;
}

int64_t fs_getattr(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_getattr_in *in = &request->args.getattr;
	bool has_file = in->getattr_flags & FUSE_GETATTR_FH;
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
	int fd = fs_there(fs, node, has_file ? fs_file_get(fs, in->fh, false) : NULL);

	return fd < 0 ? fd : fs_put_attr(fs, node, fd, out);
}

/* ---- names ---- */

bool fs_is_name(const char *name)
{
	return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

int fs_learn(struct virtio_fs *fs, uint64_t parent, const char *name, int fd, uint64_t mount,
	     struct fuse_entry_out *entry)
{
	bool sealed = false;
	struct statx st;
	int64_t id = fs_stat_on(fd, mount, &st);

	/* What is mounted on a file is another file system too. */
	if (id == 0 && fs_stat_dev(&st) != fs_nodes_get(&fs->nodes, parent)->dev) {
		sealed = fs_stat_is_kernels_own(fd) != 0;
		if (!sealed && S_ISDIR(st.stx_mode))
			fs_sync_also(fs, fd, fs_stat_dev(&st));
	}
	if (sealed && !S_ISDIR(st.stx_mode))
		id = -ENOENT;
	if (id < 0) {
		close(fd);
		return (int)id;
	}
	id = fs_nodes_add(&fs->nodes, (uint32_t)parent, name, fd, &st);
	if (id < 0)
		return (int)id;
	fs_nodes_get(&fs->nodes, (uint64_t)id)->sealed = sealed;
	*entry = (struct fuse_entry_out){
		.nodeid = (uint64_t)id,
		.generation = fs_nodes_get(&fs->nodes, (uint64_t)id)->generation,
		.entry_valid = fs_seconds(fs),
		.attr_valid = fs_seconds(fs)};
	fs_fill_attr(fs, &st, &entry->attr);
	if (sealed)
		fs_hide(&entry->attr);
	return 0;
}

int fs_look_up(struct virtio_fs *fs, uint64_t parent, const char *name,
	       struct fuse_entry_out *entry)
{
	struct fs_node *dir = fs_nodes_get(&fs->nodes, parent);
	int fd;

	if (!dir)
		return -ESTALE;
	if (!fs_is_name(name))
		return -EINVAL;
	if (dir->sealed)
		return -ENOENT;
	fd = fs_nodes_fd(&fs->nodes, dir);
	if (fd < 0)
		return fd;
	fd = fs_nodes_open(&fs->nodes, fd, name, O_PATH | O_NOFOLLOW);
	return fd < 0 ? fd : fs_learn(fs, parent, name, fd, 0, entry);
}

int64_t fs_find(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fuse_entry_out entry = {.nodeid = 0};
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
	return fs_put(out, &entry, sizeof(entry));
}

int64_t fs_readlink(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
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
