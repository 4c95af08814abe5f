#include "virtio/fs_request.h"

#include <errno.h>
#include <string.h>

#define ARGS(type)	   .most = sizeof(struct type), .least = sizeof(struct type)
#define FS_INIT_ARGS_FIRST 16 /* all that struct fuse_init_in had before version 7.36 */

enum fs_kind {
	FS_UNKNOWN,
	FS_SERVED,
	FS_SILENT,
	FS_CHANGES,
};

/* Which struct an operation begins with, and whether a name follows. */
static const struct fs_shape {
	uint8_t kind; /* enum fs_kind */
	uint8_t least, most;
	bool name;
} fs_shapes[] = {
	[FUSE_LOOKUP] = {FS_SERVED, .name = true},
	[FUSE_FORGET] = {FS_SILENT, ARGS(fuse_forget_in)},
	[FUSE_GETATTR] = {FS_SERVED, ARGS(fuse_getattr_in)},
	[FUSE_SETATTR] = {FS_CHANGES},
	[FUSE_READLINK] = {FS_SERVED},
	[FUSE_SYMLINK] = {FS_CHANGES},
	[FUSE_MKNOD] = {FS_CHANGES},
	[FUSE_MKDIR] = {FS_CHANGES},
	[FUSE_UNLINK] = {FS_CHANGES},
	[FUSE_RMDIR] = {FS_CHANGES},
	[FUSE_RENAME] = {FS_CHANGES},
	[FUSE_LINK] = {FS_CHANGES},
	[FUSE_OPEN] = {FS_SERVED, ARGS(fuse_open_in)},
	[FUSE_READ] = {FS_SERVED, ARGS(fuse_read_in)},
	[FUSE_WRITE] = {FS_CHANGES},
	[FUSE_STATFS] = {FS_SERVED},
	[FUSE_RELEASE] = {FS_SERVED, ARGS(fuse_release_in)},
	[FUSE_FSYNC] = {FS_SERVED},
	[FUSE_SETXATTR] = {FS_CHANGES},
	[FUSE_GETXATTR] = {FS_SERVED, ARGS(fuse_getxattr_in), .name = true},
	[FUSE_LISTXATTR] = {FS_SERVED, ARGS(fuse_getxattr_in)},
	[FUSE_REMOVEXATTR] = {FS_CHANGES},
	[FUSE_INIT] = {FS_SERVED, .least = FS_INIT_ARGS_FIRST, .most = sizeof(struct fuse_init_in)},
	[FUSE_OPENDIR] = {FS_SERVED, ARGS(fuse_open_in)},
	[FUSE_READDIR] = {FS_SERVED, ARGS(fuse_read_in)},
	[FUSE_RELEASEDIR] = {FS_SERVED, ARGS(fuse_release_in)},
	[FUSE_FSYNCDIR] = {FS_SERVED},
	[FUSE_CREATE] = {FS_CHANGES},
	/* Of a request that is over before it can come: nothing here is interrupted. */
	[FUSE_INTERRUPT] = {FS_SILENT},
	[FUSE_DESTROY] = {FS_SERVED},
	[FUSE_BATCH_FORGET] = {FS_SILENT, ARGS(fuse_batch_forget_in)},
	[FUSE_FALLOCATE] = {FS_CHANGES},
	[FUSE_READDIRPLUS] = {FS_SERVED, ARGS(fuse_read_in)},
	[FUSE_RENAME2] = {FS_CHANGES},
	[FUSE_LSEEK] = {FS_SERVED, ARGS(fuse_lseek_in)},
	[FUSE_COPY_FILE_RANGE] = {FS_CHANGES},
	[FUSE_SYNCFS] = {FS_SERVED},
};

#define N_SHAPES (sizeof(fs_shapes) / sizeof(fs_shapes[0]))

static const struct fs_shape *fs_request_shape(const struct fs_request *request)
{
	static const struct fs_shape unknown = {FS_UNKNOWN};

	return request->header.opcode < N_SHAPES ? &fs_shapes[request->header.opcode] : &unknown;
}

bool fs_request_begin(struct fs_request *request, const struct virtq_chain *chain)
{
	iov_cursor_init(&request->rest, chain->readable, chain->n_readable);
	memset(&request->args, 0, sizeof(request->args));
	request->name[0] = '\0';
	return iov_cursor_read(&request->rest, &request->header, sizeof(request->header)) ==
	       sizeof(request->header);
}

static int fs_request_read_name(struct fs_request *request)
{
	struct iov_cursor ahead = request->rest;
	size_t n = iov_cursor_read(&ahead, request->name, sizeof(request->name));
	size_t len = strnlen(request->name, n);

	if (len == n) {
		request->name[0] = '\0';
		return n == sizeof(request->name) ? -ENAMETOOLONG : -EINVAL;
	}
	iov_cursor_skip(&request->rest, len + 1);
	return len > 0 ? 0 : -EINVAL;
}

int fs_request_parse(struct fs_request *request)
{
	const struct fs_shape *shape = fs_request_shape(request);

	if (shape->kind == FS_UNKNOWN)
		return -ENOSYS;
	if (iov_cursor_read(&request->rest, &request->args, shape->most) < shape->least)
		return -EINVAL;
	return shape->name ? fs_request_read_name(request) : 0;
}

bool fs_request_is_silent(const struct fs_request *request)
{
	return fs_request_shape(request)->kind == FS_SILENT;
}

bool fs_request_would_change(const struct fs_request *request)
{
	return fs_request_shape(request)->kind == FS_CHANGES;
}
