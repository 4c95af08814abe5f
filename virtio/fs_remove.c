/* Names that the guest takes away from files of a shared directory, or changes. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A file before its name goes; fd is -1 when there is none. */
struct fs_named {
	int fd;
	struct statx st;
};

/* Returns 0, or negative errno with nothing open. */
static int fs_named_open(const struct virtio_fs *fs, struct fs_named *file, int dir,
			 const char *name)
{
	int err;

	file->fd = fs_nodes_open(&fs->nodes, dir, name, O_PATH | O_NOFOLLOW);
	if (file->fd < 0)
		return file->fd;
	err = fs_stat_get(file->fd, &file->st);
	if (err < 0) {
		close(file->fd);
		file->fd = -1;
	}
	return err;
}

static void fs_named_close(const struct fs_named *file)
{
	if (file->fd >= 0)
		close(file->fd);
}

int64_t fs_remove(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	int dir = fs_change_in(fs, request->header.nodeid, request->name), err;
	int flags = request->header.opcode == FUSE_RMDIR ? AT_REMOVEDIR : 0;
	struct fs_named file;

	(void)out;
	if (dir < 0)
		return dir;
	err = fs_named_open(fs, &file, dir, request->name);
	if (err < 0)
		return err;
	if (unlinkat(dir, request->name, flags) < 0) {
		err = -errno;
		fs_named_close(&file);
		return err;
	}
	fs_nodes_lose(&fs->nodes, (uint32_t)request->header.nodeid, request->name, file.fd,
		      &file.st);
	return 0;
}

/* ---- another name ---- */

struct fs_move {
	uint32_t from, to; /* nodes */
	int from_fd, to_fd;
	const char *name, *new_name;
	unsigned int flags;
	struct fs_named file, target;
};

static void fs_move_tell(struct virtio_fs *fs, struct fs_move *m)
{
	bool same = m->target.fd >= 0 && m->file.st.stx_ino == m->target.st.stx_ino &&
		    fs_stat_dev(&m->file.st) == fs_stat_dev(&m->target.st);

	if (m->target.fd >= 0 && same) /* two names of one file stay as they are */
		close(m->target.fd);
	else if (m->target.fd >= 0 && (m->flags & RENAME_EXCHANGE))
		fs_nodes_rename(&fs->nodes, m->from, m->name, m->target.fd, &m->target.st);
	else if (m->target.fd >= 0)
		fs_nodes_lose(&fs->nodes, m->to, m->new_name, m->target.fd, &m->target.st);
	fs_nodes_rename(&fs->nodes, m->to, m->new_name, m->file.fd, &m->file.st);
}

static int fs_move(struct virtio_fs *fs, struct fs_move *m)
{
	int err = fs_named_open(fs, &m->file, m->from_fd, m->name);

	if (err < 0)
		return err;
	err = fs_named_open(fs, &m->target, m->to_fd, m->new_name);
	if (err == -ENOENT)
		err = 0;
	if (err == 0 &&
	    syscall(SYS_renameat2, m->from_fd, m->name, m->to_fd, m->new_name, m->flags) < 0)
		err = -errno;
	if (err < 0) {
		fs_named_close(&m->file);
		fs_named_close(&m->target);
		return err;
	}
	fs_move_tell(fs, m);
	return 0;
}

int64_t fs_rename(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_rename2_in *in = &request->args.rename;
	struct fs_move m = {.from = (uint32_t)request->header.nodeid,
			    .name = request->name,
			    .new_name = request->second,
			    .flags = request->header.opcode == FUSE_RENAME2 ? in->flags : 0};
	int err;

	(void)out;
	if (m.flags & ~(unsigned int)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		return -EINVAL;
	m.from_fd = fs_change_in(fs, request->header.nodeid, request->name);
	if (m.from_fd < 0)
		return m.from_fd;
	if (in->newdir == request->header.nodeid) {
		m.to_fd = fs_is_name(request->second) ? m.from_fd : -EINVAL;
		m.to = m.from;
		return m.to_fd < 0 ? m.to_fd : fs_move(fs, &m);
	}
	/* To find the other may take the table's descriptor of the first. */
	m.from_fd = fs_nodes_open(&fs->nodes, m.from_fd, ".", O_PATH | O_DIRECTORY);
	if (m.from_fd < 0)
		return m.from_fd;
	m.to_fd = fs_change_in(fs, in->newdir, request->second);
	m.to = (uint32_t)in->newdir;
	err = m.to_fd < 0 ? m.to_fd : fs_move(fs, &m);
	close(m.from_fd);
	return err;
}
