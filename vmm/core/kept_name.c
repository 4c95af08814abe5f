#include "vmm/core/kept_name.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
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
