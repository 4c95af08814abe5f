/* A shared directory's open files. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct fs_file *fs_file_get(struct virtio_fs *fs, uint64_t number, bool is_dir)
{
	struct fs_file *file;

	if (number == 0 || number >= fs->n_files)
		return NULL;
	file = &fs->files[number];
	return file->used && file->is_dir == is_dir ? file : NULL;
}

bool fs_files_have_room(const struct virtio_fs *fs)
{
	return fs->free_file || fs->n_open < fs->most_files;
}

static void fs_file_close(struct virtio_fs *fs, uint32_t number)
{
	struct fs_file *file = &fs->files[number];

	file->used = false;
	if (file->working > 0)
		return;
	fs_list_forget(file);
	if (file->fd >= 0)
		close(file->fd);
	fs_nodes_note_open(&fs->nodes, file->node, number, false);
	*file = (struct fs_file){.next = fs->free_file};
	fs->free_file = number;
	fs->n_open--;
}

void fs_file_hold(struct fs_file *file)
{
	_Static_assert(2 * FS_SLOW_MOST + 2 <= UINT16_MAX, "each may have it twice");
	file->working++;
}

void fs_file_done(struct virtio_fs *fs, struct fs_file *file)
{
	file->working--;
	if (file->working == 0 && !file->used)
		fs_file_close(fs, (uint32_t)(file - fs->files));
}

void fs_files_clear(struct virtio_fs *fs)
{
	for (uint32_t number = 1; number < fs->n_files; number++) {
		if (fs->files[number].used)
			fs_file_close(fs, number);
	}
}

static uint32_t fs_file_flags(const struct virtio_fs *fs, bool is_dir)
{
	switch (fs->cache) {
	case VIRTIO_FS_CACHE_ALWAYS:
		return FOPEN_KEEP_CACHE | (is_dir ? FOPEN_CACHE_DIR : 0);
	case VIRTIO_FS_CACHE_NEVER:
		return is_dir ? 0 : FOPEN_DIRECT_IO;
	default:
		return 0;
	}
}

int fs_file_of(const struct virtio_fs *fs, const struct fs_node *node)
{
	return node->open ? fs->files[node->open].fd : -1;
}

void fs_file_add(struct virtio_fs *fs, uint64_t node, int fd, bool is_dir,
		 struct fuse_open_out *answer)
{
	uint32_t number = fs->free_file;

	if (number)
		fs->free_file = fs->files[number].next;
	else
		number = fs->n_files++;
	fs->files[number] =
		(struct fs_file){.used = true, .fd = fd, .is_dir = is_dir, .node = (uint32_t)node};
	fs_nodes_note_open(&fs->nodes, (uint32_t)node, number, true);
	fs->n_open++;
	*answer = (struct fuse_open_out){.fh = number, .open_flags = fs_file_flags(fs, is_dir)};
}

/*
 * Whether a file is as when it was opened last, so that the guest need not read it again. A change within the same tick of the host's
 * clock as the one before has the same time: what is young does not count.
 */
static bool fs_is_unchanged(struct fs_node *node, int fd)
{
	struct timespec now;
	struct statx st;
	uint64_t state, before = node->state;

	node->state = 0;
	if (fs_stat_get(fd, &st) < 0 || clock_gettime(CLOCK_REALTIME, &now) < 0)
		return false;
	state = ((uint64_t)st.stx_ctime.tv_sec * 1000000000 + st.stx_ctime.tv_nsec) *
			UINT64_C(0x9e3779b97f4a7c15) +
		st.stx_size;
	if (now.tv_sec > st.stx_ctime.tv_sec + 1)
		node->state = state;
	return state == before && state != 0;
}

/* What is in a file goes when its descriptor is sure to stay: one that is lacking is to have done nothing. */
static int fs_reopen_file(struct virtio_fs *fs, struct fs_node *node, int flags)
{
	bool empties = (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY;
	int fd = fs_reopen(fs, node, empties ? flags & ~O_TRUNC : flags), err;

	if (fd < 0 || !empties || ftruncate(fd, 0) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

static int64_t fs_open_node(struct virtio_fs *fs, const struct fs_request *request, uint32_t type,
			    int flags, struct iov_cursor *out)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
	struct fuse_open_out answer;
	int fd = -1;

	/* Linux opens devices, pipes and sockets itself, without asking: they are its own. */
	if (node->type != type)
		return type == S_IFDIR ? -ENOTDIR : -EINVAL;
	if (iov_cursor_left(out) < sizeof(answer))
		return -EINVAL;
	if (!fs_files_have_room(fs))
		return -ENFILE;
	if (!node->sealed) {
		fd = fs_reopen_file(fs, node, flags);
		if (fd < 0)
			return fd;
	}
	fs_file_add(fs, request->header.nodeid, fd, type == S_IFDIR, &answer);
	/* Pages of what cannot be read are never whole: it is written past them, and those from before are forgotten. */
	if (fs->writeback && (flags & O_WRONLY))
		answer.open_flags = FOPEN_DIRECT_IO;
	if (fs->cache == VIRTIO_FS_CACHE_AUTO && type == S_IFREG && fs_is_unchanged(node, fd))
		answer.open_flags |= FOPEN_KEEP_CACHE;
	return fs_put(out, &answer, sizeof(answer));
}

/* Who appends, and what is written at once, is told with each write. */
int64_t fs_open(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	uint32_t flags = request->args.open.flags & (O_ACCMODE | O_TRUNC);
	int64_t ret;

	if (flags != O_RDONLY && !fs->writable)
		return -EROFS;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	fs->changes += (flags & O_TRUNC) != 0;
	/* What is in a page is read before a part of it is written. */
	if (fs->writeback && (flags & O_ACCMODE) == O_WRONLY) {
		ret = fs_open_node(fs, request, S_IFREG,
				   (int)((flags & ~(uint32_t)O_ACCMODE) | O_RDWR), out);
		if (ret != -EACCES)
			return ret;
	}
	return fs_open_node(fs, request, S_IFREG, (int)flags, out);
}

int64_t fs_open_dir(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	return fs_open_node(fs, request, S_IFDIR, O_RDONLY | O_DIRECTORY, out);
}

int64_t fs_release(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	uint64_t number = request->args.release.fh;

	(void)out;
	if (!fs_file_get(fs, number, request->header.opcode == FUSE_RELEASEDIR))
		return -EBADF;
	fs_file_close(fs, (uint32_t)number);
	return 0;
}

/* Without waiting. Returns how many bytes, or negative errno: also -EAGAIN, or -EOPNOTSUPP when the file system does not know. */
static int64_t fs_read_cached(int fd, struct iovec *piece, unsigned int n, uint64_t offset,
			      size_t room)
{
	ssize_t got = preadv2(fd, piece, (int)n, (off_t)offset, RWF_NOWAIT);

	if (got < 0)
		return -errno;
	/* It breaks off behind a page that is in memory, or at the file's end; what may be both is looked at again. */
	return got > 0 && (size_t)got < room && (offset + (uint64_t)got) % 4096 == 0 ? -EAGAIN
										     : got;
}

int64_t fs_read(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_read_in *read = &request->args.read;
	struct fs_file *file = fs_file_get(fs, read->fh, false);
	struct fs_slow_work work = {.file = file, .own_fd = -1, .data = out};
	struct iov_cursor to;
	unsigned int n;
	size_t room;
	int64_t got;

	if (!file)
		return -EBADF;
	if (read->offset > INT64_MAX)
		return -EINVAL;
	/* No more than was agreed upon, so that none takes long. */
	work.data_len = read->size < FS_MAX_PAGES * 4096 ? read->size : FS_MAX_PAGES * 4096;
	to = *out;
	n = iov_cursor_take(&to, request->part, FS_REQUEST_PIECES, work.data_len, &room);
	if (!file->blind) {
		got = fs_read_cached(file->fd, request->part, n, read->offset, room);
		if (got != -EAGAIN && got != -EOPNOTSUPP)
			return got;
		file->blind = got == -EOPNOTSUPP;
		file->in_memory = file->blind && fs_stat_is_in_memory(file->fd);
	}
	/* A way through a thread for each request would cost more than it saves. */
	if (file->in_memory)
		return fs_read_pieces(file->fd, request->part, n, read->offset);
	return fs_slow(fs, request, &work, out);
}

int64_t fs_seek(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_lseek_in *seek = &request->args.lseek;
	struct fs_file *file = fs_file_get(fs, seek->fh, false);
	struct fuse_lseek_out answer;
	off_t at;

	/*
	 * What the guest has not written yet it does not write before it asks, so it would be told of holes where there are data, and
	 * programs that copy would leave them out. It takes all for data then, and asks no more.
	 */
	if (fs->writeback)
		return -ENOSYS;
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

/*
 * One of the guest's descriptors is closed. Where that cannot fail, it is told so, and asks no more, for whatever file; where it may for
 * some, the others are done, and of those all is written first.
 */
int64_t fs_flush(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fs_file *file = fs_file_get(fs, request->args.flush.fh, false);
	int fd;

	if (!fs->writable || (!fs->flushes && !fs->has_mounts && fs->n_devices == 1))
		return -ENOSYS;
	if (!file)
		return -EBADF;
	if (!fs->flushes && fs->nodes.nodes[file->node].dev == fs->devices[0])
		return 0;
	fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fs_slow_on(fs, request, NULL, fd, out);
}

int64_t fs_sync(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_fsync_in *in = &request->args.fsync;
	struct fs_file *file = fs_file_get(fs, in->fh, request->header.opcode == FUSE_FSYNCDIR);

	/* Nothing was written. */
	if (!fs->writable || (file && file->fd < 0))
		return 0;
	return file ? fs_slow_on(fs, request, file, -1, out) : -EBADF;
}
