/* What the guest changes of files of a shared directory that are there. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* ---- contents ---- */

/* The flags of the guest's file come with each request, for they may change. */
static int fs_write_flags(const struct virtio_fs *fs, const struct fuse_write_in *write)
{
	int flags = 0;

	/*
	 * Pages that are written back have their places. A guest that writes later knows alone where the file ends: what it has not
	 * written yet may be before that.
	 */
	if ((write->flags & O_APPEND) && !(write->write_flags & FUSE_WRITE_CACHE) && !fs->writeback)
		flags |= RWF_APPEND;
	if ((write->flags & O_SYNC) == O_SYNC)
		flags |= RWF_SYNC;
	else if (write->flags & O_DSYNC)
		flags |= RWF_DSYNC;
	return flags;
}

/* Linux does not look how much of its pages was written, only whether there was an error: there all is, or one is told. */
int64_t fs_write(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_write_in *write = &request->args.write;
	struct fs_file *file = fs_file_get(fs, write->fh, false);
	struct fs_slow_work work = {.file = file,
				    .own_fd = -1,
				    .write_flags = fs_write_flags(fs, write),
				    .data = &request->rest,
				    .data_len = write->size};
	struct fuse_write_out answer;
	unsigned int n;
	size_t there;
	int64_t done;

	if (!file)
		return -EBADF;
	if (write->offset > INT64_MAX || write->size > FS_MAX_PAGES * 4096 ||
	    iov_cursor_left(out) < sizeof(answer) || iov_cursor_left(&request->rest) < write->size)
		return -EINVAL;
	/* Else it goes to the host's memory. What is appended keeps its order: Linux sends all pieces of a direct write at once. */
	if ((work.write_flags & (RWF_SYNC | RWF_DSYNC)) &&
	    !((work.write_flags & RWF_APPEND) &&
	      ((write->flags & O_DIRECT) || fs->cache == VIRTIO_FS_CACHE_NEVER)))
		return fs_slow(fs, request, &work, out);
	n = iov_cursor_take(&request->rest, request->part, FS_REQUEST_PIECES, write->size, &there);
	done = fs_write_pieces(file->fd, request->part, n, write->offset, work.write_flags,
			       write->write_flags & FUSE_WRITE_CACHE);
	if (done < 0)
		return done;
	answer = (struct fuse_write_out){.size = (uint32_t)done};
	return fs_put(out, &answer, sizeof(answer));
}

int64_t fs_allocate(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fs_file *file = fs_file_get(fs, request->args.fallocate.fh, false);

	return file ? fs_slow_on(fs, request, file, -1, out) : -EBADF;
}

int64_t fs_copy(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_copy_file_range_in *in = &request->args.copy;
	struct fs_slow_work work = {.file = fs_file_get(fs, in->fh_in, false),
				    .other = fs_file_get(fs, in->fh_out, false),
				    .own_fd = -1};

	if (!work.file || !work.other)
		return -EBADF;
	if (in->flags || iov_cursor_left(out) < sizeof(struct fuse_write_out))
		return -EINVAL;
	return fs_slow(fs, request, &work, out);
}

/* ---- attributes ---- */

/*
 * With or without the right to set a file's setgid bit for a group that is not ours, if that is set. It is not there all the time, for who has it
 * writes to files that run as their group without taking that from them.
 */
static void fs_take_fsetid(const struct virtio_fs *fs, mode_t mode, uint32_t taken)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {
		{.effective = fs->rights | taken, .permitted = fs->rights | FS_FSETID}};

	if (fs->rights && (mode & S_ISGID))
		syscall(SYS_capset, &header, sets);
}

static int fs_set_mode(struct virtio_fs *fs, int fd, const struct fuse_setattr_in *in, bool is_dir)
{
	mode_t mode = is_dir ? in->mode & 07777 : fs_mode(fs, in->mode);
	char name[FS_FD_NAME];
	int err;

	fs_take_fsetid(fs, mode, FS_FSETID);
	err = fchmodat(fs->proc, fs_fd_name(fd, name), mode, 0) < 0 ? -errno : 0;
	fs_take_fsetid(fs, mode, 0);
	return err;
}

/* The guest's root is vmm's own user. Where there are no others, none can be given. */
static int fs_set_owner(struct virtio_fs *fs, int fd, const struct fuse_setattr_in *in)
{
	uid_t uid = (uid_t)-1;
	gid_t gid = (gid_t)-1;
	int err;

	if (in->valid & FATTR_UID)
		uid = in->uid == 0 ? fs->uid : in->uid;
	if (in->valid & FATTR_GID)
		gid = in->gid == 0 ? fs->gid : in->gid;
	if (fs->squash && (((in->valid & FATTR_UID) && in->uid != 0) ||
			   ((in->valid & FATTR_GID) && in->gid != 0)))
		return -EPERM;
	err = fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
	/* In a user namespace that could not be finished we have no numbers, and all files the same owner. */
	if (err == -EINVAL && fs->squash)
		err = fchownat(fd, "", (uid_t)-1, (gid_t)-1, AT_EMPTY_PATH) < 0 ? -errno : 0;
	return err;
}

static int fs_set_size(struct virtio_fs *fs, struct fs_node *node, const struct fs_file *file,
		       const struct fuse_setattr_in *in)
{
	int fd, err;

	if (node->type != S_IFREG)
		return -EINVAL;
	if (in->size > INT64_MAX)
		return -EFBIG;
	fd = file ? file->fd : fs_reopen(fs, node, O_WRONLY);
	if (fd < 0)
		return fd;
	err = ftruncate(fd, (off_t)in->size) < 0 ? -errno : 0;
	if (!file)
		close(fd);
	return err;
}

static struct timespec fs_time(uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds,
			       uint32_t nanoseconds)
{
	struct timespec time = {.tv_sec = (time_t)seconds, .tv_nsec = nanoseconds};

	if (!(valid & set))
		time.tv_nsec = UTIME_OMIT;
	else if (valid & now)
		time.tv_nsec = UTIME_NOW;
	else if (nanoseconds >= 1000000000)
		time.tv_nsec = 999999999;
	return time;
}

static int fs_give_times(struct virtio_fs *fs, int fd, const struct timespec times[2])
{
	char name[FS_FD_NAME];

	if (utimensat(fd, "", times, AT_EMPTY_PATH) == 0)
		return 0;
	/* Linux before 5.8 */
	if (errno != EINVAL)
		return -errno;
	return utimensat(fs->proc, fs_fd_name(fd, name), times, 0) < 0 ? -errno : 0;
}

/*
 * A guest that writes later tells when it did, also of files that vmm may write but does not own. No program asks for that: those that set
 * times have no open file in mind. So any other time will do, and whoever writes may set the present one, or may not any more.
 */
static bool fs_times_of_writing(const struct virtio_fs *fs, const struct fuse_setattr_in *in)
{
	return fs->writeback && (in->valid & FATTR_MTIME) &&
	       (in->valid & (FATTR_FH | FATTR_SIZE)) &&
	       !(in->valid & (FATTR_ATIME | FATTR_MODE | FATTR_UID | FATTR_GID));
}

static int fs_set_times(struct virtio_fs *fs, int fd, const struct fuse_setattr_in *in)
{
	static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
	const struct timespec times[2] = {
		fs_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		fs_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec)};
	int err = fs_give_times(fs, fd, times);

	if (err != -EPERM || !fs_times_of_writing(fs, in))
		return err;
	err = fs_give_times(fs, fd, now);
	return err == -EPERM || err == -EACCES ? 0 : err;
}

/* When it was changed last the host's kernel says, and nobody else. */
int64_t fs_setattr(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
	const struct fuse_setattr_in *in = &request->args.setattr;
	struct fs_file *file = in->valid & FATTR_FH ? fs_file_get(fs, in->fh, false) : NULL;
	int fd, err = 0;

	if (node->sealed)
		return -EPERM;
	fd = fs_there(fs, node, file);
	if (fd < 0)
		return fd;
	if (in->valid & FATTR_MODE)
		err = fs_set_mode(fs, fd, in, node->type == S_IFDIR);
	if (err == 0 && (in->valid & (FATTR_UID | FATTR_GID)))
		err = fs_set_owner(fs, fd, in);
	if (err == 0 && (in->valid & FATTR_SIZE))
		err = fs_set_size(fs, node, file, in);
	if (err == 0 && (in->valid & (FATTR_ATIME | FATTR_MTIME)))
		err = fs_set_times(fs, fd, in);
	return err < 0 ? err : fs_put_attr(fs, node, fd, out);
}
