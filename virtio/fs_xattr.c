/* A shared file's extended attributes. */
#include "virtio/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

/*
 * Others are of no use in the guest, and asked for all the time: those of an overlay in it ("trusted.") would be taken for its own,
 * and lists of users ("system.") hold numbers of ours.
 */
static bool fs_xattr_is_shown(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strcmp(name, "security.capability") == 0;
}

/* There may be some of that kind. */
static bool fs_xattr_is_known(const char *name)
{
	return strncmp(name, "security.", 9) == 0 || strncmp(name, "trusted.", 8) == 0;
}

/* Moves the names that are shown to the front. Returns how long they are. */
static size_t fs_xattr_choose(char *names, size_t len)
{
	size_t kept = 0;

	for (size_t at = 0; at < len;) {
		size_t n = strnlen(names + at, len - at) + 1;

		if (at + n <= len && fs_xattr_is_shown(names + at)) {
			memmove(names + kept, names + at, n);
			kept += n;
		}
		at += n;
	}
	return kept;
}

/* The kernel clears as much room as it is told that there is: of values no more than the guest has is asked for. */
static ssize_t fs_xattr_read(int fd, struct fs_request *request, bool list)
{
	size_t size = request->args.getxattr.size;
	ssize_t n;

	if (list) {
		n = flistxattr(fd, NULL, 0);
		if (n > 0)
			n = flistxattr(fd, request->listing, sizeof(request->listing));
		if (n < 0)
			/* larger than there is room here: as if the file system could not hold it */
			return errno == ERANGE ? -E2BIG : -errno;
		return (ssize_t)fs_xattr_choose(request->listing, (size_t)n);
	}
	if (size > sizeof(request->listing))
		size = sizeof(request->listing);
	n = fgetxattr(fd, request->name, request->listing, size);
	return n < 0 ? -errno : n;
}

/* One that is open already will do: Linux asks before the first write to each file that it makes. */
static ssize_t fs_xattr_of(struct virtio_fs *fs, struct fs_node *node, struct fs_request *request,
			   bool list)
{
	int fd = fs_file_of(fs, node);
	ssize_t n;

	if (fd >= 0)
		return fs_xattr_read(fd, request, list);
	fd = fs_reopen(fs, node, O_RDONLY);
	if (fd < 0) /* one that lacks a descriptor is tried again */
		return list || fd == -EMFILE || fd == -EACCES ? fd : -ENODATA;
	n = fs_xattr_read(fd, request, list);
	close(fd);
	return n;
}

int64_t fs_get_xattr(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const bool list = request->header.opcode == FUSE_LISTXATTR;
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
	struct fuse_getxattr_out size = {.size = 0};
	ssize_t n;

	if (!list && !fs_xattr_is_shown(request->name))
		return fs_xattr_is_known(request->name) ? -ENODATA : -EOPNOTSUPP;
	/* Of links and devices no descriptor can be had that attributes could be read by. */
	if ((node->type != S_IFREG && node->type != S_IFDIR) || node->sealed)
		return list ? fs_put(out, &size, request->args.getxattr.size ? 0 : sizeof(size))
			    : -ENODATA;
	n = fs_xattr_of(fs, node, request, list);
	/* To list names takes no permission, but a descriptor does. */
	if (n == -EACCES)
		n = list ? 0 : -ENODATA;
	/* Linux asks for it before it runs a program, which shall run without. */
	if (n < 0 && n != -EMFILE && n != -ERANGE && !list &&
	    strcmp(request->name, "security.capability") == 0)
		n = -ENODATA;
	if (n < 0)
		return n;
	if (request->args.getxattr.size == 0) {
		size.size = (uint32_t)n;
		return fs_put(out, &size, sizeof(size));
	}
	return (size_t)n > request->args.getxattr.size ? -ERANGE
						       : fs_put(out, request->listing, (size_t)n);
}

/* ---- changes ---- */

/* What would count on the host is not set there. Returns a descriptor of the file, or negative errno. */
static int fs_xattr_open(struct virtio_fs *fs, const struct fs_request *request)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
	int fd;

	if (strncmp(request->name, "user.", 5) != 0)
		return strncmp(request->name, "security.", 9) == 0 ? -EPERM : -EOPNOTSUPP;
	if ((node->type != S_IFREG && node->type != S_IFDIR) || node->sealed)
		return -EPERM;
	fd = fs_reopen(fs, node, O_RDONLY);
	return fd == -EACCES && node->type == S_IFREG ? fs_reopen(fs, node, O_WRONLY) : fd;
}

int64_t fs_set_xattr(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const struct fuse_setxattr_in *in = &request->args.setxattr;
	struct iov_cursor value =
		request->rest; /* a copy: a request that lacks a descriptor is tried again */
	int fd, err;

	(void)out;
	if (in->size > sizeof(request->listing))
		return -E2BIG;
	if (iov_cursor_read(&value, request->listing, in->size) < in->size)
		return -EINVAL;
	fd = fs_xattr_open(fs, request);
	if (fd < 0)
		return fd;
	err = fsetxattr(fd, request->name, request->listing, in->size, (int)in->flags) < 0 ? -errno
											   : 0;
	close(fd);
	return err;
}

int64_t fs_remove_xattr(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	int fd = fs_xattr_open(fs, request), err;

	(void)out;
	if (fd < 0)
		return fd;
	err = fremovexattr(fd, request->name) < 0 ? -errno : 0;
	close(fd);
	return err;
}
