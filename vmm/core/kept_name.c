#include "vmm/core/kept_name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

char *kept_name_directory(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

int kept_name_open(struct kept_name *kept, const char *path, const struct stat *file)
{
	const char *slash = strrchr(path, '/');
	char *dir = kept_name_directory(path), *name = strdup(slash ? slash + 1 : path);
	int fd = -1, err = -ENOMEM;

	*kept = (struct kept_name)KEPT_NAME_NONE;
	if (dir && name) {
		fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		err = fd < 0 ? -errno : 0;
	}
	free(dir);
	if (err < 0) {
		free(name);
		return err;
	}
	*kept = (struct kept_name){
		.dir = fd, .name = name, .device = file->st_dev, .inode = file->st_ino};
	return 0;
}

/* Whether the file is a socket that nobody listens on. */
static bool kept_name_is_stale(const struct sockaddr_un *addr)
{
	struct stat st;
	bool stale;
	int fd;

	if (lstat(addr->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	stale = fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
		errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return stale;
}

/* bind() makes the file with the mode of the socket, so that it is never open to others. */
static int kept_name_bind(int fd, const struct sockaddr_un *addr)
{
	int err;

	if (fchmod(fd, 0600) < 0)
		return -errno;
	err = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	if (err == -EADDRINUSE && kept_name_is_stale(addr)) {
		unlink(addr->sun_path);
		err = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;
	}
	return err;
}

int kept_name_listen(struct kept_name *kept, int fd, const char *path, int backlog)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	size_t len = strlen(path);
	struct stat st;
	int err;

	*kept = (struct kept_name)KEPT_NAME_NONE;
	if (len == 0 || len >= sizeof(addr.sun_path))
		return len ? -ENAMETOOLONG : -EINVAL;
	memcpy(addr.sun_path, path, len);
	err = kept_name_bind(fd, &addr);
	if (err < 0)
		return err;
	if (lstat(path, &st) < 0 || listen(fd, backlog) < 0)
		err = -errno;
	else
		err = kept_name_open(kept, path, &st);
	if (err < 0)
		unlink(path);
	return err;
}

void kept_name_remove(struct kept_name *kept)
{
	struct stat now;

	if (kept->dir >= 0 && fstatat(kept->dir, kept->name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	    now.st_dev == kept->device && now.st_ino == kept->inode)
		unlinkat(kept->dir, kept->name, 0);
}

void kept_name_close(struct kept_name *kept)
{
	if (kept->dir >= 0)
		close(kept->dir);
	free(kept->name);
	*kept = (struct kept_name)KEPT_NAME_NONE;
}
