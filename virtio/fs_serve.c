/* A shared directory's sessions, and which operation a request is. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/statfs.h>
#include <unistd.h>

/* The first protocol of virtio-fs itself, of Linux 5.4; below it structs are shorter. */
#define FS_MINOR_FIRST 31

#define FS_MOST_FORGOTTEN (FS_MAX_PAGES * 4096 / sizeof(struct fuse_forget_one))

/* Bit 36 (7.39), not in older headers: what is not cached may be mapped all the same. */
#define FS_DIRECT_IO_ALLOW_MMAP (UINT32_C(1) << 4)

static int64_t fs_forget_many(struct virtio_fs *fs, struct fs_request *request,
			      struct iov_cursor *out)
{
	struct fuse_forget_one one;

	(void)out;
	/* Linux sends no more at once than there are bytes in a request of the largest size. */
	for (uint32_t i = 0; i < request->args.batch_forget.count && i < FS_MOST_FORGOTTEN; i++) {
		if (iov_cursor_read(&request->rest, &one, sizeof(one)) < sizeof(one))
			break;
		fs_nodes_forget(&fs->nodes, one.nodeid, one.nlookup);
	}
	return 0;
}

static int64_t fs_forget(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	(void)out;
	fs_nodes_forget(&fs->nodes, request->header.nodeid, request->args.forget.nlookup);
	return 0;
}

static int64_t fs_statfs(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
	struct fuse_statfs_out answer;
	struct statfs st;
	int fd = node->sealed ? fs->root : fs_nodes_fd(&fs->nodes, node);

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

void fs_forget_all(struct virtio_fs *fs)
{
	fs->begun = false;
	fs_files_clear(fs);
	fs_nodes_clear(&fs->nodes);
	fs->n_devices = 1; /* the directory's own */
}

/* Whoever may not write is told nothing of how he would. */
static uint32_t fs_flags(const struct virtio_fs *fs)
{
	uint32_t flags = FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
			 FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_INIT_EXT;

	if (fs->cache == VIRTIO_FS_CACHE_ALWAYS)
		flags |= FUSE_CACHE_SYMLINKS;
	else
		flags |= FUSE_AUTO_INVAL_DATA;
	if (!fs->writable)
		return flags;
	/* The host's kernel takes setuid bits away from what is written, for vmm has no right to keep them. */
	flags |= FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC | FUSE_DONT_MASK | FUSE_HANDLE_KILLPRIV_V2 |
		 FUSE_ASYNC_DIO;
	return fs->cache == VIRTIO_FS_CACHE_ALWAYS ? flags | FUSE_WRITEBACK_CACHE : flags;
}

static int64_t fs_begin(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_init_in *init = &request->args.init;
	struct fuse_init_out answer = {.major = FUSE_KERNEL_VERSION,
				       .minor = FUSE_KERNEL_MINOR_VERSION,
				       .max_readahead = init->max_readahead,
				       .flags = init->flags & fs_flags(fs),
				       .max_background = 128,
				       .congestion_threshold = 96,
				       .max_write = FS_MAX_PAGES * 4096,
				       .time_gran = 1,
				       .max_pages = FS_MAX_PAGES};

	if (init->major < FUSE_KERNEL_VERSION ||
	    (init->major == FUSE_KERNEL_VERSION && init->minor < FS_MINOR_FIRST))
		return -EPROTO;
	if (answer.flags & FUSE_INIT_EXT)
		answer.flags2 = init->flags2 & FS_DIRECT_IO_ALLOW_MMAP;
	fs_forget_all(fs);
	fs->writeback = answer.flags & FUSE_WRITEBACK_CACHE;
	/* A kernel of another major version comes again, with ours. */
	fs->begun = init->major == FUSE_KERNEL_VERSION;
	return fs_put(out, &answer, sizeof(answer));
}

static int64_t fs_end(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	(void)request;
	(void)out;
	fs_forget_all(fs);
	return 0;
}

/* Of a request that is over by now, or that waits for storage and is not worth stopping. */
static int64_t fs_interrupt(struct virtio_fs *fs, struct fs_request *request,
			    struct iov_cursor *out)
{
	(void)fs;
	(void)request;
	(void)out;
	return 0;
}

void fs_sync_also(struct virtio_fs *fs, int fd, dev_t dev)
{
	unsigned int n = atomic_load_explicit(&fs->n_others, memory_order_relaxed), i = 0;

	while (i < n && fs->other_devices[i] != dev)
		i++;
	if (!fs->writable || i < n || n == VIRTIO_FS_DEVICES || dev == fs->devices[0])
		return;
	fd = fs_reopen_fd(fs, fd, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return;
	fs->other_devices[n] = dev;
	fs->others[n] = fd;
	atomic_store_explicit(&fs->n_others, n + 1, memory_order_release);
}

int fs_sync_each(struct virtio_fs *fs, int fd)
{
	unsigned int n = atomic_load_explicit(&fs->n_others, memory_order_acquire);
	int err = syncfs(fd) < 0 ? -errno : 0;

	while (n-- > 0) {
		if (syncfs(fs->others[n]) < 0 && err == 0)
			err = -errno;
	}
	return err;
}

/*
 * All that was written to the whole file systems, by whomever: there is no call for less. So it is done only if the guest has changed
 * something since, that one which does not keeps nobody's storage busy.
 */
static int64_t fs_sync_all(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	int fd;

	if (!fs->writable || fs->changes == fs->synced)
		return 0;
	fd = fs_reopen_fd(fs, fs->root, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? fd : fs_slow_on(fs, request, NULL, fd, out);
}

static fs_operation *const fs_table[] = {
	[FUSE_LOOKUP] = fs_find,
	[FUSE_FORGET] = fs_forget,
	[FUSE_GETATTR] = fs_getattr,
	[FUSE_SETATTR] = fs_setattr,
	[FUSE_READLINK] = fs_readlink,
	[FUSE_SYMLINK] = fs_make_symlink,
	[FUSE_MKNOD] = fs_make_node,
	[FUSE_MKDIR] = fs_make_dir,
	[FUSE_UNLINK] = fs_remove,
	[FUSE_RMDIR] = fs_remove,
	[FUSE_RENAME] = fs_rename,
	[FUSE_LINK] = fs_make_link,
	[FUSE_OPEN] = fs_open,
	[FUSE_READ] = fs_read,
	[FUSE_WRITE] = fs_write,
	[FUSE_STATFS] = fs_statfs,
	[FUSE_RELEASE] = fs_release,
	[FUSE_FSYNC] = fs_sync,
	[FUSE_SETXATTR] = fs_set_xattr,
	[FUSE_GETXATTR] = fs_get_xattr,
	[FUSE_LISTXATTR] = fs_get_xattr,
	[FUSE_REMOVEXATTR] = fs_remove_xattr,
	[FUSE_FLUSH] = fs_flush,
	[FUSE_INIT] = fs_begin,
	[FUSE_OPENDIR] = fs_open_dir,
	[FUSE_READDIR] = fs_list,
	[FUSE_RELEASEDIR] = fs_release,
	[FUSE_FSYNCDIR] = fs_sync,
	[FUSE_CREATE] = fs_create,
	[FUSE_INTERRUPT] = fs_interrupt,
	[FUSE_DESTROY] = fs_end,
	[FUSE_BATCH_FORGET] = fs_forget_many,
	[FUSE_FALLOCATE] = fs_allocate,
	[FUSE_READDIRPLUS] = fs_list,
	[FUSE_RENAME2] = fs_rename,
	[FUSE_LSEEK] = fs_seek,
	[FUSE_COPY_FILE_RANGE] = fs_copy,
	[FUSE_SYNCFS] = fs_sync_all,
	[FUSE_TMPFILE] = fs_make_temporary,
};

/* Requests that could not be parsed, or would change what is read-only, do not come here: the table has all others. */
static int64_t fs_serve_any(struct virtio_fs *fs, struct fs_request *request,
			    struct iov_cursor *out)
{
	if (request->header.opcode != FUSE_INIT && !fs->begun)
		return -ENOTCONN;
	if (fs_request_is_on_node(request) && !fs_nodes_get(&fs->nodes, request->header.nodeid))
		return -ESTALE;
	fs->changes += fs_request_would_change(request);
	return fs_table[request->header.opcode](fs, request, out);
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
