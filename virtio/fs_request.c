#include "virtio/fs_request.h"

#include <errno.h>
#include <string.h>

#define ARGS(type)	   .most = sizeof(struct type), .least = sizeof(struct type)
#define FS_INIT_ARGS_FIRST 16 /* all that struct fuse_init_in had before version 7.36 */
/* Without FUSE_SETXATTR_EXT, which is not agreed upon. */
#define FS_SETXATTR_ARGS   FUSE_COMPAT_SETXATTR_IN_SIZE

enum fs_kind {
	FS_UNKNOWN,
	FS_SERVED,
	FS_SILENT,
	FS_CHANGES,
};

/* Which struct an operation begins with, how many names follow, and whether it is on a node that must be there. */
static const struct fs_shape {
	uint8_t kind; /* enum fs_kind */
	uint8_t least, most;
	uint8_t names;
	bool on_node;
} fs_shapes[] = {
	[FUSE_LOOKUP] = {FS_SERVED, .names = 1},
	[FUSE_FORGET] = {FS_SILENT, ARGS(fuse_forget_in)},
	[FUSE_GETATTR] = {FS_SERVED, ARGS(fuse_getattr_in), .on_node = true},
	[FUSE_SETATTR] = {FS_CHANGES, ARGS(fuse_setattr_in), .on_node = true},
	[FUSE_READLINK] = {FS_SERVED, .on_node = true},
	[FUSE_SYMLINK] = {FS_CHANGES, .names = 2},
	[FUSE_MKNOD] = {FS_CHANGES, ARGS(fuse_mknod_in), .names = 1},
	[FUSE_MKDIR] = {FS_CHANGES, ARGS(fuse_mkdir_in), .names = 1},
	[FUSE_UNLINK] = {FS_CHANGES, .names = 1},
	[FUSE_RMDIR] = {FS_CHANGES, .names = 1},
	[FUSE_RENAME] = {FS_CHANGES, ARGS(fuse_rename_in), .names = 2},
	[FUSE_LINK] = {FS_CHANGES, ARGS(fuse_link_in), .names = 1},
	[FUSE_OPEN] = {FS_SERVED, ARGS(fuse_open_in), .on_node = true},
	[FUSE_READ] = {FS_SERVED, ARGS(fuse_read_in)},
	[FUSE_WRITE] = {FS_CHANGES, ARGS(fuse_write_in)},
	[FUSE_STATFS] = {FS_SERVED, .on_node = true},
	[FUSE_RELEASE] = {FS_SERVED, ARGS(fuse_release_in)},
	[FUSE_FSYNC] = {FS_SERVED, ARGS(fuse_fsync_in)},
	[FUSE_SETXATTR] = {FS_CHANGES, FS_SETXATTR_ARGS, FS_SETXATTR_ARGS, .names = 1,
			   .on_node = true},
	[FUSE_GETXATTR] = {FS_SERVED, ARGS(fuse_getxattr_in), .names = 1, .on_node = true},
	[FUSE_LISTXATTR] = {FS_SERVED, ARGS(fuse_getxattr_in), .on_node = true},
	[FUSE_REMOVEXATTR] = {FS_CHANGES, .names = 1, .on_node = true},
	[FUSE_FLUSH] = {FS_SERVED, ARGS(fuse_flush_in)},
	[FUSE_INIT] = {FS_SERVED, .least = FS_INIT_ARGS_FIRST, .most = sizeof(struct fuse_init_in)},
	[FUSE_OPENDIR] = {FS_SERVED, ARGS(fuse_open_in), .on_node = true},
	[FUSE_READDIR] = {FS_SERVED, ARGS(fuse_read_in)},
	[FUSE_RELEASEDIR] = {FS_SERVED, ARGS(fuse_release_in)},
	[FUSE_FSYNCDIR] = {FS_SERVED, ARGS(fuse_fsync_in)},
	[FUSE_CREATE] = {FS_CHANGES, ARGS(fuse_create_in), .names = 1},
	/* Nothing here is interrupted. */
	[FUSE_INTERRUPT] = {FS_SILENT},
	[FUSE_DESTROY] = {FS_SERVED},
	[FUSE_BATCH_FORGET] = {FS_SILENT, ARGS(fuse_batch_forget_in)},
	[FUSE_FALLOCATE] = {FS_CHANGES, ARGS(fuse_fallocate_in)},
	[FUSE_READDIRPLUS] = {FS_SERVED, ARGS(fuse_read_in)},
	[FUSE_RENAME2] = {FS_CHANGES, ARGS(fuse_rename2_in), .names = 2},
	[FUSE_LSEEK] = {FS_SERVED, ARGS(fuse_lseek_in)},
	[FUSE_COPY_FILE_RANGE] = {FS_CHANGES, ARGS(fuse_copy_file_range_in)},
	[FUSE_SYNCFS] = {FS_SERVED},
	/* What stands for the name there is none of the file's. */
	[FUSE_TMPFILE] = {FS_CHANGES, ARGS(fuse_create_in)},
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
	request->name[0] = request->second[0] = '\0';
	return iov_cursor_read(&request->rest, &request->header, sizeof(request->header)) ==
	       sizeof(request->header);
}

static int fs_request_read_name(struct fs_request *request, char *name, size_t size)
{
	struct iov_cursor ahead = request->rest;
	size_t n = iov_cursor_read(&ahead, name, size);
	size_t len = strnlen(name, n);

	if (len == n) {
		name[0] = '\0';
		return n == size ? -ENAMETOOLONG : -EINVAL;
	}
	iov_cursor_skip(&request->rest, len + 1);
	return len > 0 ? 0 : -EINVAL;
}

int fs_request_parse(struct fs_request *request)
{
	const struct fs_shape *shape = fs_request_shape(request);
	int err = 0;

	if (shape->kind == FS_UNKNOWN)
		return -ENOSYS;
	if (iov_cursor_read(&request->rest, &request->args, shape->most) < shape->least)
		return -EINVAL;
	if (shape->names > 0)
		err = fs_request_read_name(request, request->name, sizeof(request->name));
	if (shape->names > 1 && err == 0)
		err = fs_request_read_name(request, request->second, sizeof(request->second));
	return err;
}

bool fs_request_is_silent(const struct fs_request *request)
{
	return fs_request_shape(request)->kind == FS_SILENT;
}

bool fs_request_would_change(const struct fs_request *request)
{
	return fs_request_shape(request)->kind == FS_CHANGES;
}

bool fs_request_is_on_node(const struct fs_request *request)
{
	return fs_request_shape(request)->on_node;
}
