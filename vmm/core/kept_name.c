#include "vmm/core/kept_name.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/core/log.h"

char *kept_name_directory(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

static const char *kept_name_last(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

int kept_name_open(struct kept_name *kept, const char *path, const struct stat *file)
{
	char *dir = kept_name_directory(path), *copy = strdup(path);
	int fd = -1, err = -ENOMEM;

	*kept = (struct kept_name)KEPT_NAME_NONE;
	if (dir && copy) {
		fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
		err = fd < 0 ? -errno : 0;
	}
	free(dir);
	if (err < 0) {
		free(copy);
		return err;
	}
	*kept = (struct kept_name){.dir = fd,
				   .path = copy,
				   .name = kept_name_last(copy),
				   .device = file->st_dev,
				   .inode = file->st_ino};
	return 0;
}

/*
 * Returns 0 when nothing has the name but a socket that nobody listens on, -EEXIST when something else has it, which *st tells of, or
 * why that is not known.
 */
static int kept_name_try(const struct sockaddr_un *addr, struct stat *st)
{
	bool stale;
	int fd;

	if (lstat(addr->sun_path, st) < 0)
		return 0;
	if (!S_ISSOCK(st->st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	stale = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 &&
		errno == ECONNREFUSED;
	close(fd);
	return stale ? 0 : -EEXIST;
}

/* Its own name, beside the path. */
static struct sockaddr_un kept_name_own_address(const struct kept_name *kept, const char *path,
						const char *own)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int len = (int)(kept_name_last(path) - path);

	if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%.*s%s", len, path, own) >=
	    sizeof(addr.sun_path))
		snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", kept->dir,
			 own);
	return addr;
}

/*
 * Under a name of its own until it listens, for one that does not looks like one that was left behind. bind() makes the file with the
 * mode of the socket, so that it is never open to others. The sticky bit keeps systemd-tmpfiles from removing it as something old: that
 * cannot see that it is in use, for the kernel lists sockets by the name of their bind().
 */
static int kept_name_bind(struct kept_name *kept, int fd, const struct sockaddr_un *addr,
			  const char *own, int backlog)
{
	struct stat st;
	int err;

	if (fchmod(fd, S_ISVTX | 0600) < 0 ||
	    bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
		return -errno;
	if (listen(fd, backlog) < 0 || fstatat(kept->dir, own, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		err = -errno;
		unlinkat(kept->dir, own, 0);
		return err;
	}
	kept->device = st.st_dev;
	kept->inode = st.st_ino;
	return 0;
}

static int kept_name_rename(const struct kept_name *kept, const char *own, unsigned int flags)
{
	return renameat2(kept->dir, own, kept->dir, kept->name, flags) < 0 ? -errno : 0;
}

/*
 * From its own name to the wanted one, in one step. What had that has the other one afterwards, and is looked at there: it may be no
 * killed machine's, but that of one that was a moment faster. Returns 0, -EEXIST or another error.
 */
static int kept_name_take(const struct kept_name *kept, const char *own,
			  const struct sockaddr_un *addr, const struct sockaddr_un *own_addr)
{
	int err = kept_name_rename(kept, own, RENAME_NOREPLACE), taken;
	struct stat st;

	if (err != -EEXIST && err != -EINVAL)
		return err;
	taken = kept_name_try(addr, &st);
	if (taken < 0)
		return taken;
	if (err == -EINVAL) /* the file system knows no other way */
		return kept_name_rename(kept, own, 0);
	err = kept_name_rename(kept, own, RENAME_EXCHANGE);
	if (err == 0)
		err = taken = kept_name_try(own_addr, &st);
	if (taken < 0)
		kept_name_rename(kept, own, RENAME_EXCHANGE);
	return err;
}

int kept_name_listen(struct kept_name *kept, int fd, const char *path, int backlog)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX}, own_addr;
	struct stat st = {0};
	size_t len = strlen(path);
	uint32_t random;
	char own[16];
	int err;

	*kept = (struct kept_name)KEPT_NAME_NONE;
	if (len == 0 || len >= sizeof(addr.sun_path))
		return len ? -ENAMETOOLONG : -EINVAL;
	memcpy(addr.sun_path, path, len);
	/* What is refused leaves the directory as it was. */
	err = kept_name_try(&addr, &st);
	if (err < 0)
		return err == -EEXIST ? -EADDRINUSE : err;
	if (getrandom(&random, sizeof(random), 0) < 0)
		return -errno;
	snprintf(own, sizeof(own), ".vmm-%08" PRIx32, random);
	err = kept_name_open(kept, path, &st);
	if (err == 0) {
		own_addr = kept_name_own_address(kept, path, own);
		err = kept_name_bind(kept, fd, &own_addr, own, backlog);
	}
	if (err == 0) {
		err = kept_name_take(kept, own, &addr, &own_addr);
		unlinkat(kept->dir, own, 0);
	}
	if (err < 0)
		kept_name_close(kept);
	return err == -EEXIST ? -EADDRINUSE : err;
}

void kept_name_remove(struct kept_name *kept)
{
	struct stat now;

	if (kept->dir < 0)
		return;
	if (fstatat(kept->dir, kept->name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (now.st_dev != kept->device || now.st_ino != kept->inode ||
	     unlinkat(kept->dir, kept->name, 0) == 0))
		return;
	if (errno != ENOENT)
		log_warn("cannot remove '%s': %m", kept->path);
}

void kept_name_close(struct kept_name *kept)
{
	if (kept->dir >= 0)
		close(kept->dir);
	free(kept->path);
	*kept = (struct kept_name)KEPT_NAME_NONE;
}
