/* Files that the guest makes in a shared directory. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/core/new_calls.h"

/*
 * Permissions are the guest's to choose: the process's own mask does not count, but for the default lists of users that a directory may
 * have, for which the host's kernel has to know the guest's. So the thread gets a mask of its own.
 */
void fs_make_begin(struct virtio_fs *fs)
{
	fs->own_umask = unshare(CLONE_FS) == 0;
	fs->mask = UINT32_MAX;
	if (!fs->own_umask)
		log_guest(&fs->dev.log,
			  "%s: what the guest makes there has vmm's umask too, and the guest's "
			  "in spite of default ACLs: %m",
			  fs->name);
}

/* Without a mask of its own, *mode loses what the guest's takes away, even where a default list would have counted instead. */
static void fs_make_masked(struct virtio_fs *fs, uint32_t mask, uint32_t *mode)
{
	mask &= 0777;
	if (!fs->own_umask)
		*mode &= ~mask;
	else if (fs->mask != mask)
		umask(fs->mask = mask);
}

mode_t fs_mode(const struct virtio_fs *fs, uint32_t mode)
{
	return mode & (fs->keep_setid ? 07777 : 01777);
}

/* Where owners are not kept all is shown as root's: no other user of the guest makes a program that runs as that. */
static mode_t fs_make_mode(const struct virtio_fs *fs, const struct fs_request *request,
			   uint32_t mode)
{
	return fs_mode(fs, mode) & (fs->owners || request->header.uid == 0 ? 07777 : 01777);
}

int fs_change_in(struct virtio_fs *fs, uint64_t dir, const char *name)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, dir);

	if (!node)
		return -ESTALE;
	if (!fs_is_name(name))
		return -EINVAL;
	if (node->type != S_IFDIR)
		return -ENOTDIR;
	return node->sealed ? -EPERM : fs_nodes_fd(&fs->nodes, node);
}

/* Before something is made: whether the guest can be told. Returns the directory's descriptor, or negative errno. */
static int fs_make_in(struct virtio_fs *fs, const struct fs_request *request,
		      const struct iov_cursor *out)
{
	if (iov_cursor_left(out) < sizeof(struct fuse_entry_out))
		return -EINVAL;
	return fs_change_in(fs, request->header.nodeid, request->name);
}

/* What was done is not tried again: the file is there, though the guest cannot be told. */
static int fs_once(int err)
{
	return err == -EMFILE ? -ENFILE : err;
}

/* The file was made: only to look it up is tried again when there are too few descriptors. */
static int fs_look_up_made(struct virtio_fs *fs, const struct fs_request *request,
			   struct fuse_entry_out *entry)
{
	int err = fs_look_up(fs, request->header.nodeid, request->name, entry);

	for (unsigned int tries = 0; err == -EMFILE && tries < FS_SPARES; tries++) {
		if (!fs_nodes_spare(&fs->nodes))
			break;
		err = fs_look_up(fs, request->header.nodeid, request->name, entry);
	}
	return fs_once(err);
}

/*
 * A new file, by its name in fd, or without one fd itself, belongs to whoever made it, if there is somebody else. Returns 0 or negative
 * errno.
 */
static int fs_make_owned(const struct virtio_fs *fs, const struct fs_request *request, int dir,
			 int fd, const char *name)
{
	uid_t uid = request->header.uid;
	gid_t gid = request->header.gid;
	struct statx st;

	if (!fs->owners || (uid == 0 && gid == 0))
		return 0;
	if (fs_stat_get(dir, &st) == 0 && (st.stx_mode & S_ISGID))
		gid = (gid_t)-1;
	if (fchownat(fd, name, uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	switch (errno) {
	case EPERM:	 /* we may not give it away */
	case EINVAL:	 /* a user namespace does not have this one */
	case EOVERFLOW:	 /* nor does the mount */
	case EACCES:	 /* a server may not, or says so */
	case EOPNOTSUPP: /* no file there has an owner */
	case ENOSYS:
		return 0;
	default:
		return -errno;
	}
}

static int64_t fs_tell_name(struct virtio_fs *fs, const struct fs_request *request,
			    struct iov_cursor *out)
{
	struct fuse_entry_out entry;
	int err = fs_look_up_made(fs, request, &entry);

	return err < 0 ? err : fs_put(out, &entry, sizeof(entry));
}

static int64_t fs_tell_made(struct virtio_fs *fs, const struct fs_request *request, int dir,
			    struct iov_cursor *out)
{
	int err = fs_make_owned(fs, request, dir, dir, request->name);

	if (err < 0) {
		unlinkat(dir, request->name,
			 request->header.opcode == FUSE_MKDIR ? AT_REMOVEDIR : 0);
		return err;
	}
	return fs_tell_name(fs, request, out);
}

/* ---- without opening ---- */

int64_t fs_make_node(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fuse_mknod_in *in = &request->args.mknod;
	uint32_t type = in->mode & S_IFMT;
	int dir = fs_make_in(fs, request, out);

	if (dir < 0)
		return dir;
	/* A device would be this host's. */
	if (type != S_IFREG && type != S_IFIFO && type != S_IFSOCK)
		return -EPERM;
	fs_make_masked(fs, in->umask, &in->mode);
	if (mknodat(dir, request->name, type | fs_make_mode(fs, request, in->mode), 0) < 0)
		return -errno;
	return fs_tell_made(fs, request, dir, out);
}

int64_t fs_make_dir(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fuse_mkdir_in *in = &request->args.mkdir;
	int dir = fs_make_in(fs, request, out);

	if (dir < 0)
		return dir;
	fs_make_masked(fs, in->umask, &in->mode);
	if (mkdirat(dir, request->name, in->mode & 01777) < 0)
		return -errno;
	return fs_tell_made(fs, request, dir, out);
}

int64_t fs_make_symlink(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	int dir = fs_make_in(fs, request, out);

	if (dir < 0)
		return dir;
	if (symlinkat(request->second, dir, request->name) < 0)
		return -errno;
	return fs_tell_made(fs, request, dir, out);
}

int64_t fs_make_link(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->args.link.oldnodeid);
	int dir = fs_make_in(fs, request, out), fd, err;
	char name[FS_FD_NAME];

	if (dir < 0)
		return dir;
	if (!node)
		return -ESTALE;
	if (node->type == S_IFDIR)
		return -EPERM;
	/* To find the file may take the table's own. */
	dir = fs_nodes_open(&fs->nodes, dir, ".", O_PATH | O_DIRECTORY);
	if (dir < 0)
		return dir;
	fd = fs_nodes_fd(&fs->nodes, node);
	err = fd;
	if (fd >= 0)
		err = linkat(fs->proc, fs_fd_name(fd, name), dir, request->name,
			     AT_SYMLINK_FOLLOW) < 0
			      ? -errno
			      : 0;
	close(dir);
	return err < 0 ? err : fs_tell_name(fs, request, out);
}

/* ---- with ---- */

/* As fs_open() would: who appends, and what is written at once, is told with each write. */
static int fs_create_flags(const struct virtio_fs *fs, uint32_t flags)
{
	uint32_t mode = flags & O_ACCMODE;

	if (fs->writeback && mode == O_WRONLY)
		mode = O_RDWR;
	return (int)mode | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
}

/* A descriptor that holds the file of another one. open_tree() takes no name, so that there is no way to go; older kernels have none. */
static int fs_hold(struct virtio_fs *fs, int fd)
{
	int held;

	if (!fs->no_trees) {
		held = new_open_tree(fd, "", AT_EMPTY_PATH | OPEN_TREE_CLOEXEC);
		if (held >= 0 || errno == EMFILE)
			return fs_nodes_opened(&fs->nodes, held);
		fs->no_trees = true;
	}
	return fs_reopen_fd(fs, fd, O_PATH);
}

/*
 * A descriptor for the table of what was made, *fd. That one may be among those for the rest of vmm: it becomes a lower one. Returns it,
 * or negative errno; it is not too late for others to be closed.
 */
static int fs_reopen_made(struct virtio_fs *fs, int *fd)
{
	for (unsigned int tries = 0;; tries++) {
		int held = fs_hold(fs, *fd);
		int low = *fd;

		if (held >= 0 && low >= fs->nodes.first_spare)
			low = fcntl(*fd, F_DUPFD_CLOEXEC, 0);
		if (low >= 0 && low != *fd) {
			close(low < fs->nodes.first_spare ? *fd : low);
			*fd = low < fs->nodes.first_spare ? low : *fd;
		}
		if (held >= 0 && *fd < fs->nodes.first_spare)
			return held;
		if (held >= 0)
			close(held);
		if (held < 0 && held != -EMFILE)
			return held;
		if (tries == FS_SPARES || !fs_nodes_spare(&fs->nodes))
			return -EMFILE;
	}
}

/* fd is a new file's, and taken; name is "" for one that has none. */
static int64_t fs_tell_created(struct virtio_fs *fs, const struct fs_request *request, int dir,
			       const char *name, int fd, struct iov_cursor *out)
{
	struct {
		struct fuse_entry_out entry;
		struct fuse_open_out open;
	} answer;
	int held, err = fs_make_owned(fs, request, dir, fd, "");
	uint64_t mount = 0;

	if (err < 0) {
		if (*name)
			unlinkat(dir, name, 0);
		close(fd);
		return err;
	}
	held = err = fs_reopen_made(fs, &fd);
	/*
	 * What is new is where the directory is: nothing can be mounted on it yet. The root itself was seen before vmm_confine(), on
	 * a mount of another number.
	 */
	if (request->header.nodeid != FUSE_ROOT_ID)
		mount = fs_nodes_get(&fs->nodes, request->header.nodeid)->mount;
	if (held >= 0)
		err = fs_learn(fs, request->header.nodeid, name, held, mount, &answer.entry);
	if (err < 0) {
		close(fd);
		return fs_once(err);
	}
	if (!*name)
		fs_nodes_pin(&fs->nodes, fs_nodes_get(&fs->nodes, answer.entry.nodeid));
	fs_file_add(fs, answer.entry.nodeid, fd, false, &answer.open);
	return fs_put(out, &answer, sizeof(answer));
}

/* The guest did not know of the file: it is opened as fs_open() would. */
static int64_t fs_open_made(struct virtio_fs *fs, struct fs_request *request,
			    struct iov_cursor *out)
{
	struct iov_cursor behind = *out;
	const struct fuse_create_in create = request->args.create;
	const uint64_t dir = request->header.nodeid;
	struct fuse_entry_out entry;
	int64_t ret = fs_look_up(fs, dir, request->name, &entry);

	if (ret < 0)
		return ret;
	iov_cursor_skip(&behind, sizeof(entry));
	request->header.nodeid = entry.nodeid;
	request->args.open = (struct fuse_open_in){.flags = create.flags};
	ret = fs_open(fs, request, &behind);
	/* It may be tried again. */
	request->header.nodeid = dir;
	request->args.create = create;
	if (ret < 0) {
		fs_nodes_forget(&fs->nodes, entry.nodeid, 1);
		return ret == -EINVAL ? -EEXIST : ret;
	}
	fs_put(out, &entry, sizeof(entry));
	return (int64_t)sizeof(entry) + ret;
}

static int fs_create_in(struct virtio_fs *fs, struct fs_request *request,
			const struct iov_cursor *out, const char *name)
{
	if (iov_cursor_left(out) < sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out))
		return -EINVAL;
	if (!fs_files_have_room(fs))
		return -ENFILE;
	fs_make_masked(fs, request->args.create.umask, &request->args.create.mode);
	return fs_change_in(fs, request->header.nodeid, name);
}

/* What is there already may be anything, such as a pipe: it is not opened by its name. */
int64_t fs_create(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_create_in *in = &request->args.create;
	int dir = fs_create_in(fs, request, out, request->name), fd;

	if (dir < 0)
		return dir;
	fd = openat(dir, request->name, fs_create_flags(fs, in->flags) | O_CREAT | O_EXCL,
		    fs_make_mode(fs, request, in->mode));
	if (fd >= 0)
		return fs_tell_created(fs, request, dir, request->name, fd, out);
	if (errno != EEXIST || (in->flags & O_EXCL))
		return -errno;
	return fs_open_made(fs, request, out);
}

int64_t fs_make_temporary(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_create_in *in = &request->args.create;
	int dir = fs_create_in(fs, request, out, "x"), fd;

	if (dir < 0)
		return dir;
	fd = openat(dir, ".",
		    (fs_create_flags(fs, in->flags) & ~O_NOFOLLOW) | O_TMPFILE |
			    (int)(in->flags & O_EXCL),
		    fs_make_mode(fs, request, in->mode));
	return fd < 0 ? -errno : fs_tell_created(fs, request, dir, "", fd, out);
}
