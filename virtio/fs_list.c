/* What is in a shared directory. */
#include "virtio/fs.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Room for one entry with the longest name; getdents64() refuses less. */
#define FS_LISTING_LEAST 512
#define FS_LISTING_MOST	 4096 /* at a time; each open directory has as much in mind */

/* What was read last of a directory; its descriptor stands behind that. */
struct fs_listing {
	off_t begin;	/* before the first */
	size_t at, len; /* what is told next; of entries */
	char entries[]; /* struct dirent64 */
};

static const struct dirent64 *fs_listing_entry(const struct fs_listing *listing, size_t at)
{
	return (const void *)(listing->entries + at);
}

/* The descriptor may stand anywhere then. */
void fs_list_forget(struct fs_file *file)
{
	free(file->listing);
	file->listing = NULL;
	file->position = -1;
}

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

/* Those read last that come next, as many as there is room for. Returns how many bytes they took. */
static size_t fs_put_entries(struct virtio_fs *fs, const struct fs_request *request,
			     struct fs_file *file, bool entries, struct iov_cursor *out,
			     size_t room)
{
	struct fs_listing *listing = file->listing;
	size_t used = 0;

	while (listing->at < listing->len) {
		const struct dirent64 *d = fs_listing_entry(listing, listing->at);
		size_t size = fs_entry_size(d, entries);

		if (size > room - used)
			break;
		fs_put_entry(fs, request, d, entries, out);
		used += size;
		listing->at += d->d_reclen;
		file->position = d->d_off;
	}
	return used;
}

/*
 * What comes next is what is behind the offset. Where names are only counted (tmpfs), a place is another one as soon as names before it
 * are removed: the descriptor is not moved back to what was read last, neither for what found no room, nor for a guest that has
 * room for a part of an answer alone. Who starts again gets what is there now.
 */
static int fs_list_from(struct fs_file *file, off_t offset)
{
	struct fs_listing *listing = file->listing;
	off_t behind = listing ? listing->begin : -1;
	size_t at = 0;

	if (file->position == offset && (offset > 0 || !listing))
		return 0;
	while (listing && behind != offset && at < listing->len) {
		behind = fs_listing_entry(listing, at)->d_off;
		at += fs_listing_entry(listing, at)->d_reclen;
	}
	if (offset > 0 && behind == offset) {
		listing->at = at;
		file->position = offset;
		return 0;
	}
	fs_list_forget(file);
	if (lseek(file->fd, offset, SEEK_SET) < 0)
		return -errno;
	file->position = offset;
	return 0;
}

/* All that was read last is told. Returns whether there is more, or negative errno. */
static int fs_list_on(struct fs_file *file, char *read, size_t want)
{
	ssize_t n = getdents64(file->fd, read, want);
	int err = n < 0 ? -errno : 0;
	const off_t begin = file->position;
	struct fs_listing *listing;

	listing = n > 0 ? realloc(file->listing, sizeof(*listing) + (size_t)n) : NULL;
	if (!listing) {
		fs_list_forget(file);
		if (n == 0)
			file->position = begin;
		return n > 0 ? -ENOMEM : err;
	}
	*listing = (struct fs_listing){.begin = begin, .len = (size_t)n};
	memcpy(listing->entries, read, (size_t)n);
	file->listing = listing;
	return 1;
}

int64_t fs_list(struct virtio_fs *fs, struct fs_request *request, struct iov_cursor *out)
{
	const bool entries = request->header.opcode == FUSE_READDIRPLUS;
	const struct fuse_read_in *read = &request->args.read;
	struct fs_file *file = fs_file_get(fs, read->fh, true);
	size_t room = iov_cursor_left(out), want, used;
	int ret;

	if (!file)
		return -EBADF;
	if (file->fd < 0)
		return 0;
	if (read->offset > INT64_MAX)
		return -EINVAL;
	if (room > read->size)
		room = read->size;
	ret = fs_list_from(file, (off_t)read->offset);
	if (ret < 0)
		return ret;
	if (!file->listing || file->listing->at == file->listing->len) {
		/* About as many as have room in the answer, where they are larger. */
		want = entries ? room / 6 : room;
		if (want < FS_LISTING_LEAST)
			want = FS_LISTING_LEAST;
		ret = fs_list_on(file, request->listing,
				 want < FS_LISTING_MOST ? want : FS_LISTING_MOST);
		if (ret <= 0)
			return ret;
	}
	used = fs_put_entries(fs, request, file, entries, out, room);
	return used == 0 ? -EINVAL : (int64_t)used;
}
