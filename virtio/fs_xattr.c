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

static ssize_t fs_xattr_read(struct virtio_fs *fs, int fd, const struct fs_request *request,
			     bool list)
{
	ssize_t n;

	if (!list)
		n = fgetxattr(fd, request->name, fs->listing, sizeof(fs->listing));
	else
		n = flistxattr(fd, fs->listing, sizeof(fs->listing));
	if (n < 0)
		/* larger than there is room here: as if the file system could not hold it */
		return errno == ERANGE ? -E2BIG : -errno;
	return list ? (ssize_t)fs_xattr_choose(fs->listing, (size_t)n) : n;
}

int64_t fs_xattr(struct virtio_fs *fs, const struct fs_request *request, struct iov_cursor *out,
		 bool list)
{
	struct fs_node *node = fs_nodes_get(&fs->nodes, request->header.nodeid);
	struct fuse_getxattr_out size = {.size = 0};
	ssize_t n = 0;
	int fd;

	if (!list && !fs_xattr_is_shown(request->name))
		return -ENODATA;
	/* Of links and devices no descriptor can be had that attributes could be read by. */
	if ((node->type != S_IFREG && node->type != S_IFDIR) || node->sealed)
		return list ? fs_put(out, &size, request->args.getxattr.size ? 0 : sizeof(size))
			    : -ENODATA;
	fd = fs_reopen(fs, node, O_RDONLY);
	if (fd < 0)
		return list ? fd : -ENODATA;
	n = fs_xattr_read(fs, fd, request, list);
	close(fd);
	/* Linux asks for it before it runs a program, which shall run without. */
	if (n < 0 && !list && strcmp(request->name, "security.capability") == 0)
		return -ENODATA;
	if (n < 0)
		return n;
	if (request->args.getxattr.size == 0) {
		size.size = (uint32_t)n;
		return fs_put(out, &size, sizeof(size));
	}
	return (size_t)n > request->args.getxattr.size ? -ERANGE
						       : fs_put(out, fs->listing, (size_t)n);
}
