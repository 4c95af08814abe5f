/* What is in a shared directory. */
#include "virtio/fs.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Room for one entry with the longest name; getdents64() refuses less. */
#define FS_LISTING_LEAST 512
#define FS_LISTING_MOST	 16384 /* at a time */

static size_t fs_entry_size(const struct dirent64 *d, bool entries)
{
	size_t head = entries ? offsetof(struct fuse_direntplus, dirent.name)
			      : offsetof(struct fuse_dirent, name);

	return FUSE_DIRENT_ALIGN(head + strlen(d->d_name));
}

static bool fs_is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* There is room. With entries, one that cannot be looked up any more is told by its name alone (node 0). */
static void fs_put_entry(struct virtio_fs *fs, const struct fs_request *request,
			 const struct dirent64 *d, bool entries, struct iov_cursor *out)
{
	static const char zeros[FUSE_DIRENT_ALIGN(1)];
	const struct fs_node *dir = fs_nodes_get(&fs->nodes, request->header.nodeid);
	size_t len = strlen(d->d_name), end;
	struct fuse_entry_out entry = {.nodeid = 0};
	struct fuse_dirent head = {.ino = fs_number(fs, dir ? dir->dev : 0, d->d_ino),
				   .off = (uint64_t)d->d_off,
				   .namelen = (uint32_t)len,
				   .type = d->d_type};

	/* What is above the share is nobody's business. */
	if (dir && request->header.nodeid == FUSE_ROOT_ID && fs_is_dots(d->d_name))
		head.ino = fs_number(fs, dir->dev, dir->ino);
	if (entries) {
		if (!fs_is_dots(d->d_name) &&
		    fs_look_up(fs, request->header.nodeid, d->d_name, &entry) < 0)
			entry = (struct fuse_entry_out){.nodeid = 0};
		iov_cursor_write(out, &entry, sizeof(entry));
	}
	iov_cursor_write(out, &head, offsetof(struct fuse_dirent, name));
	iov_cursor_write(out, d->d_name, len);
	end = offsetof(struct fuse_dirent, name) + len;
	iov_cursor_write(out, zeros, FUSE_DIRENT_ALIGN(end) - end);
}

/* As many of the entries in listing as there is room for. Returns how many bytes they took. *position is behind the last if that is
 * all there were, and the descriptor stands there. */
static size_t fs_put_entries(struct virtio_fs *fs, const struct fs_request *request, size_t listed,
			     bool entries, struct iov_cursor *out, size_t room, off_t *position)
{
	off_t behind = *position;

	size_t used = 0, at = 0;

	while (at < listed) {
		const struct dirent64 *d = (const void *)(request->listing + at);
		size_t size = fs_entry_size(d, entries);

		if (size > room - used)
			break;
		fs_put_entry(fs, request, d, entries, out);
		used += size;
		at += d->d_reclen;
		behind = d->d_off;
	}
	*position = at == listed ? behind : -1;
	return used;
}

static int64_t fs_list_some(struct virtio_fs *fs, struct fs_request *request,
			    struct iov_cursor *out, bool entries)
{
	const struct fuse_read_in *read = &request->args.read;
	struct fs_file *file = fs_file_get(fs, read->fh, true);
	size_t room = iov_cursor_left(out), want;
	ssize_t n;
	size_t used;

	if (!file)
		return -EBADF;
	if (file->fd < 0)
		return 0;
	if (read->offset > INT64_MAX)
		return -EINVAL;
	if (room > read->size)
		room = read->size;
	if (file->position != (off_t)read->offset &&
	    lseek(file->fd, (off_t)read->offset, SEEK_SET) < 0)
		return -errno;
	/* About as many as have room in the answer, where they are larger: what is read too much is read again. */
	want = entries ? room / 6 : room;
	if (want < FS_LISTING_LEAST)
		want = FS_LISTING_LEAST;
	n = getdents64(file->fd, request->listing, want < FS_LISTING_MOST ? want : FS_LISTING_MOST);
	file->position = n < 0 ? -1 : (off_t)read->offset;
	if (n < 0)
		return -errno;
	used = fs_put_entries(fs, request, (size_t)n, entries, out, room, &file->position);
	return n > 0 && used == 0 ? -EINVAL : (int64_t)used;
}

int64_t fs_list(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	return fs_list_some(fs, request, out, false);
}

int64_t fs_list_entries(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	return fs_list_some(fs, request, out, true);
}
