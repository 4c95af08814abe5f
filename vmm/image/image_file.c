#include "vmm/image/image_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int image_file_begin(struct image_file *file, int dir, const char *dir_path, const char *name,
		     bool cached)
{
	mode_t mode = cached ? 0600 : 0644;

	*file = (struct image_file){.dir = dir, .cached = cached};
	if ((size_t)snprintf(file->name, sizeof(file->name), "%s", name) >= sizeof(file->name))
		return -ENAMETOOLONG;
	file->fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
	if (file->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
		return -errno;
	file->named = true;
	if ((size_t)snprintf(file->path, sizeof(file->path), "%s/%s.new", dir_path, name) >=
	    sizeof(file->path))
		return -ENAMETOOLONG;
	file->fd = open(file->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	return file->fd < 0 ? -errno : 0;
}

static int image_file_rename(const struct image_file *file)
{
	if (file->cached)
		return renameat(AT_FDCWD, file->path, file->dir, file->name);
	if (renameat2(AT_FDCWD, file->path, file->dir, file->name, RENAME_NOREPLACE) == 0)
		return 0;
	/* EINVAL: the file system cannot do that. */
	if (errno != EINVAL)
		return -1;
	if (linkat(AT_FDCWD, file->path, file->dir, file->name, 0) == 0) {
		unlink(file->path);
		return 0;
	}
	/* Nor have hard links there; that the name is free was seen at the start. */
	return errno == EEXIST ? -1 : renameat(AT_FDCWD, file->path, file->dir, file->name);
}

static int image_file_link(const struct image_file *file)
{
	char from[32];

	if (file->named)
		return image_file_rename(file);
	snprintf(from, sizeof(from), "/proc/self/fd/%d", file->fd);
	if (linkat(AT_FDCWD, from, file->dir, file->name, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	if (errno != EEXIST || !file->cached || unlinkat(file->dir, file->name, 0) < 0)
		return -1;
	return linkat(AT_FDCWD, from, file->dir, file->name, AT_SYMLINK_FOLLOW);
}

int image_file_finish(struct image_file *file)
{
	int err = 0;

	/* A name that is there after the host was started anew has all of its bytes. */
	if (fsync(file->fd) < 0 || image_file_link(file) < 0)
		err = -errno;
	if (err < 0) {
		image_file_abandon(file);
		return err;
	}
	close(file->fd);
	file->fd = -1;
	return 0;
}

void image_file_abandon(struct image_file *file)
{
	if (file->named && file->path[0])
		unlink(file->path);
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}
