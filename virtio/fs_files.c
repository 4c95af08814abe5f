/* A shared directory's open files. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

struct fs_file *fs_file_get(struct virtio_fs *fs, uint64_t number, bool is_dir)
{
	struct fs_file *file;

	if (number == 0 || number >= fs->n_files)
		return NULL;
	file = &fs->files[number];
	return file->used && file->is_dir == is_dir ? file : NULL;
}

static uint32_t fs_file_take_number(struct virtio_fs *fs)
{
	uint32_t number = fs->free_file;

	if (number)
		fs->free_file = fs->files[number].next;
	else if (fs->n_open < fs->most_files)
		number = fs->n_files++;
	return number;
}

static void fs_file_close(struct virtio_fs *fs, uint32_t number)
{
	struct fs_file *file = &fs->files[number];

	if (file->fd >= 0)
		close(file->fd);
	*file = (struct fs_file){.next = fs->free_file};
	fs->free_file = number;
	fs->n_open--;
}

void fs_files_clear(struct virtio_fs *fs)
{
	for (uint32_t number = 1; number < fs->n_files; number++) {
		if (fs->files[number].used)
			fs_file_close(fs, number);
	}
}

/* fd is the table's once this succeeds; -1: what the guest sees of it is empty. */
static int64_t fs_file_add(struct virtio_fs *fs, int fd, bool is_dir, struct iov_cursor *out)
{
	struct fuse_open_out answer = {.open_flags = 0};
	uint32_t number;

	if (iov_cursor_left(out) < sizeof(answer))
		return -EINVAL;
	number = fs_file_take_number(fs);
	if (!number)
		return -ENFILE;
	fs->files[number] = (struct fs_file){.used = true, .fd = fd, .is_dir = is_dir};
	fs->n_open++;
	answer.fh = number;
	if (fs->keep)
		answer.open_flags = FOPEN_KEEP_CACHE | (is_dir ? FOPEN_CACHE_DIR : 0);
	return fs_put(out, &answer, sizeof(answer));
}

static int64_t fs_open_node(struct virtio_fs *fs, const struct fs_request *request, uint32_t type,
			    int flags, struct iov_cursor *out)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
	int fd = -1;
	int64_t ret;

	/* Linux opens devices, pipes and sockets itself, without asking: they are its own. */
	if (node->type != type)
		return type == S_IFDIR ? -ENOTDIR : -EINVAL;
	if (!node->sealed) {
		fd = fs_reopen(fs, node, flags);
		if (fd < 0)
			return fd;
	}
	ret = fs_file_add(fs, fd, type == S_IFDIR, out);
	if (ret < 0 && fd >= 0)
		close(fd);
	return ret;
}

int64_t fs_open(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out)
{
	uint32_t flags = request->args.open.flags;

	if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
		return -EROFS;
	return fs_open_node(fs, request, S_IFREG, O_RDONLY, out);
}

int64_t fs_open_dir(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out)
{
	return fs_open_node(fs, request, S_IFDIR, O_RDONLY | O_DIRECTORY, out);
}

int64_t fs_release(struct virtio_fs *fs, const struct fs_request *request)
{
	uint64_t number = request->args.release.fh;

	if (!fs_file_get(fs, number, request->header.opcode == FUSE_RELEASEDIR))
		return -EBADF;
	fs_file_close(fs, (uint32_t)number);
	return 0;
}

int64_t fs_read(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_read_in *read = &request->args.read;
	struct fs_file *file = fs_file_get(fs, read->fh, false);
	unsigned int n;
	size_t room, size;
	ssize_t got;

	if (!file)
		return -EBADF;
	if (read->offset > INT64_MAX)
		return -EINVAL;
	/* No more than was agreed upon, so that none takes long. */
	size = read->size < FS_MAX_PAGES * 4096 ? read->size : FS_MAX_PAGES * 4096;
	n = iov_cursor_take(out, fs->part, VIRTIO_FS_QUEUE_SIZE, size, &room);
	got = preadv(file->fd, fs->part, (int)n, (off_t)read->offset);
	return got < 0 ? -errno : got;
}

int64_t fs_seek(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_lseek_in *seek = &request->args.lseek;
	struct fs_file *file = fs_file_get(fs, seek->fh, false);
	struct fuse_lseek_out answer;
	off_t at;

	if (!file)
		return -EBADF;
	/* The others are the guest's own to work out. */
	if (seek->whence != SEEK_DATA && seek->whence != SEEK_HOLE)
		return -EINVAL;
	at = lseek(file->fd, (off_t)seek->offset, (int)seek->whence);
	if (at < 0)
		return -errno;
	answer.offset = (uint64_t)at;
	return fs_put(out, &answer, sizeof(answer));
}
