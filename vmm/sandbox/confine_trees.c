#include "vmm/sandbox/confine_trees.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/core/mounts.h"
#include "vmm/core/new_calls.h"

/* The same directory as the root of a mount that is attached nowhere: ".." stays there. What was opened by then stays as it was. */
static int trees_cut_one(int links, int dir, uint64_t attributes)
{
	struct mount_attr attr = {.attr_set = attributes | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					      MOUNT_ATTR_NOEXEC};
	char link[16], path[PATH_MAX];
	struct stat st, cut_st;
	int cut, err = 0;
	ssize_t n;

	snprintf(link, sizeof(link), "%d", dir);
	n = readlinkat(links, link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = '\0';
	/* By name, for the descriptor's own mount is none of our namespace; with those below, which a user namespace locks. */
	cut = new_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (cut < 0)
		return -errno;
	/* Linux 5.12; before it the filters alone say what may be done there. */
	if ((new_mount_setattr(cut, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) < 0 &&
	     errno != ENOSYS) ||
	    fstat(dir, &st) < 0 || fstat(cut, &cut_st) < 0)
		err = -errno;
	else if (st.st_dev != cut_st.st_dev || st.st_ino != cut_st.st_ino)
		err = -ESTALE;
	else if (dup3(cut, dir, O_CLOEXEC) < 0)
		err = -errno;
	close(cut);
	return err;
}

/*
 * By a file system in which nothing is, and which guests are shown no more of: the queues of our own IPC namespace, or where the kernel has
 * none, files in memory. It covers no file, and not itself (EBUSY); and where nobody gets to, there is no need.
 */
static int trees_cover(const struct mntent *entry, const void *arg)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;

	(void)arg;
	if (!mounts_is_kernels_own(entry->mnt_type) || access(entry->mnt_dir, F_OK) < 0 ||
	    mount("none", entry->mnt_dir, "mqueue", flags, NULL) == 0 ||
	    (errno == ENODEV && mount("none", entry->mnt_dir, "tmpfs", flags, NULL) == 0) ||
	    errno == ENOTDIR || errno == EBUSY)
		return 0;
	return -errno;
}

/* What failed first; but all is tried. */
static int trees_first(int err, int next)
{
	return err < 0 ? err : next;
}

static int trees_cut_kind(const struct confine_options *o, int links, bool read, int err)
{
	for (unsigned int i = 0; i < o->n_trees; i++) {
		const struct confine_tree *tree = o->trees[i];

		if (tree->read == read)
			err = trees_first(err, trees_cut_one(links, tree->fd,
							     tree->write ? 0 : MOUNT_ATTR_RDONLY));
	}
	return err;
}

int confine_trees_cut(const struct confine_options *o)
{
	int links = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int err = 0;

	if (links < 0)
		return -errno;
	for (unsigned int i = 0; i < o->n_remove_in; i++)
		err = trees_first(err, trees_cut_one(links, o->remove_in[i], 0));
	/*
	 * Those that files are only reached by may be on what is covered before those that are opened: a thread that was taken over shall
	 * not find this host's settings and processes there.
	 */
	err = trees_cut_kind(o, links, false, err);
	if (o->n_trees > 0)
		err = trees_first(err, mounts_each(trees_cover, NULL));
	err = trees_cut_kind(o, links, true, err);
	close(links);
	return err;
}
